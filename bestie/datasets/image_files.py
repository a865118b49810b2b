"""Images that belong to no data set: single files and folders."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bestie.datasets.image_reading import IMAGE_SUFFIXES, image_size
from bestie.errors import InputError
from bestie.records import ImageRecord, hash_file


def index_files(paths: Iterable[Path], *, split: str) -> list[ImageRecord]:
    """Return a record per image in the given order; a folder stands for the images in it, ordered by name.

    The image_id is the file's name without its suffix; `path` is the given one, so the root is the working directory.

    Raises:
        InputError: a file is missing or not an image, a folder holds no image, or two images have the same name.
    """
    records: list[ImageRecord] = []
    seen: dict[str, Path] = {}
    for row, path in enumerate(_expanded(paths)):
        if path.stem in seen:
            raise InputError(
                f"{seen[path.stem]} and {path} are both called '{path.stem}'. Give them one after the other."
            )
        seen[path.stem] = path
        height, width = image_size(path)
        records.append(ImageRecord(row, path.stem, split, path.as_posix(), height, width, hash_file(path), ()))
    return records


def _expanded(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist. Correct the path.")
        if not path.is_dir():
            yield path
            continue
        images = sorted(each for each in path.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise InputError(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)}). Correct the path.")
        yield from images
