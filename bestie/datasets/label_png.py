"""Label images: PNG files whose pixel values, or palette indices, are labels."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from bestie.datasets.image_reading import decode, open_image
from bestie.errors import InputError
from bestie.records import VOID


def read_label_png(path: Path, *, height: int, width: int) -> UInt8[np.ndarray, "h w"]:
    """Read a palette or 8-bit gray PNG as labels, 0..255.

    Args:
        path: the file.
        height: height of its image in px.
        width: width of its image in px.

    Raises:
        InputError: the file is missing or damaged, has colors instead of labels, or has another size.
    """
    with open_image(path) as image:
        if image.mode not in ("P", "L"):
            raise InputError(
                f"{path} has the color mode {image.mode}, so its pixels are no labels. "
                "Save it as a palette or 8-bit grey PNG."
            )
        decode(path, image)
        labels = np.array(image)
    check_size(path, labels, height=height, width=width)
    return labels


def check_size(path: Path, labels: np.ndarray, *, height: int, width: int) -> None:
    """Raise InputError unless `labels`, read from `path`, have the size of the image."""
    if labels.shape != (height, width):
        raise InputError(
            f"{path} has the shape {labels.shape}, but its image is {(height, width)} (height, width). "
            "Give the map of that image at its original size."
        )


def check_classes(path: Path, labels: np.ndarray, *, n_categories: int) -> None:
    """Raise InputError unless each value of `labels`, read from `path`, is in 0..n_categories or 255."""
    values = np.unique(labels)
    unknown = values[((values < 0) | (values > n_categories)) & (values != VOID)]
    if unknown.size:
        raise InputError(
            f"{path} has the class {unknown[0]:g}, but only 0 to {n_categories} and {VOID} (void) exist. "
            "Correct the map or prepare.categories."
        )
