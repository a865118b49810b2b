"""One group of maps from groups that each hold some of its images."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr
from zarr.storage import LocalStore

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.maps import rows_at_once
from bestie.errors import InputError


def join_maps(sources: Sequence[Path], path: Path, *, keep: bool) -> None:
    """Write a group of maps whose images are those of all sources; its bytes are those of a single `MapWriter`.

    Args:
        sources: folders of groups with the same arrays; no image was written in two of them.
        path: the folder of the new group, written atomically.
        keep: whether to copy files; otherwise they are moved.

    Raises:
        InputError: a shard that has images of several groups is damaged.
    """
    with atomic_output(path) as joined:
        for source in sources:
            for file in sorted(each for each in source.rglob("*") if each.is_file()):
                target = joined / file.relative_to(source)
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target) if keep else file.rename(target)
                elif file.name != "zarr.json":
                    with _naming(file):
                        _add_shard(source, joined, file.relative_to(source))


@contextmanager
def _naming(shard: Path) -> Iterator[None]:
    """Turn any error of zarr in the block into one that names the shard."""
    try:
        yield
    except Exception as error:  # codecs have their own errors
        raise InputError(
            f"{shard} is damaged ({error}). Remove the part that it belongs to, and compute it again."
        ) from error


def _add_shard(source: Path, joined: Path, shard: Path) -> None:
    """Add the images in one shard of a source to the same shard of the joined group.

    Args:
        source: the folder of a group.
        joined: the folder of the group to change.
        shard: the shard's file in both: array / "c" / row / [channel /] y / x, counted in shards.
    """
    name, _, *place = shard.parts
    start, *_ = corner = [int(number) for number in place]
    source_array, joined_array = (zarr.open_group(LocalStore(each))[name] for each in (source, joined))
    rows, *sides = joined_array.shards
    tile = tuple(slice(at * side, (at + 1) * side) for at, side in zip(corner[1:], sides, strict=True))
    step = rows_at_once(joined_array)
    for row in range(start * rows, min((start + 1) * rows, joined_array.shape[0]), step):
        here = (slice(row, row + step), *tile)
        maps = source_array[here]
        written = maps != joined_array.fill_value
        if written.any():
            joined_array[here] = np.where(written, maps, joined_array[here])
