"""TensorFlow Serving's messages, tensors and errors. Imports no other part of packshot."""
