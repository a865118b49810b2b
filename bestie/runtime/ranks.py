"""Which process of a stage this is: a stage that several devices share runs once on each of them.

`bestie.runtime.distributed` starts the processes. Code that must run only once asks here which process it is in.
"""

import os

#: Set by torch's launcher in every process that it starts, together with RANK and WORLD_SIZE.
_LAUNCHED = "TORCHELASTIC_RUN_ID"


class HelperEnd(BaseException):
    """A helper has done its share, or a run its part of a stage. Error handlers must not catch it."""


def launched() -> bool:
    """Return whether this is one of several processes of a stage."""
    return _LAUNCHED in os.environ


def rank() -> int:
    """Return the number of this process, from 0. Process 0 writes artifacts, checkpoints and progress; others help."""
    return int(os.environ["RANK"]) if launched() else 0


def count() -> int:
    """Return the number of processes that share the stage, at least 1."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def end_helpers() -> None:
    """End every process except the first: what follows this call runs once. Raises HelperEnd in the others."""
    if rank() > 0:
        raise HelperEnd
