"""What every data set gives: categories, images with labels, and, for diagnostics, truth and points."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from bestie.errors import InputError

VOID = 255

#: Maps hold a category_id in 8 bits, 0 is the background and 255 is void.
MAX_CATEGORIES = 254

#: What to do about a list or an annotation file that is not there, where the parameters name it.
MISSING_LIST = "Correct dataset.root, prepare.train_list or prepare.val_list."

#: What is opened as an image. Pillow knows more formats, and hands some of them to other programs (EPS).
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
#: How their files end; what is looked for in folders, in capitals too.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx"),
)

#: Larger images are refused before they are decoded: a small file can unpack to gigabytes.
MAX_IMAGE_PX = 80_000_000


@dataclass(frozen=True)
class Category:
    """A class of objects: `category_id` from 1 without gaps, `source_id` the data set's own number."""

    category_id: int
    name: str
    source_id: int


@dataclass(frozen=True)
class ImageRecord:
    """One row of `images.parquet`: where an image is, what it must be, which categories it shows.

    `path` is relative to the data set's root; height and width are those of the stored pixels (an EXIF
    orientation is not applied); `labels` are category ids in ascending order.
    """

    row: int
    image_id: str
    split: str
    path: str
    height: int
    width: int
    sha256: str
    labels: tuple[int, ...]

    def label_vector(self, num_classes: int) -> Float32[np.ndarray, " c"]:
        """1 at entry category_id - 1 of each label, else 0."""
        vector = np.zeros(num_classes, np.float32)
        vector[[label - 1 for label in self.labels]] = 1
        return vector


@dataclass(frozen=True)
class TruthInstance:
    """One true object, or with `is_crowd` a group of objects that nobody took apart."""

    category_id: int
    mask: Bool[np.ndarray, "h w"]
    is_crowd: bool = False


@dataclass(frozen=True)
class GroundTruth:
    """The true masks of one image, for evaluation and diagnostics only.

    `semantic`: 0 = background, c = category_id, 255 = void.
    """

    instances: tuple[TruthInstance, ...]
    semantic: UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class Point:
    """A labelled point on one object, in pixels of the original image."""

    category_id: int
    y: float
    x: float
    score: float = 1.0


@runtime_checkable
class DataSet(Protocol):
    """A reader of one data set. It never holds the pixels or masks of more than the image asked for."""

    @property
    def root(self) -> Path:
        """The folder that the paths of records start from."""

    @property
    def categories(self) -> tuple[Category, ...]:
        """All categories, in order of category_id, which counts from 1."""

    def samples(self, split: str) -> Sequence[str]:
        """The image ids of a split, in the data set's own order. InputError for an unknown split."""

    def record(self, image_id: str, *, row: int, split: str) -> ImageRecord:
        """The record of one image. InputError when the image or its labels are missing or wrong."""

    def ground_truth(self, image_id: str) -> GroundTruth | None:
        """The true masks, or None where the data set has none. InputError when they contradict the image."""

    def points(self, image_id: str) -> tuple[Point, ...]:
        """The point labels of one image. InputError when it has none or one is wrong."""


def check_categories(source: Path | str, names: Sequence[str]) -> None:
    """InputError, naming what they come from, unless classes have a name each and fit into 8-bit maps."""
    if not all(name.strip() for name in names):
        raise InputError(f"{source} has a class without a name. Give it one or leave it out.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{source} has the class '{twice[:80]}' twice. Give each class a name of its own.")
    if len(names) > MAX_CATEGORIES:
        raise InputError(
            f"{source} has {len(names)} classes, but at most {MAX_CATEGORIES} fit into 8-bit maps. Leave some out."
        )


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) as the image file's header says. InputError when it is missing or no image."""
    with open_image(path) as image:
        return image.height, image.width


def read_image(root: Path, record: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
    """The image as RGB, its pixels as stored: an EXIF orientation is not applied, as VOC and COCO expect.

    Raises:
        InputError: the file is missing, cannot be decoded, is larger than `MAX_IMAGE_PX`, or is not the
            file that the record describes (other size or other bytes).
    """
    path = root / record.path
    with open_image(path) as image:
        if (image.height, image.width) != (record.height, record.width):
            raise InputError(
                f"{path} is {image.height}x{image.width} (height x width), but the index says "
                f"{record.height}x{record.width}. Restore the file or run prepare again."
            )
        pixels = _decode_rgb(path, image)
    if hash_file(path) != record.sha256:
        raise InputError(
            f"{path} is another file than the one indexed (its SHA-256 differs). Restore the file or run prepare again."
        )
    return pixels


def open_image(path: Path) -> Image.Image:
    """Open an image without decoding its pixels.

    Raises:
        InputError: the file is missing, is no image of `IMAGE_FORMATS`, or has more than `MAX_IMAGE_PX` pixels.
    """
    try:
        image = Image.open(path, formats=IMAGE_FORMATS)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Restore the file or correct the data set's root.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path} is too large: {error}") from error
    except Exception as error:  # of a hostile file, Pillow's parsers raise whatever they trip over
        raise InputError(f"{path} is no readable image ({_reason(error)}). Restore the file.") from error
    if image.width * image.height > MAX_IMAGE_PX:
        image.close()
        raise InputError(
            f"{path} has {image.height}x{image.width} pixels, more than {MAX_IMAGE_PX}. Scale the image down."
        )
    return image


def decode(path: Path, image: Image.Image) -> None:
    """Read the pixels of an opened image. InputError, naming `path`, when they are damaged or cut off."""
    try:
        image.load()
    except Exception as error:  # as in `open_image`; MemoryError among them
        raise InputError(f"{path} cannot be decoded ({_reason(error)}). Restore the file.") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _decode_rgb(path: Path, image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    decode(path, image)
    if "transparency" in image.info:  # a palette with transparent entries reaches RGB only through RGBA
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
