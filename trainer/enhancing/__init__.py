"""`packshot enhance`: photos through classic edits and a model, and before and after side by side."""
