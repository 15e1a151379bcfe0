"""Training: command line, run folder, loop."""
