"""Product pictures: from files to batches."""
