"""Corrections of labels: the files that `bestie labels import` wrote, and the corrections of an image in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bestie.artifacts.instances import decode_mask
from bestie.artifacts.paths import DATA
from bestie.artifacts.schemas import CORRECTIONS
from bestie.artifacts.tables import iter_rows
from bestie.errors import InputError
from bestie.method.corrections import Correction
from bestie.records import Category, ImageRecord

#: Where the corrections of the exported labels are: one file an import, applied in the order of their names.
FOLDER = DATA / "raw" / "corrections"


@dataclass(frozen=True)
class Corrections:
    """The corrections of one file.

    Attributes:
        path: the file.
        rows: image_id -> its rows (schema CORRECTIONS).
        ids: the category_id of each class that there is now; the file has names, since numbers change with the classes.
    """

    path: Path
    rows: dict[str, list[dict[str, Any]]]
    ids: Mapping[str, int]

    def of(self, record: ImageRecord) -> list[Correction]:
        """Return the corrections of an image.

        Raises:
            InputError: the image had another size when it was corrected, its class is none of now, or a mask is
                malformed.
        """
        return [self._correction(row, record) for row in self.rows.get(record.image_id, [])]

    def _correction(self, row: dict[str, Any], record: ImageRecord) -> Correction:
        height, width = row["height"], row["width"]
        if (height, width) != (record.height, record.width):
            raise InputError(
                f"{self.path} corrects {record.image_id} as an image of {height}x{width} px (height x width), but it "
                f"has {record.height}x{record.width}. Remove the file, or restore the image."
            )
        category = row["category"]
        if category and category not in self.ids:
            raise InputError(
                f"{self.path} has a label of the class {category!r} on {record.image_id}, and there is no such class. "
                "Remove the file, or restore the class in prepare.categories."
            )
        masks = [
            decode_mask(row[name], height, width, source=self.path) if row[name] else None
            for name in ("rle", "base_rle")
        ]
        return Correction(self.ids.get(category, 0), masks[0], masks[1], row["by"])


def read_corrections(categories: Sequence[Category], folder: Path = FOLDER) -> list[Corrections]:
    """Return the corrections of each file of a folder, in the order of their names; none if there is no folder.

    Args:
        categories: the classes that there are now.
        folder: the folder.

    Raises:
        InputError: a file cannot be read.
    """
    ids = {category.name: category.category_id for category in categories}
    found = []
    for path in sorted(folder.glob("*.parquet")):
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in iter_rows(path, CORRECTIONS):
            rows.setdefault(row["image_id"], []).append(row)
        found.append(Corrections(path, rows, ids))
    return found


def corrected_elsewhere(corrections: Iterable[Corrections], records: Iterable[ImageRecord]) -> list[str]:
    """Return the ids of corrected images that are not among the records, in ascending order."""
    known = {record.image_id for record in records}
    return sorted({image_id for each in corrections for image_id in each.rows} - known)
