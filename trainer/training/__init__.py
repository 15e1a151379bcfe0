"""One training under way: the loop and what happens between steps."""
