"""Measurements, each a ratio taken in turns within one run; see docs/performance.md."""
