"""Weakly supervised semantic maps as other methods write them: palette PNG or NPY, one file per image."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.lib.format import open_memmap

from bestie.datasets.label_png import check_classes, check_size, read_label_png
from bestie.datasets.text_files import as_spelled
from bestie.errors import InputError

WSSS_SUFFIXES = (".png", ".npy")


def find_wsss(folder: Path, image_id: str) -> Path:
    """Return the path of an image's map, `<image_id>.png` or `<image_id>.npy`. Raises InputError if there is none."""
    for suffix in WSSS_SUFFIXES:
        path = as_spelled(folder / f"{image_id}{suffix}")
        if path.is_file():
            return path
    raise InputError(
        f"{folder} has no WSSS map {image_id}.png or {image_id}.npy. Write one for every training image or "
        "correct the folder."
    )


def read_wsss(path: Path, *, height: int, width: int, n_categories: int) -> UInt8[np.ndarray, "h w"]:
    """Read a map: 0 for background, a category_id, or 255 for void.

    Args:
        path: a palette or 8-bit gray PNG, or an NPY file of integers (or of floats that are all whole numbers).
        height: height of the image in px.
        width: width of the image in px.
        n_categories: classes above this, except 255, are refused.

    Raises:
        InputError: the file is missing, damaged or not a label map, has another size, or has an unknown class.
    """
    if path.suffix == ".npy":
        labels = _read_npy(path, height=height, width=width)
    else:
        labels = read_label_png(path, height=height, width=width)
    check_classes(path, labels, n_categories=n_categories)
    return labels.astype(np.uint8)


def _read_npy(path: Path, *, height: int, width: int) -> np.ndarray:
    """Read the array of a file after mapping it into memory to check its size, because the header may state any."""
    try:
        mapped = open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Add the map or correct the folder.") from error
    except Exception as error:  # the header is Python syntax, and its parser can fail in many ways
        raise InputError(f"{path} is no readable NPY file ({error}). Write the map again.") from error
    if mapped.dtype.kind not in "iuf":
        raise InputError(f"{path} holds no array of numbers. Save the class of each pixel as an integer.")
    check_size(path, mapped, height=height, width=width)
    labels = np.array(mapped)
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.floor(labels)):
        raise InputError(
            f"{path} holds {labels.dtype} values that are NaN or no whole numbers. "
            "Save the class of each pixel as an integer."
        )
    return labels
