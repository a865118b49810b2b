"""Maps and tables that several processes write together, each its own rows, and one process joins.

They are the processes of one stage, or compute parts of it elsewhere (BESTIE_PARTS), possibly several processes for
each part. The result is byte for byte what a single process would have written.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from bestie.artifacts import maps
from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.joined_maps import join_maps
from bestie.artifacts.metrics_json import read_json, write_json
from bestie.artifacts.paths import part_folder, part_folders
from bestie.artifacts.schemas import Schema
from bestie.artifacts.tables import TableWriter, iter_rows
from bestie.errors import InputError
from bestie.runtime.distributed import wait_for_all
from bestie.runtime.ranks import HelperEnd, count, end_helpers, rank
from bestie.runtime.settings import Settings

PIECE = ".piece"
SUMS, LABEL = "sums.json", "part.json"

Sums = dict[str, Int64[np.ndarray, "..."]]


@dataclass
class Share:
    """The share of one process in the output of a stage.

    Attributes:
        place: the folder for its maps and tables.
        sums: counts over its rows, which the block sets; after the block, the counts over all rows.
    """

    place: Path
    sums: Sums = field(default_factory=dict)


def own_rows(rows: Int64[np.ndarray, " n"], settings: Settings) -> range:
    """Return the range of those of `rows` that this process writes, about as many as every other process.

    They are handed out 64 at a time, as maps are written. The range is empty if parts are joined, because their rows
    have been written before.
    """
    steps = np.unique(rows // maps.ROWS_AT_ONCE)
    number, total = max(settings.part - 1, 0) * count() + rank(), max(settings.parts, 1) * count()
    first, end = (len(steps) * each // total for each in (number, number + 1))
    if settings.joins or first == end:
        return range(0)
    return range(int(steps[first]) * maps.ROWS_AT_ONCE, (int(steps[end - 1]) + 1) * maps.ROWS_AT_ONCE)


@contextmanager
def written_together(
    folder: Path,
    settings: Settings,
    made_from: Callable[[], str],
    *,
    map_names: Iterable[str] = (),
    tables: Mapping[str, Schema] | None = None,
) -> Iterator[Share]:
    """Yield the share in which to write the `own_rows`; after the block, join all shares in `folder`.

    A helper process ends after the block, and so does a run that computes one part: its part is then complete in
    `bestie.artifacts.paths.part_folder`.

    Args:
        folder: the output folder of the stage.
        settings: say whether this run computes a part or joins the parts.
        made_from: returns the fingerprint of everything that the stage reads; a part with another one is not joined.
        map_names: names of the groups that a `MapWriter` writes in the block.
        tables: name -> schema of the tables that a `TableWriter` writes in the block, in the order of the rows.

    Raises:
        InputError: a part is damaged, or was made from other parameters, inputs or code.
        HelperEnd: this process or run has written its share.
    """
    if count() == 1 and not settings.parts:
        yield Share(folder)
        return
    parts = _read_parts(folder.name, settings, made_from()) if settings.joins else []
    target = part_folder(settings.state, folder.name, settings.part, settings.parts) if settings.part else folder
    share = Share(_piece(target, rank()))
    shutil.rmtree(share.place, ignore_errors=True)
    try:
        yield share
        write_json(share.place / SUMS, share.sums)
    except BaseException:
        shutil.rmtree(share.place, ignore_errors=True)
        raise
    wait_for_all()
    end_helpers()
    pieces = [_piece(target, number) for number in range(count())]
    try:
        with atomic_output(target) if settings.part else nullcontext(target) as place:
            share.sums = _join(parts or pieces, place, map_names, tables or {}, keep=bool(parts))
            if settings.part:
                write_json(place / SUMS, share.sums)
                write_json(place / LABEL, {"made_from": made_from(), "files": _sizes(place)})
    finally:
        for leftover in target.parent.glob(_piece(target, "*").name):
            shutil.rmtree(leftover)
    if settings.part:
        raise HelperEnd


def _piece(target: Path, number: int | str) -> Path:
    """Return the folder for one process's share of `target`: beside it, on the same disk."""
    return target.with_name(f".{target.name}{PIECE}{number}")


def _read_parts(stage: str, settings: Settings, made_from: str) -> list[Path]:
    """Return the folders of all parts in order. Raises InputError like `written_together`."""
    parts = part_folders(settings.state, stage, settings.parts)
    for part in parts:
        label = read_json(part / LABEL)
        remedy = "Remove it, and compute this part again."
        if not isinstance(label, dict) or label.get("made_from") != made_from:
            raise InputError(f"{part} was made from other parameters, inputs or code than {stage} has now. {remedy}")
        if label.get("files") != _sizes(part):
            raise InputError(f"{part} does not hold the files that were written. {remedy}")
    return parts


def _sizes(part: Path) -> dict[str, int]:
    """Return the size in bytes of each file of a part except its label."""
    files = sorted(each for each in part.rglob("*") if each.is_file() and each != part / LABEL)
    return {each.relative_to(part).as_posix(): each.stat().st_size for each in files}


def _join(
    sources: Sequence[Path], place: Path, map_names: Iterable[str], tables: Mapping[str, Schema], *, keep: bool
) -> Sums:
    """Join the maps and tables of all sources in `place`, and return the sums over the sources."""
    for name in map_names:
        join_maps([each / name for each in sources], place / name, keep=keep)
    for name, schema in tables.items():
        with TableWriter(place / name, schema) as table:
            for each in sources:
                table.append_rows(iter_rows(each / name, schema))
    found = [read_json(each / SUMS) for each in sources]
    return {name: np.sum([np.array(sums[name], np.int64) for sums in found], axis=0) for name in found[0]}
