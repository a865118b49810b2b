"""Errors of each instance table of a run, over all images, and the images that are worth showing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bestie.artifacts.maps import MapReader
from bestie.evaluation.error_analysis import ErrorCounts, JudgedImage, best_min_score, judge_images
from bestie.evaluation.scores import rows_with_truth
from bestie.metrics.detection_errors import Verdict
from bestie.records import VOID, ImageRecord
from bestie.report.instance_tables import TABLES, TRUE_MAPS, TRUTH, InstanceTable
from bestie.report.sampling import BucketSample

#: The number of images to choose from, for each combination of table, class and verdict.
PER_BUCKET = 12


@dataclass(frozen=True)
class AnalysedTable:
    """One instance table, the lowest score that counts, and how often each verdict occurs.

    `counts` is None if no image of the table's split has a truth.
    """

    table: InstanceTable
    min_score: float
    counts: ErrorCounts | None


def known_rows(data: Path, records: Sequence[ImageRecord]) -> set[int]:
    """Return the rows of the images whose true instances are known, including images without any object.

    Raises:
        InputError: a table or map cannot be read.
    """
    if not (data / TRUTH).is_file():
        return set()
    known = rows_with_truth(data / TRUTH)
    maps = MapReader(data / TRUE_MAPS) if known and (data / TRUE_MAPS).is_dir() else None
    others = [] if maps is None else [record for record in records if record.row not in known]
    for record in others:
        if maps is not None and (maps.read(record.row, "semantic", record.height, record.width) != VOID).any():
            known.add(record.row)
    return known


def analyse_tables(
    data: Path, records: Sequence[ImageRecord], known: set[int], *, num_classes: int, sample: BucketSample
) -> list[AnalysedTable]:
    """Judge every instance table that exists, on the images with a truth, and offer these images to `sample`.

    Args:
        data: the folder of artifacts.
        records: all images, in ascending order of row.
        known: the rows of the images with a truth, see `known_rows`.
        num_classes: C, without background.
        sample: the sample of images for the gallery.

    Raises:
        InputError: a table cannot be read.
    """
    analysed = []
    for table in TABLES:
        path = data / table.path
        if not path.is_file():
            continue
        judged = [record for record in records if record.split == table.split and record.row in known]
        if not judged:
            analysed.append(AnalysedTable(table, 0.0, None))
            continue
        min_score = best_min_score(data / TRUTH, path, judged) if table.is_scored else 0.0
        counts = ErrorCounts(num_classes)
        for image in judge_images(data / TRUTH, path, judged, min_score=min_score):
            counts.add(image)
            _offer(sample, table, image)
        analysed.append(AnalysedTable(table, min_score, counts))
    return analysed


def _offer(sample: BucketSample, table: InstanceTable, image: JudgedImage) -> None:
    """Offer an image to one bucket for each class and verdict on it; `correct` does not count."""
    record = image.record
    kinds = set(zip(image.errors.verdict, image.found.category_id.tolist(), strict=True))
    kinds |= {(Verdict.MISSED, category_id) for category_id in image.truth.category_id[image.errors.missed].tolist()}
    for verdict, category_id in kinds - {(Verdict.CORRECT, category_id) for _, category_id in kinds}:
        sample.offer((table.key, verdict.value, category_id), record.row, record.image_id)
