"""The contact sheet: some images at every stage, from the weak labels to the instances."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import decode_mask
from bestie.artifacts.maps import MapReader
from bestie.artifacts.paths import folder
from bestie.artifacts.schemas import CUES, INSTANCES
from bestie.artifacts.tables import read_table
from bestie.datasets.image_reading import read_image
from bestie.method.targets import render_class_agnostic
from bestie.params.dataset import Dataset
from bestie.pictures import (
    Page,
    category_swatches,
    draw_activation,
    draw_centers_offsets,
    draw_cues,
    draw_instances,
    draw_semantic,
    fit_image,
    fit_map,
    fit_points,
    offset_wheel,
    save_png,
    shared_numbers,
    stacked_sheets,
)
from bestie.prediction.shown import Rows, worth_showing
from bestie.records import Category, ImageRecord

CELL_PX = 220
#: Validation images are smaller, so that two of them fit in a row.
SMALL_CELL_PX = 184
TRAINING = ("image", "WSSS map", "activation, cues", "pseudo labels", "exported labels", "Mask R-CNN")
VALIDATION = ("image", "BESTIE", "Mask R-CNN")
TRUTH = "truth"


def pick_images(count: int) -> tuple[Sequence[ImageRecord], Sequence[ImageRecord]]:
    """Return evenly spaced training images that have pseudo labels, and validation images: half of `count` each."""
    every = read_images(folder("prepare") / "images.parquet")
    labeled = read_table(folder("make_pseudo_labels") / "instances.parquet", INSTANCES, ["row"])["row"]
    train = every.among(labeled) or every.of_split("train")
    validation = every.of_split("val")
    half = max(1, count // 2)
    return _spaced(train, half), _spaced(validation, half)


def _spaced(records: Sequence[ImageRecord], count: int) -> Sequence[ImageRecord]:
    if not records:
        return []
    places = np.linspace(0, len(records) - 1, min(count, len(records)))
    return [records[int(place)] for place in places]


def write_sheet(
    path: Path,
    dataset: Dataset,
    categories: Sequence[Category],
    *,
    images: tuple[Sequence[ImageRecord], Sequence[ImageRecord]],
    detections: Mapping[int, Rows],
    shown_score: float | None,
    sigma_px: float,
) -> None:
    """Draw the contact sheet.

    Args:
        path: the PNG to write.
        dataset: the data set, which says where the images are.
        categories: the classes, for names and colors.
        images: training and validation images, see `pick_images`.
        detections: row -> Mask R-CNN's instances on the training images, which no artifact holds.
        shown_score: from which score on detections of Mask R-CNN are drawn; None: from half of the image's best one on.
        sigma_px: standard deviation of the Gaussians of the center map, in pixels.
    """
    names = [category.name for category in categories]
    pages = [
        _training_page(dataset, images[0], names, detections, shown_score, sigma_px),
        _validation_page(dataset, images[1], names, shown_score),
    ]
    title = f"{dataset.name}: from image-level labels to instances"
    legend = [("offset to the center", offset_wheel(72)), *category_swatches(names)]
    sheet = stacked_sheets([page for page in pages if page.rows], legend=legend, title=title)
    with atomic_output(path) as partial:
        save_png(partial, sheet)


def _training_page(
    dataset: Dataset,
    records: Sequence[ImageRecord],
    names: list[str],
    detections: Mapping[int, Rows],
    shown_score: float | None,
    sigma_px: float,
) -> Page:
    truths = [_instances_of("prepare", "ground_truth", record) for record in records]
    has_truth = any(truths)
    rows = []
    for record, truth in zip(records, truths, strict=True):
        image = _fitted(dataset, record, CELL_PX)
        semantic = MapReader(folder("import_wsss") / "maps.zarr").read(
            record.row, "semantic", record.height, record.width
        )
        tables = [
            worth_showing(_instances_of("export_mrcnn", "instances", record)),
            worth_showing(detections.get(record.row, []), shown_score),
        ]
        pictures = [
            image,
            draw_semantic(image, fit_map(semantic, CELL_PX)),
            _draw_activation(image, record),
            _draw_pseudo(image, record, sigma_px),
            *_draw_tables(image, record, tables, truth if has_truth else None, names),
        ]
        rows.append((f"train\n{record.image_id}", pictures))
    return Page(rows, (*TRAINING, TRUTH) if has_truth else TRAINING, CELL_PX)


def _validation_page(
    dataset: Dataset, records: Sequence[ImageRecord], names: list[str], shown_score: float | None
) -> Page:
    """Return the validation images, two in a row; without the last one if their number is odd."""
    records = records if len(records) == 1 else records[: len(records) // 2 * 2]
    truths = [_instances_of("prepare", "ground_truth", record) for record in records]
    has_truth = any(truths)
    headers = (*VALIDATION, TRUTH) if has_truth else VALIDATION
    drawn = []
    for record, truth in zip(records, truths, strict=True):
        image = _fitted(dataset, record, SMALL_CELL_PX)
        tables = [
            worth_showing(_instances_of("evaluate", "bestie", record)),
            worth_showing(_instances_of("evaluate", "mrcnn", record), shown_score),
        ]
        drawn.append([image, *_draw_tables(image, record, tables, truth if has_truth else None, names)])
    columns = min(2, len(records))
    rows = []
    for first in range(0, len(records), 2):
        captions = "\n".join(record.image_id for record in records[first : first + 2])
        rows.append((f"val\n{captions}", [picture for each in drawn[first : first + 2] for picture in each]))
    return Page(rows, headers * columns, SMALL_CELL_PX)


def _draw_tables(
    image: np.ndarray, record: ImageRecord, tables: Sequence[Rows], truth: Rows | None, names: list[str]
) -> list[np.ndarray]:
    """Draw instance tables of one image, in which an object has the same color; the truth has no scores."""
    size_px = max(image.shape[:2])

    def masks(rows: Rows) -> list[np.ndarray]:
        return [fit_map(decode_mask(str(row["rle"]), record.height, record.width), size_px) for row in rows]

    every = [*tables, *([] if truth is None else [truth])]
    stacks = [masks(rows) for rows in every]
    numbers = shared_numbers(stacks[::-1])[::-1]  # the truth, then Mask R-CNN, then the network
    pictures = []
    for index, rows in enumerate(every):
        score = None if index == len(tables) else np.array([row["score"] for row in rows], np.float64)
        category_id = np.array([row["category_id"] for row in rows], np.int64)
        pictures.append(draw_instances(image, stacks[index], category_id, score, names=names, numbers=numbers[index]))
    return pictures


def _fitted(dataset: Dataset, record: ImageRecord, size_px: int) -> np.ndarray:
    return fit_image(read_image(dataset.image_root, record), size_px)


def _draw_activation(image: np.ndarray, record: ImageRecord) -> np.ndarray:
    """Draw the largest activation of the image's classes, and the cues."""
    maps = MapReader(folder("extract_cues") / "activations.zarr")
    stride_px = maps.attributes["stride_px"]
    height, width = -(-record.height // stride_px), -(-record.width // stride_px)
    strongest = maps.read(record.row, "activation", height, width).max(axis=0).astype(np.float32) / 255
    resized = cv2.resize(strongest, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    cues = read_table(folder("extract_cues") / "cues.parquet", CUES, where={"row": record.row})
    yx = np.stack([cues["y"], cues["x"]], axis=1).astype(np.float64)
    placed = fit_points(yx, height=record.height, width=record.width, size_px=CELL_PX)
    return draw_cues(draw_activation(image, resized), placed, cues["category_id"], cues["score"])


def _draw_pseudo(image: np.ndarray, record: ImageRecord, sigma_px: float) -> np.ndarray:
    """Draw the center and offset maps of the pseudo labels, as `train_bestie` renders them."""
    maps = MapReader(folder("make_pseudo_labels") / "maps.zarr")
    instance = maps.read(record.row, "instance", record.height, record.width).astype(np.int32)
    targets = render_class_agnostic(instance, sigma_px=sigma_px)
    fitted = [fit_map(each, CELL_PX) for each in (targets.center[0], targets.offset, instance)]
    return draw_centers_offsets(image, *fitted)


def _instances_of(stage: str, table: str, record: ImageRecord) -> Rows:
    columns = read_table(folder(stage) / f"{table}.parquet", INSTANCES, where={"row": record.row})
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
