"""Losses and penalties: pure functions that return one value per example."""
