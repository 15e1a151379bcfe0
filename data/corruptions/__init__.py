"""Damage to pictures, drawn in the graph from a seed and a place in the stream."""
