"""Maps and tables that several write together, each the rows of its own shards; one joins them.

These are the processes of one stage, or parts that are computed elsewhere (BESTIE_PARTS), each perhaps by several
processes. What comes out is byte for byte what one process alone would have written.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from bestie.artifacts import maps
from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.metrics_json import read_json, write_json
from bestie.artifacts.tables import TableWriter, iter_rows
from bestie.datasets.base import ImageRecord
from bestie.distributed import wait_for_all
from bestie.errors import InputError
from bestie.folders import part_folder, part_folders
from bestie.processes import HelperEnd, count, end_helpers, rank
from bestie.settings import Settings

PIECE = ".piece"
SUMS, LABEL = "sums.json", "part.json"

Sums = dict[str, Int64[np.ndarray, "..."]]


@dataclass
class Share:
    """What one process writes of a stage.

    Attributes:
        place: the folder for its maps and tables.
        sums: numbers that it counted in its rows, which the block sets; after the block those of all rows.
    """

    place: Path
    sums: Sums = field(default_factory=dict)


def own_rows(records: Sequence[ImageRecord], settings: Settings) -> set[int]:
    """The rows of `records` that this process writes: whole shards, about as many each.

    None where parts are joined: others have written them.
    """
    if settings.joins:
        return set()
    shards = sorted({record.row // maps.SHARD_ROWS for record in records})
    number, total = max(settings.part - 1, 0) * count() + rank(), max(settings.parts, 1) * count()
    first, last = (len(shards) * each // total for each in (number, number + 1))
    mine = set(shards[first:last])
    return {record.row for record in records if record.row // maps.SHARD_ROWS in mine}


@contextmanager
def written_together(
    folder: Path,
    settings: Settings,
    made_from: Callable[[], str],
    *,
    map_names: Iterable[str] = (),
    tables: Mapping[str, pa.Schema] | None = None,
) -> Iterator[Share]:
    """Yield where to write the `own_rows`; after the block all is joined in `folder`.

    A process that helps ends after the block, and so does a run that computes one part: its part is then complete in
    `bestie.folders.part_folder`.

    Args:
        folder: the output folder of the stage.
        settings: says whether this is a part, or joins them.
        made_from: the fingerprint of what the stage reads; a part of anything else is not joined.
        map_names: groups that a `MapWriter` writes in the block.
        tables: tables that a `TableWriter` writes in the block, in the order of the rows; name -> schema.

    Raises:
        InputError: a part is damaged, or was made from something else.
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
    """Where one process writes its share of `target`: beside it, on the same disk."""
    return target.with_name(f".{target.name}{PIECE}{number}")


def _read_parts(stage: str, settings: Settings, made_from: str) -> list[Path]:
    """The folders of all parts in order. InputError for one that is damaged or of something else."""
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
    """The bytes of each file of a part but for its label."""
    files = sorted(each for each in part.rglob("*") if each.is_file() and each != part / LABEL)
    return {each.relative_to(part).as_posix(): each.stat().st_size for each in files}


def _join(
    sources: Sequence[Path], place: Path, map_names: Iterable[str], tables: Mapping[str, pa.Schema], *, keep: bool
) -> Sums:
    """Join maps and tables of all sources in `place`; returns the sums over the sources."""
    for name in map_names:
        _join_maps([each / name for each in sources], place / name, keep=keep)
    for name, schema in tables.items():
        with TableWriter(place / name, schema) as table:
            for each in sources:
                table.append_rows(iter_rows(each / name, schema))
    found = [read_json(each / SUMS) for each in sources]
    return {name: np.sum([np.array(sums[name], np.int64) for sums in found], axis=0) for name in found[0]}


def _join_maps(sources: Sequence[Path], path: Path, *, keep: bool) -> None:
    """All shards in one group: moved there, or copied where `keep` leaves the sources; metadata is the same in all."""
    with atomic_output(path) as partial:
        for source in sources:
            for file in sorted(each for each in source.rglob("*") if each.is_file()):
                target = partial / file.relative_to(source)
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target) if keep else file.rename(target)
