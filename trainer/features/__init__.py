"""NumPy interface of the networks in `models.features`, for the measures, and the training of packshot's own network."""
