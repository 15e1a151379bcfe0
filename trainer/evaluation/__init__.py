"""Evaluates models by task, and writes pages and JSON. The measures themselves are in `trainer.metrics`."""
