"""What is wrong in each instance table of a run, over all images, and which images are worth showing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_images
from bestie.datasets.base import ImageRecord
from bestie.error_analysis import ErrorCounts, JudgedImage, best_min_score, judge_images
from bestie.metrics.errors import Verdict
from bestie.report.sampling import BucketSample
from bestie.report.tables import TABLES, TRUTH, InstanceTable

#: So many images of each kind are kept to choose from: of each table, class and verdict.
PER_BUCKET = 12


@dataclass(frozen=True)
class AnalysedTable:
    """One table, the score from which on its instances count, and how often each verdict occurs.

    `counts` is None where no image of its split has a truth.
    """

    table: InstanceTable
    min_score: float
    counts: ErrorCounts | None


def analyse_tables(
    data: Path, records: Sequence[ImageRecord], num_classes: int, sample: BucketSample
) -> list[AnalysedTable]:
    """Judge every table of a run that is there, and offer its images to `sample`.

    Of the training images those with true instances are judged, as in `evaluate`, and of the others all are.

    Raises:
        InputError: a table cannot be read.
    """
    truth = data / TRUTH
    with_truth = {row for row, _ in iter_images(truth, INSTANCES, ["row"])} if truth.is_file() else set()
    splits_with_truth = {record.split for record in records if record.row in with_truth}
    analysed = []
    for table in TABLES:
        path = data / table.path
        if not path.is_file():
            continue
        judged = [
            record
            for record in records
            if record.split == table.split and (record.row in with_truth or table.split != "train")
        ]
        if table.split not in splits_with_truth:
            analysed.append(AnalysedTable(table, 0.0, None))
            continue
        min_score = best_min_score(truth, path, judged) if table.is_scored else 0.0
        counts = ErrorCounts(num_classes)
        for image in judge_images(truth, path, judged, min_score=min_score):
            counts.add(image)
            _offer(sample, table, image)
        analysed.append(AnalysedTable(table, min_score, counts))
    return analysed


def _offer(sample: BucketSample, table: InstanceTable, image: JudgedImage) -> None:
    """An image belongs to the bucket of each of its verdicts, by class."""
    record = image.record
    kinds = set(zip(image.errors.verdict, image.found.category_id.tolist(), strict=True))
    kinds |= {(Verdict.MISSED, category_id) for category_id in image.truth.category_id[image.errors.missed].tolist()}
    for verdict, category_id in kinds - {(Verdict.CORRECT, category_id) for _, category_id in kinds}:
        sample.offer((table.key, verdict.value, category_id), record.row, record.image_id)
