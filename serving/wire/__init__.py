"""TensorFlow Serving's messages, tensors and errors. Imports nothing of ours."""
