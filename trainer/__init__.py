"""Training: command line, run folder, loop."""

from data import quiet

quiet.start()
