"""Where pictures come from: one kind of source a file."""
