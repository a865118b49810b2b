"""Which of the processes of one stage this is: a stage that several devices share runs once on each of them.

`bestie.distributed` starts them. What they must not do twice, they ask here.
"""

import os

#: Set by torch's launcher in every process that it starts, together with RANK and WORLD_SIZE.
_LAUNCHED = "TORCHELASTIC_RUN_ID"


class HelperEnd(BaseException):
    """A helper has done its share, or a run its part of a stage; no handler of errors may catch it."""


def launched() -> bool:
    """Whether this is one of several processes of a stage."""
    return _LAUNCHED in os.environ


def rank() -> int:
    """The number of this process, from 0. Process 0 writes artifacts, checkpoints and progress; others help."""
    return int(os.environ["RANK"]) if launched() else 0


def count() -> int:
    """How many processes share the stage; 1 without any sharing."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def end_helpers() -> None:
    """End every process but the first here: what follows is done once."""
    if rank() > 0:
        raise HelperEnd
