"""The one error that people cause and can mend."""


class InputError(Exception):
    """Bad input: the message names the file, key or row, what is wrong with it, and the remedy.

    Commands and stages print the message alone, without a traceback. Stages exit with `status`.
    """

    status = 1


class MissingPartsError(InputError):
    """A stage is to join parts that have not been computed; whoever runs it sees by the status that they are wanted."""

    status = 75
