"""The one error that people cause and can mend."""


class InputError(Exception):
    """Bad input: the message names the file, key or row, what is wrong with it, and the remedy.

    Commands and stages print the message alone, without a traceback, and exit with status 1.
    """
