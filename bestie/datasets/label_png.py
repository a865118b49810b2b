"""Label images: PNG files whose pixel values, palette indices included, are labels."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from bestie.datasets.base import VOID, decode, open_image
from bestie.errors import InputError


def read_label_png(path: Path, *, height: int, width: int) -> UInt8[np.ndarray, "h w"]:
    """Read a palette or 8-bit grey PNG as labels.

    Raises:
        InputError: the file is missing, damaged, has colours instead of labels, or another size.
    """
    with open_image(path) as image:
        if image.mode not in ("P", "L"):
            raise InputError(
                f"{path} has the colour mode {image.mode}, so its pixels are no labels. "
                "Save it as a palette or 8-bit grey PNG."
            )
        decode(path, image)
        labels = np.array(image)
    check_size(path, labels, height=height, width=width)
    return labels


def check_size(path: Path, labels: np.ndarray, *, height: int, width: int) -> None:
    """InputError unless `labels`, read from `path`, is a map of the image's size."""
    if labels.shape != (height, width):
        raise InputError(
            f"{path} has the shape {labels.shape}, but its image is {(height, width)} (height, width). "
            "Give the map of that image at its original size."
        )


def check_classes(path: Path, labels: np.ndarray, *, n_categories: int) -> None:
    """InputError unless every value of `labels`, read from `path`, is 0 to n_categories or 255."""
    values = np.unique(labels)
    unknown = values[((values < 0) | (values > n_categories)) & (values != VOID)]
    if unknown.size:
        raise InputError(
            f"{path} has the class {unknown[0]:g}, but only 0 to {n_categories} and {VOID} (void) exist. "
            "Correct the map or prepare.categories."
        )
