"""What is measured of a model, by task; the pages and files that tell it. The measures themselves are in `trainer.metrics`."""
