"""The errors that a user can cause and fix."""


class InputError(Exception):
    """Bad input: the message names the file, key or row, says what is wrong with it, and how to fix it.

    Commands and stages print only the message, without a traceback. Stages exit with `status`.
    """

    status = 1


class MissingPartsError(InputError):
    """A stage should join parts that have not been computed yet; its exit status tells the caller to compute them."""

    status = 75
