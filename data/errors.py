"""Root of the errors that are meant for users."""


class UserError(ValueError):
    """A fault in the user's input: an option, a file, a setting. The text is one sentence: what is wrong, where, and what is accepted.

    Commands show the text and end with exit code 2. Any other ValueError is a fault of the program, and keeps its traceback.
    """
