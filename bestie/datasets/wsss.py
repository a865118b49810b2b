"""Weakly supervised semantic maps as other methods write them: palette PNG or NPY, one file per image."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.lib.format import open_memmap

from bestie.datasets.label_png import check_size, read_label_png
from bestie.datasets.text_files import as_spelled
from bestie.errors import InputError
from bestie.records import VOID

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


def map_numbers(names: Sequence[str], class_numbers: Mapping[str, int] | None) -> list[int]:
    """Return the number that each class has on the maps of a folder.

    Args:
        names: the class names in the order of their category_id.
        class_numbers: class name -> number; None: the category_id.

    Raises:
        InputError: `class_numbers` lacks a class or has one that there is not.
    """
    if class_numbers is None:
        return list(range(1, len(names) + 1))
    if different := sorted(set(names) ^ class_numbers.keys()):
        what = "has no number for" if different[0] in names else "has a number for"
        raise InputError(
            f"import_wsss.class_numbers {what} the class {different[0]!r}, and the classes are {', '.join(names)}. "
            "Give each of them its number on the maps."
        )
    return [class_numbers[name] for name in names]


def read_wsss(path: Path, *, height: int, width: int, numbers: Sequence[int]) -> UInt8[np.ndarray, "h w"]:
    """Read a map: 0 for background, a category_id, or 255 for void.

    Args:
        path: a palette or 8-bit gray PNG, or an NPY file of integers (or of floats that are all whole numbers).
        height: height of the image in px.
        width: width of the image in px.
        numbers: what the map has for the category_id 1, 2, ...; other values, except 0 and 255, are refused.

    Raises:
        InputError: the file is missing, damaged or not a label map, has another size, or has an unknown class.
    """
    if path.suffix == ".npy":
        labels = _read_npy(path, height=height, width=width)
    else:
        labels = read_label_png(path, height=height, width=width)
    _check_numbers(path, labels, numbers)
    category_of = np.zeros(256, np.uint8)
    category_of[list(numbers)] = np.arange(1, len(numbers) + 1)
    category_of[VOID] = VOID
    return category_of[labels.astype(np.uint8)]


def _check_numbers(path: Path, labels: np.ndarray, numbers: Sequence[int]) -> None:
    """Raise InputError unless each value of `labels`, read from `path`, is 0 (background), a class or 255."""
    unknown = np.setdiff1d(labels, (0, *numbers, VOID))
    if not unknown.size:
        return
    if list(numbers) == list(range(1, len(numbers) + 1)):
        known, remedy = f"0 to {len(numbers)}", "the map or prepare.categories, or give import_wsss.class_numbers"
    else:
        known, remedy = f"0, {', '.join(map(str, sorted(numbers)))}", "the map or import_wsss.class_numbers"
    raise InputError(
        f"{path} has the class {unknown[0]:g}, but only {known} and {VOID} (void) exist. Correct {remedy}."
    )


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
