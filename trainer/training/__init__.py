"""Training of a run: the loop, and the callbacks between steps."""
