"""The scores of a run as the page shows them, each with its change since another run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

#: The models in the order of the page, with names that are short enough for a column.
MODELS = {
    "bestie": "BESTIE",
    "mrcnn": "Mask R-CNN",
    "components": "components",
    "bestie_true_semantic": "BESTIE, true map",
    "components_true_semantic": "components, true map",
}

NOTHING: Mapping[str, float] = MappingProxyType({})
UNDEFINED = "\u2013"  # a dash
MINUS = "\u2212"


@dataclass(frozen=True)
class Score:
    """One score.

    `change` is the difference from the other run, None if that has no such score; `usual` is how far runs of one
    configuration lie apart, None if that was not measured.
    """

    value: float | None
    change: float | None = None
    digits: int = 1
    usual: float | None = None

    @property
    def text(self) -> str:
        """The value as text; a dash if it is not defined."""
        return UNDEFINED if self.value is None else f"{self.value:.{self.digits}f}"

    @property
    def change_text(self) -> str:
        """The change with its sign; empty if it is not known."""
        if self.change is None:
            return ""
        rounded = round(self.change, self.digits)
        return "±0" if rounded == 0 else f"{rounded:+.{self.digits}f}".replace("-", MINUS)

    @property
    def trend(self) -> str:
        """`up`, `down`, `same`, or empty if the change is not known; a higher score is always better.

        A change that is not larger than `usual` is `same`.
        """
        if self.change is None:
            return ""
        rounded = round(self.change, self.digits)
        return "same" if abs(rounded) <= (self.usual or 0) else "up" if rounded > 0 else "down"

    @property
    def usual_text(self) -> str:
        """How far runs of one configuration lie apart, in words; empty if that was not measured."""
        return "" if self.usual is None else f"runs of one configuration differ by up to {self.usual:.{self.digits}f}"


@dataclass(frozen=True)
class Tile:
    """A single score with its label, unit and remark."""

    label: str
    score: Score
    unit: str
    remark: str


@dataclass(frozen=True)
class ScoreTable:
    """A table of scores; `rows` are (key of the model, its name, one score for each column)."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Score, ...]], ...]


def score_tiles(
    metrics: Mapping[str, Any],
    classifier: Mapping[str, Any],
    before: Mapping[str, Any],
    classifier_before: Mapping[str, Any],
    usual: Mapping[str, float],
) -> list[Tile]:
    """Return the few scores to look at first.

    Args:
        metrics: the content of `data/evaluate/metrics.json`; empty if there is no such file.
        classifier: the content of `data/train_pam/metrics.json`.
        before: the metrics of the other run.
        classifier_before: the metrics of the other run's classifier.
        usual: `Spread.points` of the data set.
    """
    network, detector, semantic = ("bestie", "map50"), ("mrcnn", "map50"), ("semantic_miou",)
    found = [
        _tile("BESTIE", metrics, before, network, "mAP50, %", "network alone", usual=usual),
        _tile("Mask R-CNN", metrics, before, detector, "mAP50, %", "trained on the exported labels", usual=usual),
        _tile("Semantic map", metrics, before, semantic, "mIoU, %", "of the network", factor=100, usual=usual),
        _label_tile("Pseudo labels", metrics, before, "pseudo_labels"),
        _label_tile("Exported labels", metrics, before, "export"),
        _tile("Classifier", classifier, classifier_before, ("val_map",), "mAP, %", "of the image labels", factor=100),
    ]
    return [tile for tile in found if tile is not None]


def score_table(metrics: Mapping[str, Any], before: Mapping[str, Any], usual: Mapping[str, float]) -> ScoreTable | None:
    """Return the scores of all models at all thresholds; None if no model has a score. Arguments: `score_tiles`."""
    known = [model for model in MODELS if model in metrics]
    if not known:
        return None
    names = [name for name in metrics[known[0]] if name.startswith("map")]
    names += [name for name in ("coco_ap",) if name in metrics[known[0]]]
    rows = [
        (model, MODELS[model], tuple(_score(metrics, before, (model, name), usual=usual) for name in names))
        for model in known
    ]
    headers = [f"mAP{name.removeprefix('map')}" if name.startswith("map") else "COCO AP" for name in names]
    return ScoreTable(tuple(headers), tuple(rows))


def _tile(
    label: str,
    metrics: Mapping[str, Any],
    before: Mapping[str, Any],
    keys: tuple[str, ...],
    unit: str,
    remark: str,
    *,
    factor: float = 1,
    usual: Mapping[str, float] = NOTHING,
) -> Tile | None:
    score = _score(metrics, before, keys, factor=factor, usual=usual)
    return None if score.value is None else Tile(label, score, unit, remark)


def _label_tile(label: str, metrics: Mapping[str, Any], before: Mapping[str, Any], key: str) -> Tile | None:
    if key not in metrics:
        return None
    counts = metrics[key]
    precision = UNDEFINED if counts["precision"] is None else f"{counts['precision']:.2f}"
    remark = f"{counts['true_positives']:,} of {counts['true_instances']:,}, precision {precision}"
    return _tile(label, metrics, before, (key, "recall"), "objects found, %", remark, factor=100)


def _score(
    metrics: Mapping[str, Any],
    before: Mapping[str, Any],
    keys: Iterable[str],
    *,
    factor: float = 1,
    usual: Mapping[str, float] = NOTHING,
) -> Score:
    keys = tuple(keys)
    value, old = _value(metrics, keys), _value(before, keys)
    change = None if value is None or old is None else factor * (value - old)
    return Score(None if value is None else factor * value, change, usual=usual.get(".".join(keys)))


def _value(metrics: Any, keys: Iterable[str]) -> float | None:
    for key in keys:
        if not isinstance(metrics, Mapping) or key not in metrics:
            return None
        metrics = metrics[key]
    return metrics
