"""Exported folders: written completely or not at all, and never over existing files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from bestie.artifacts.atomic import atomic_output
from bestie.datasets.image_reading import read_image
from bestie.datasets.upright import UPRIGHT
from bestie.errors import InputError
from bestie.records import ImageRecord


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` if the block ends without an exception.

    Raises:
        InputError: `path` is a file, or a folder that is not empty.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(f"{path} exists. Remove it, or name a folder that does not exist yet.")
    with atomic_output(path) as partial:
        partial.mkdir()
        yield partial


def link_image(root: Path, record: ImageRecord, target: Path) -> None:
    """Make `target`, with the image's file extension added, a link to the image.

    Masks are those of the upright image, so one that is stored turned is written upright: as JPEG, otherwise as PNG.

    Raises:
        InputError: there is no such image, or it cannot be read.
    """
    image = (root / record.path).resolve()
    if not image.is_file():
        raise InputError(f"{image} does not exist. Correct --root, or export without --with-images.")
    target.parent.mkdir(parents=True, exist_ok=True)
    if record.orientation == UPRIGHT:
        target.with_name(target.name + image.suffix).symlink_to(image)
        return
    is_jpeg = image.suffix.lower() in (".jpg", ".jpeg")
    upright = Image.fromarray(read_image(root, record))
    upright.save(target.with_name(target.name + (image.suffix if is_jpeg else ".png")), quality=95)
