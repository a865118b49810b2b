"""The ways in which a stage can fail, distinguished by whether another attempt can help."""

from collections.abc import Iterable


class StageError(Exception):
    """The stage itself failed: bad input or a defect. Another attempt would fail in the same way."""


class InfrastructureError(Exception):
    """Something around the stage failed: a killed process, an unreachable remote. Another attempt can help."""


class CancelledError(Exception):
    """The run was cancelled, or the worker that ran it is gone."""


#: DVC prints these around a stage's own output; none of them says what went wrong.
_FRAME = ("Running stage ", "> ", "Updating lock file", "ERROR: failed to ")


def describe(lines: Iterable[str], *, limit: int = 12) -> str:
    """Return the last lines that a stage printed, without those that DVC prints around them."""
    said = [line for line in lines if line.strip() and not line.startswith(_FRAME)]
    return "\n".join(said[-limit:])
