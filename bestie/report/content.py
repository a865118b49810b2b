"""Everything that the page shows, collected from the artifacts of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bestie.artifacts.image_index import read_images
from bestie.artifacts.metrics_json import read_json
from bestie.artifacts.paths import DATA, PARAMS
from bestie.artifacts.tables import read_categories
from bestie.params.dataset import Dataset
from bestie.params.reading import parse, read_yaml
from bestie.records import Category, ImageRecord
from bestie.report.analysis import PER_BUCKET, AnalysedTable, analyse_tables, known_rows
from bestie.report.breakdowns import BarTable, ErrorRow, class_tables, error_rows, size_table
from bestie.report.charts import Drawing
from bestie.report.comparison import Setting, find_setting
from bestie.report.curves import evolution_curves, precision_recall_curves, training_curves
from bestie.report.funnel import FunnelRow, read_funnel
from bestie.report.gallery import Gallery, build_gallery
from bestie.report.images import data_uri
from bestie.report.instance_tables import CATEGORIES, IMAGES
from bestie.report.label_changes import LabelChanges, changed_class_names, compare_labels, largest_rows
from bestie.report.pipeline_state import Pipeline, read_pipeline
from bestie.report.sampling import BucketSample
from bestie.report.score_tables import ScoreTable, Tile, score_table, score_tiles
from bestie.report.spread import Spread, spread_of
from bestie.runtime.health import HealthWarning, read_warnings

METRICS = Path("evaluate/metrics.json")
CLASSIFIER_METRICS = Path("train_pam/metrics.json")
SHEET = Path("evaluate/sheet.png")
SHEET_SIDE_PX = 2000


@dataclass(frozen=True)
class Content:
    """The content of the page. What a run does not have is None or empty."""

    dataset: Dataset
    split_sizes: dict[str, int]
    categories: tuple[Category, ...]
    setting: Setting
    warnings: list[tuple[str, HealthWarning]]
    funnel: list[FunnelRow]
    spread: Spread
    tiles: list[Tile]
    scores: ScoreTable | None
    pipeline: Pipeline | None
    parameters: str
    training: list[Drawing]
    evolution: list[Drawing]
    precision_recall: list[Drawing]
    by_class: list[BarTable]
    by_size: BarTable | None
    errors: list[ErrorRow]
    labels: list[LabelChanges]
    gallery: Gallery
    sheet: str | None


def collect(repository: Path, *, state: Path, max_images: int, against: str | None = None) -> Content:
    """Read the run in a repository's `data/` folder.

    Args:
        repository: the folder with `params.yaml`, `data/` and, if DVC ran the stages, `dvc.yaml` and `dvc.lock`.
        state: the folder with the durations of the stages, `Settings.state`.
        max_images: the largest number of images in the gallery.
        against: the version to compare with, see `find_setting`.

    Raises:
        InputError: the data set has not been prepared, a file is damaged, or there is no such version.
    """
    data = repository / DATA
    records = read_images(data / IMAGES)
    categories = read_categories(data / CATEGORIES)
    params = repository / PARAMS
    dataset = parse(Dataset, read_yaml(params).get("dataset"), source=f"{params}: dataset")
    setting = find_setting(repository, against)
    spread = spread_of(dataset.name)
    looked = _look_at_images(data, records, setting, num_classes=len(categories), max_images=max_images)
    return Content(
        dataset=dataset,
        split_sizes={split: sum(r.split == split for r in records) for split in ("train", "val")},
        categories=tuple(categories),
        setting=setting,
        warnings=read_warnings(data),
        funnel=read_funnel(data),
        spread=spread,
        **_scores(data, setting, spread),
        pipeline=read_pipeline(repository, state, None if setting.other is None else setting.other.run.lock),
        parameters=params.read_text(encoding="utf-8"),
        training=training_curves(data),
        precision_recall=precision_recall_curves(data),
        by_class=class_tables(data),
        by_size=size_table(data),
        errors=error_rows(looked.tables),
        labels=looked.labels,
        gallery=build_gallery(
            data,
            repository / dataset.image_root,
            records,
            chosen=looked.chosen,
            known=looked.known,
            tables=looked.tables,
            labels=looked.labels,
            categories=changed_class_names(looked.labels, [category.name for category in categories]),
        ),
        sheet=_sheet(data / SHEET),
    )


def _scores(data: Path, setting: Setting, spread: Spread) -> dict[str, Any]:
    """Return the fields of `Content` that come from metrics: tiles, scores and evolution."""
    metrics, classifier = _json(data / METRICS), _json(data / CLASSIFIER_METRICS)
    old = {} if setting.other is None else setting.other.metrics
    old_metrics, old_classifier = (old.get(f"data/{path}", {}) for path in (METRICS, CLASSIFIER_METRICS))
    return {
        "tiles": score_tiles(metrics, classifier, old_metrics, old_classifier, spread.points),
        "scores": score_table(metrics, old_metrics, spread.points),
        "evolution": evolution_curves(data, metrics),
    }


@dataclass(frozen=True)
class _Looked:
    """Errors and changes over all images: `known` are the rows with a truth, `chosen` those to show."""

    known: set[int]
    tables: list[AnalysedTable]
    labels: list[LabelChanges]
    chosen: list[int]


def _look_at_images(
    data: Path, records: Sequence[ImageRecord], setting: Setting, *, num_classes: int, max_images: int
) -> _Looked:
    """Judge all images, compare their labels, and choose the images to show."""
    sample, changed = _sample(records, max_images), BucketSample(PER_BUCKET)
    labels = (
        compare_labels(setting.history, setting.other.run, records, changed)
        if setting.history and setting.other
        else []
    )
    known = known_rows(data, records)
    tables = analyse_tables(data, records, known, num_classes=num_classes, sample=sample)
    chosen = sample.choose(max_images, _changed_first(labels, records, changed, max_images))
    return _Looked(known, tables, labels, chosen)


def _sample(records: Sequence[ImageRecord], max_images: int) -> BucketSample:
    """Return a sample that was offered every image, so that images without an error are shown too."""
    sample = BucketSample(PER_BUCKET)
    for record in records:
        sample.offer(record.split, record.row, record.image_id, limit=max_images)
    return sample


def _changed_first(
    labels: list[LabelChanges], records: Sequence[ImageRecord], changed: BucketSample, max_images: int
) -> list[int]:
    """Choose images with changed labels, at most half of the gallery: the largest changes, then some of each kind."""
    half = (max_images + 1) // 2
    return changed.choose(half, largest_rows(labels, records)[:half])


def _json(path: Path) -> Mapping[str, Any]:
    return read_json(path) if path.is_file() else {}


def _sheet(path: Path) -> str | None:
    if not path.is_file():
        return None
    with Image.open(path) as image:
        return data_uri(np.array(image.convert("RGB")), side_px=SHEET_SIDE_PX, quality=80)
