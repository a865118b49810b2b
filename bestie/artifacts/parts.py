"""Maps and tables that several processes write together: each the rows of its own shards, which the first joins.

What comes out is byte for byte what one process alone would have written.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from bestie.artifacts import maps
from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.tables import TableWriter, iter_rows
from bestie.datasets.base import ImageRecord
from bestie.distributed import wait_for_all
from bestie.processes import count, end_helpers, rank

PART = ".part"


def own_rows(records: Sequence[ImageRecord]) -> set[int]:
    """The rows of `records` that this process writes: whole shards, about as many a process."""
    shards = sorted({record.row // maps.SHARD_ROWS for record in records})
    first, last = (len(shards) * number // count() for number in (rank(), rank() + 1))
    mine = set(shards[first:last])
    return {record.row for record in records if record.row // maps.SHARD_ROWS in mine}


@contextmanager
def written_together(
    folder: Path, *, map_names: Iterable[str] = (), tables: Mapping[str, pa.Schema] | None = None
) -> Iterator[Path]:
    """Yield the folder to write to: `folder` itself, or with several processes a part of it.

    After the block the first process has all parts joined in `folder`; the others end.

    Args:
        folder: the output folder of the stage.
        map_names: groups that a `MapWriter` writes in the block, the `own_rows` alone.
        tables: tables that a `TableWriter` writes in the block, in the order of the rows; name -> schema.
    """
    if count() == 1:
        yield folder
        return
    part = folder / f"{PART}{rank()}"
    shutil.rmtree(part, ignore_errors=True)
    yield part
    wait_for_all()
    end_helpers()
    parts = [folder / f"{PART}{number}" for number in range(count())]
    for name in map_names:
        _join_maps([each / name for each in parts], folder / name)
    for name, schema in (tables or {}).items():
        with TableWriter(folder / name, schema) as table:
            for each in parts:
                table.append_rows(iter_rows(each / name, schema))
    for leftover in folder.glob(f"{PART}*"):
        shutil.rmtree(leftover)


def _join_maps(parts: Sequence[Path], path: Path) -> None:
    """Move the shards of all parts into the group of the first; metadata is the same in all."""
    with atomic_output(path) as partial:
        first, *others = parts
        first.rename(partial)
        for other in others:
            for file in sorted(each for each in other.rglob("*") if each.is_file()):
                target = partial / file.relative_to(other)
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    file.rename(target)
