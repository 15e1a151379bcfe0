"""Networks that turn pictures into what the measures of sets compare: one kind of network a file."""
