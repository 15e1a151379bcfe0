"""Training: command line, run folder, loop."""

import os

# TensorFlow greets every process with lines about drivers and CPU features; what goes wrong reaches Python as an exception anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
