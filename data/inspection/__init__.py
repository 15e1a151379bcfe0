"""Inspection of a catalogue of pictures, before anything is trained on it."""
