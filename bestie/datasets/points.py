"""Point labels as text: a line `x y class confidence` per object, with classes counted from 0 (Section 4.3)."""

import math
from pathlib import Path

from bestie.datasets.text_files import read_text
from bestie.errors import InputError
from bestie.records import Point


def read_point_file(path: Path, *, n_categories: int, height: int, width: int) -> tuple[Point, ...]:
    """Read the points of one image; an empty file means an image without objects.

    Args:
        path: the text file, with coordinates in px of the original image.
        n_categories: classes 0 to n_categories - 1 are valid and become category ids from 1.
        height: height of the image in px; points outside the image are refused.
        width: width of the image in px.

    Raises:
        InputError: the file is missing, or a line is malformed; the message names file and line.
    """
    lines = read_text(path, missing="Add the image's points or train from image labels.").splitlines()
    points = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        point = _parse(line)
        if point is None:
            raise InputError(f"{path}, line {number}: {line[:80]!r} is not 'x y class confidence'. Correct the line.")
        if not 1 <= point.category_id <= n_categories:
            raise InputError(
                f"{path}, line {number}: class {point.category_id - 1} is outside 0 to {n_categories - 1}. "
                "Correct the class; it counts from 0."
            )
        if not (0 <= point.y < height and 0 <= point.x < width):
            raise InputError(
                f"{path}, line {number}: the point x={point.x:g}, y={point.y:g} is outside the image of "
                f"{width}x{height} (width x height). Correct the point."
            )
        points.append(point)
    return tuple(points)


def _parse(line: str) -> Point | None:
    try:
        x, y, class_index, confidence = line.split()
        point = Point(int(class_index) + 1, y=float(y), x=float(x), score=float(confidence))
    except ValueError:
        return None
    return point if all(map(math.isfinite, (point.y, point.x, point.score))) else None
