"""What a model found on one image, in the forms that people use: arrays, COCO results, a table, a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from PIL import Image

from bestie.artifacts.instances import decode_mask
from bestie.datasets.image_reading import read_pixels
from bestie.errors import InputError
from bestie.pictures import draw_instances, fit_image, fit_map
from bestie.prediction.shown import Rows, worth_showing
from bestie.records import Category, ImageRecord

if TYPE_CHECKING:
    import pandas

#: Pictures are enlarged or shrunk until their longer side is between these.
PICTURE_PX = (480, 1600)


@dataclass(frozen=True, repr=False, eq=False)
class Found:
    """The instances of one image, best first.

    Attributes:
        record: the image; `height` and `width` are those of the upright image, in px.
        rows: the instances as rows of an instance table (schema INSTANCES).
        categories: the classes of the model.
        shown_score: from which score on instances are worth showing; None: half of the image's best score.
        pixels: the image itself (RGB, 0..255), or None if it is in the file `record.path`.
    """

    record: ImageRecord
    rows: Rows
    categories: Sequence[Category]
    shown_score: float | None = None
    pixels: UInt8[np.ndarray, "h w 3"] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        counts = {name: self.names.count(name) for name in sorted(set(self.names))}
        listed = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
        return f"<{listed} on {self.record.path or self.record.image_id}>"

    @cached_property
    def masks(self) -> Bool[np.ndarray, "n h w"]:
        """The mask of each instance."""
        masks = np.zeros((len(self.rows), self.record.height, self.record.width), bool)
        for mask, row in zip(masks, self.rows, strict=True):
            mask[:] = decode_mask(row["rle"], self.record.height, self.record.width)
        return masks

    @property
    def boxes(self) -> Float32[np.ndarray, "n 4"]:
        """The box of each mask: left, top, right and bottom in px, the last two exclusive."""
        xywh = np.array([row["bbox_xywh"] for row in self.rows], np.float32).reshape(-1, 4)
        return np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)

    @property
    def scores(self) -> Float32[np.ndarray, " n"]:
        """The score of each instance, in [0, 1]."""
        return np.array([row["score"] for row in self.rows], np.float32)

    @property
    def category_ids(self) -> Int64[np.ndarray, " n"]:
        """The category_id of each instance, from 1."""
        return np.array([row["category_id"] for row in self.rows], np.int64)

    @property
    def names(self) -> list[str]:
        """The class of each instance."""
        return [self.categories[row["category_id"] - 1].name for row in self.rows]

    def above(self, min_score: float) -> "Found":
        """Return the same without instances of a lower score."""
        return self._with([row for row in self.rows if row["score"] >= min_score])

    def shown(self) -> "Found":
        """Return the instances that are worth showing: many have very low scores."""
        return self._with(worth_showing(self.rows, self.shown_score))

    def to_coco(self, image_id: int | str | None = None) -> list[dict[str, Any]]:
        """Return COCO results: boxes (x, y, width, height), run-length codes, and the data set's own category ids.

        Args:
            image_id: the image's id in the results; None: the name of its file without suffix.
        """
        size = [self.record.height, self.record.width]
        return [
            {
                "image_id": self.record.image_id if image_id is None else image_id,
                "category_id": self.categories[row["category_id"] - 1].source_id,
                "bbox": row["bbox_xywh"],
                "score": row["score"],
                "segmentation": {"size": size, "counts": row["rle"]},
            }
            for row in self.rows
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a row per instance: name, score, box and area in px. Raises InputError if pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise InputError("to_pandas needs pandas: pip install pandas") from error
        left, top, right, bottom = self.boxes.T
        columns = {"name": self.names, "score": self.scores, "left": left, "top": top, "right": right, "bottom": bottom}
        return pandas.DataFrame({**columns, "area_px": [row["area_px"] for row in self.rows]})

    def plot(self) -> Image.Image:
        """Return the image with the instances that are worth showing; notebooks show it, and `save` writes it.

        Raises InputError if the image's file is gone.
        """
        shown = self.shown()
        pixels = read_pixels(Path(self.record.path)) if self.pixels is None else self.pixels
        return Image.fromarray(draw_rows(pixels, shown.rows, [each.name for each in self.categories]))

    def _with(self, rows: Rows) -> "Found":
        return replace(self, rows=rows)


def draw_rows(image: UInt8[np.ndarray, "h w 3"], rows: Rows, names: list[str]) -> UInt8[np.ndarray, "y x 3"]:
    """Return an image, at a size to look at, with the instances of its rows.

    Args:
        image: RGB, 0..255.
        rows: rows of an instance table.
        names: `names[c - 1]` is the name of category_id c.
    """
    height, width = image.shape[:2]
    side_px = int(np.clip(max(height, width), *PICTURE_PX))
    return draw_instances(
        fit_image(image, side_px),
        [fit_map(decode_mask(row["rle"], height, width), side_px) for row in rows],
        np.array([row["category_id"] for row in rows], np.int64),
        np.array([row["score"] for row in rows], np.float64),
        names=names,
    )
