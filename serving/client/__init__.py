"""Client of TensorFlow Serving over gRPC and REST, without TensorFlow."""
