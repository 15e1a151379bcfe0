"""From trained weights to an answer over the wire."""
