"""Frozen networks that look at pictures, for losses and for measures: one kind of network a file."""
