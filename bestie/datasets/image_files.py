"""Images that belong to no data set: single files and folders."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bestie.datasets.image_reading import IMAGE_SUFFIXES, check_image
from bestie.errors import InputError
from bestie.records import ImageRecord, hash_file

#: Suffixes of photographs that may not be readable here.
OTHER_SUFFIXES = (".heic", ".heif", ".avif")


class FoundImages(NamedTuple):
    """The readable images among some files, and a message for each that is left out, with the reason."""

    records: list[ImageRecord]
    left_out: tuple[str, ...]


def is_image_name(path: Path) -> bool:
    """Return whether a file's name is that of an image, and it is not hidden, as the `._` files of macOS are."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def index_files(paths: Iterable[Path], *, split: str) -> FoundImages:
    """Return a record per image in the given order; a folder stands for the images in it, ordered by name.

    The image_id is the file's name without its suffix; `path` is the given one, so the root is the working directory.
    All pixels are decoded once, so that damaged files are known before anything is computed.

    Raises:
        InputError: a path is missing, a folder holds no image, two images have the same name, or none is readable.
    """
    records: list[ImageRecord] = []
    left_out: list[str] = []
    seen: dict[str, Path] = {}
    for path in _expanded(paths, left_out):
        if path.stem in seen:
            raise InputError(
                f"{seen[path.stem]} and {path} are both called '{path.stem}'. Give them one after the other."
            )
        seen[path.stem] = path
        try:
            image = check_image(path)
        except InputError as error:
            left_out.append(str(error))
            continue
        records.append(
            ImageRecord(
                row=len(records),
                image_id=path.stem,
                split=split,
                path=path.as_posix(),
                height=image.height,
                width=image.width,
                sha256=hash_file(path),
                labels=(),
                orientation=image.orientation,
            )
        )
    if not records:
        others = f" None of the {len(left_out) - 1} others is readable." if len(left_out) > 1 else ""
        raise InputError(left_out[0] + others)
    return FoundImages(records, tuple(left_out))


def _expanded(paths: Iterable[Path], left_out: list[str]) -> Iterator[Path]:
    """Yield the files that are meant, and add a message to `left_out` for kinds of images that are not read."""
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist. Correct the path.")
        if not path.is_dir():
            yield path
            continue
        files = sorted(path.iterdir())
        images = [each for each in files if is_image_name(each)]
        suffixes = Counter(each.suffix.lower() for each in files if each not in images)
        others = [
            f"{path}: {suffixes[suffix]} {suffix} files are not read. Save them as JPEG or PNG."
            for suffix in OTHER_SUFFIXES
            if suffixes[suffix]
        ]
        if not images:
            raise InputError(
                " ".join([f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)}). Correct the path.", *others])
            )
        left_out += others
        yield from images
