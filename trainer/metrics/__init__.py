"""Measures of pictures and of sets of feature vectors: pure functions on NumPy arrays, with no model and no TensorFlow."""
