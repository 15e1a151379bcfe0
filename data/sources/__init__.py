"""Sources of pictures: one kind a file."""
