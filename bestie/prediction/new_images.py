"""Prediction on new images: a table of instances, masks, and pictures with the instances drawn on them."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from bestie.artifacts.image_index import write_images
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, write_categories
from bestie.datasets.image_reading import read_image
from bestie.export.output_folder import new_folder
from bestie.export.source import Instance
from bestie.export.to_voc import paint, save_label_png
from bestie.prediction.found import draw_rows
from bestie.prediction.loading import Predictor
from bestie.prediction.shown import Rows, worth_showing
from bestie.records import Category, ImageRecord
from bestie.runtime.progress import track


def predict_files(
    predictor: Predictor,
    records: Sequence[ImageRecord],
    out: Path,
    *,
    categories: Sequence[Category],
    min_score: float | None = None,
    root: Path = Path(),
) -> int:
    """Find the instances on images that belong to no data set, and write them to a new folder.

    The folder holds `instances.parquet` with the index that `bestie export` reads (`images.parquet` and
    `categories.parquet`); `masks/objects/` and `masks/classes/` with palette PNG files; and `overlays/`. Each image is
    predicted on its own.

    Args:
        predictor: the model.
        records: the images.
        out: the folder to write; it must be empty or not exist yet.
        categories: the classes with their names.
        min_score: instances with a lower score are left out everywhere. None: the table has all instances, masks and
            overlays show those from the model's `shown_score` on or, if its file has none, those with at least half of
            the image's best score.
        root: the folder that the images' paths are relative to.

    Returns:
        The number of instances in the table.

    Raises:
        InputError: see `new_folder` and `read_image`.
    """
    count = 0
    names = [category.name for category in categories]
    with new_folder(out) as partial:
        write_images(partial / "images.parquet", records)
        write_categories(partial / "categories.parquet", categories)
        with TableWriter(partial / "instances.parquet", INSTANCES) as table:
            for record in track(records, f"predict: {predictor.kind}"):
                ((_, rows),) = predictor.find([record], root)
                rows = [row for row in rows if row["score"] >= (min_score or 0.0)]
                table.append_rows(rows)
                count += len(rows)
                shown = rows if min_score is not None else worth_showing(rows, predictor.shown_score)
                _write_masks(partial / "masks", record, shown)
                _write_overlay(partial / "overlays" / f"{record.image_id}.jpg", root, record, shown, names)
    return count


def _write_masks(folder: Path, record: ImageRecord, rows: Rows) -> None:
    ordered = sorted(rows, key=lambda row: -row["score"])
    found = [Instance(row["category_id"], row["score"], False, row["rle"]) for row in ordered]
    objects, classes, _ = paint(record, found)
    save_label_png(folder / "objects" / f"{record.image_id}.png", objects)
    save_label_png(folder / "classes" / f"{record.image_id}.png", classes)


def _write_overlay(path: Path, root: Path, record: ImageRecord, rows: Rows, names: list[str]) -> None:
    drawn = draw_rows(read_image(root, record), rows, names)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn).save(path, format="JPEG", quality=90)
