"""From a trained model to a verified version on disk."""
