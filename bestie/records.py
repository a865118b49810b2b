"""Records that the whole pipeline shares: images with their labels, categories, points, and the hash of a file."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

#: The value of void in semantic maps.
VOID = 255


@dataclass(frozen=True)
class Category:
    """A class of objects: `category_id` counts from 1 without gaps, `source_id` is the data set's own number."""

    category_id: int
    name: str
    source_id: int


@dataclass(frozen=True)
class ImageRecord:
    """One row of `images.parquet`: where an image is, its size and hash, and the categories that it shows.

    `path` is relative to the data set's root. `height` and `width`, in px, are those of the upright image
    (turned as EXIF says). `sha256` is the hash of the file. `labels` are category ids in ascending order.
    `source_id` is the data set's own number of the image, if it has one; `orientation` is that of EXIF, with which the
    file is stored, 1 to 8, and 1 if it is stored upright.
    """

    row: int
    image_id: str
    split: str
    path: str
    height: int
    width: int
    sha256: str
    labels: tuple[int, ...]
    source_id: int | None = None
    orientation: int = 1

    def label_vector(self, num_classes: int) -> Float32[np.ndarray, " c"]:
        """Return a vector with 1 at entry category_id - 1 of each label and 0 elsewhere."""
        vector = np.zeros(num_classes, np.float32)
        vector[[label - 1 for label in self.labels]] = 1
        return vector


def images_by_label(records: Iterable[ImageRecord]) -> Counter[int]:
    """Return how many images are labeled with each category_id."""
    return Counter(label for record in records for label in record.labels)


@dataclass(frozen=True)
class Point:
    """A labeled point on one object, in px of the original image."""

    category_id: int
    y: float
    x: float
    score: float = 1.0


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
