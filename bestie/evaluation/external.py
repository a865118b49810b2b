"""Scores on a data set that was not part of the run: its truth, the instances found on it, and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bestie.artifacts.coco_json import coco_image_ids
from bestie.artifacts.image_index import write_images
from bestie.artifacts.instances import instance_rows
from bestie.artifacts.metrics_json import read_json, write_csv, write_json
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, write_categories
from bestie.datasets.base import DataSet, GroundTruth
from bestie.datasets.coco import CocoDataSet
from bestie.datasets.coco_results import read_results
from bestie.datasets.voc import VOC_CATEGORIES, VocDataSet
from bestie.errors import InputError
from bestie.evaluation.error_analysis import ErrorCounts, best_min_score, judge_images
from bestie.evaluation.scores import per_class_rows, read_mask_table, score_instances, size_rows
from bestie.metrics.masks import measure_overlaps
from bestie.prediction.loading import Predictor
from bestie.records import Category, ImageRecord
from bestie.runtime.progress import track

SPLIT = "val"
TRUTH, FOUND = "ground_truth.parquet", "instances.parquet"


@dataclass(frozen=True)
class ScoredSet:
    """A data set with a truth.

    Attributes:
        data: the reader of the data set.
        images: the images that have a truth, in order of row.
        by_name: the same images by the ids that a result file may use: numbers, and the data set's own names.
        without_truth: the number of listed images that have no truth.
    """

    data: DataSet
    images: list[ImageRecord]
    by_name: Mapping[int | str, ImageRecord]
    without_truth: int

    @property
    def categories(self) -> tuple[Category, ...]:
        """All categories of the data set."""
        return self.data.categories


def open_scored_set(
    root: Path,
    out: Path,
    *,
    list_name: str | None = None,
    categories: Sequence[str] | None = None,
    num_classes: int | None = None,
) -> ScoredSet:
    """Open a data set in VOC's or COCO's layout, and write its index and its truth to the folder `out`.

    Args:
        root: the folder of the data set; with `annotations/` it is in COCO's layout, with `ImageSets/` in VOC's.
        out: an existing folder.
        list_name: the name of the image list; None: `val2017` for COCO's layout, `val` for VOC's.
        categories: the class names of a set in VOC's layout, in the order of their values; None: VOC's twenty.
        num_classes: the number of classes that the data set must have; None: any number.

    Raises:
        InputError: the layout is neither VOC's nor COCO's, a file is missing or malformed, no image has a truth, or the
            number of classes is not `num_classes`.
    """
    is_coco = (root / "annotations").is_dir()
    if not is_coco and not (root / "ImageSets").is_dir():
        raise InputError(f"{root} has neither annotations/ (COCO) nor ImageSets/ (VOC). Correct the path.")
    if is_coco and categories is not None:
        raise InputError(f"{root} is in COCO's layout, whose file names the classes. Leave out --categories.")
    name = list_name or ("val2017" if is_coco else "val")
    data = _open(root, name, categories, is_coco=is_coco)
    if num_classes not in (None, len(data.categories)):
        raise InputError(
            f"The model has {num_classes} classes, the data set {len(data.categories)}. Give the classes that the "
            "model was trained with, in their order, with --categories."
        )
    images: list[ImageRecord] = []
    with TableWriter(out / TRUTH, INSTANCES) as table:
        names = data.samples(SPLIT)
        for image_id in track(names, "evaluate: truth"):
            truth = data.ground_truth(image_id)
            if truth is not None:
                record = data.record(image_id, row=len(images), split=SPLIT)
                images.append(record)
                table.append_rows(_true_rows(record, truth))
    if not images:
        raise InputError(
            f"{root} has no true masks of the {len(names)} images of its list '{name}'. Give another list."
        )
    write_images(out / "images.parquet", images)
    write_categories(out / "categories.parquet", data.categories)
    return ScoredSet(data, images, _by_name(images), len(names) - len(images))


def check_class_order(trained: Sequence[Category], scored: Sequence[Category]) -> None:
    """Raise InputError if a class of the data set has another number in the model; a class may have another name."""
    number = {category.name: category.category_id for category in trained}
    for category in scored:
        if number.get(category.name, category.category_id) != category.category_id:
            names = ",".join(each.name for each in trained)
            raise InputError(
                f"'{category.name}' is class {category.category_id} of the data set and class {number[category.name]} "
                f"of the model. Give the classes in the model's order: --categories {names}"
            )


def find_by_model(predictor: Predictor, scored: ScoredSet, out: Path) -> None:
    """Write the instances that a model finds on all images. Raises InputError like `read_image`."""
    found = predictor.find(scored.images, scored.data.root)
    progress = track(range(len(scored.images)), f"evaluate: {predictor.kind}")
    with TableWriter(out / FOUND, INSTANCES) as table:
        for _, (_, rows) in zip(progress, found, strict=True):
            table.append_rows(rows)


def find_in_results(path: Path, scored: ScoredSet, out: Path) -> None:
    """Write the instances of a COCO result file. Raises InputError like `read_results`."""
    with TableWriter(out / FOUND, INSTANCES) as table:
        for record, found in read_results(path, images=scored.by_name, categories=scored.categories):
            masks = (mask for _, _, mask in found)
            table.append_rows(
                instance_rows(record, masks, [each[0] for each in found], scores=[each[1] for each in found])
            )


def score_external(scored: ScoredSet, out: Path, iou_thresholds: Sequence[float]) -> dict[str, Any]:
    """Score the instances in `out`, and write `metrics.json` and `per_class.csv` beside them.

    Returns:
        The scores of `score_instances`; the number of `images`; mAP50 `by_size`, in per cent; and `errors`: how often
        each verdict occurs among the detections with a score of at least `min_score`, at which F1 is largest.
    """
    truth, found = read_mask_table(out / TRUTH, scored.images), read_mask_table(out / FOUND, scored.images)
    overlaps, num_classes = measure_overlaps(truth, found), len(scored.categories)
    scores, voc = score_instances(
        truth,
        found,
        records=scored.images,
        num_classes=num_classes,
        iou_thresholds=iou_thresholds,
        overlaps=overlaps,
    )
    sizes = size_rows("", truth, found, overlaps, num_classes=num_classes, threshold=0.5)
    min_score = best_min_score(out / TRUTH, out / FOUND, scored.images)
    counts = ErrorCounts(num_classes)
    for image in judge_images(out / TRUTH, out / FOUND, scored.images, min_score=min_score):
        counts.add(image)
    by_size = [{key: value for key, value in row.items() if key != "model"} for row in sizes]
    errors = {**counts.as_dict(), "min_score": min_score}
    write_json(out / "metrics.json", {**scores, "images": len(scored.images), "by_size": by_size, "errors": errors})
    write_csv(out / "per_class.csv", per_class_rows({"found": voc}, scored.categories))
    return read_json(out / "metrics.json")


def _open(root: Path, name: str, categories: Sequence[str] | None, *, is_coco: bool) -> DataSet:
    missing = "Correct the path of the data set or --list."
    if is_coco:
        return CocoDataSet(root, {SPLIT: name}, missing=missing)
    return VocDataSet(root, {SPLIT: name}, VOC_CATEGORIES if categories is None else categories, missing=missing)


def _true_rows(record: ImageRecord, truth: GroundTruth) -> list[dict[str, Any]]:
    return instance_rows(
        record,
        (instance.mask for instance in truth.instances),
        [instance.category_id for instance in truth.instances],
        is_crowd=[instance.is_crowd for instance in truth.instances],
    )


def _by_name(images: Sequence[ImageRecord]) -> dict[int | str, ImageRecord]:
    """Return the records by the numbers that `bestie export` gives them, and by their names."""
    numbers = coco_image_ids(images)
    return {numbers[record.row]: record for record in images} | {record.image_id: record for record in images}
