"""Writes a trained model to disk as a verified version."""
