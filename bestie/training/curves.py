"""Training curves while a training runs, for TensorBoard: `BESTIE_CURVES=tensorboard`.

The history that a stage writes in the end has the same values.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from bestie.errors import InputError
from bestie.runtime import ranks
from bestie.runtime.settings import Settings

#: Takes the row of the history of an epoch.
EpochRow = Callable[[Mapping[str, float]], None]


@contextmanager
def curves(settings: Settings, name: str) -> Iterator[EpochRow | None]:
    """Give what draws the values of an epoch; None if the settings ask for no curves, or in a helping process.

    Each start of a training is a run of its own in `<state>/curves/<name>/`.

    Args:
        settings: whether there are curves, and the state folder.
        name: what is trained.

    Raises:
        InputError: TensorBoard is not installed.
    """
    if settings.curves != "tensorboard" or ranks.rank() != 0:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "BESTIE_CURVES=tensorboard, but TensorBoard is not installed: pip install tensorboard"
        ) from error
    started = datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S")
    name = re.sub(r"\W+", "_", name)
    writer = SummaryWriter(settings.state / "curves" / name / started)

    def draw(row: Mapping[str, float]) -> None:
        for key, value in row.items():
            if key != "epoch" and value is not None:
                writer.add_scalar(f"{name}/{key}", value, int(row["epoch"]))
        writer.flush()

    try:
        yield draw
    finally:
        writer.close()
