"""The line charts of a run: training curves, the evolution of labels and detections, precision and recall."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bestie.artifacts.metrics_json import read_json
from bestie.report.charts import Chart, Drawing, Line, draw
from bestie.report.score_tables import MODELS

Rows = Sequence[Mapping[str, Any]]

LOSSES = {
    "semantic": "semantic",
    "center_pseudo": "center, pseudo labels",
    "center_refined": "center, refined labels",
    "offset_pseudo": "offset, pseudo labels",
    "offset_refined": "offset, refined labels",
}
#: Key, stage, title and text of the charts of trainings with one loss.
TOTAL_LOSSES = (
    (
        "loss-classifier",
        "train_pam",
        "Classifier: loss",
        "Multi-label loss. It rises when the peak attention module joins in.",
    ),
    (
        "loss-own-maps",
        "train_wsss",
        "Own semantic maps: loss",
        "Cross-entropy of the network for own semantic maps, round after round.",
    ),
)
DETECTOR_LOSSES = {
    "classifier": "class",
    "box_reg": "box",
    "mask": "mask",
    "objectness": "objectness",
    "rpn_box_reg": "proposal box",
}


def training_curves(data: Path) -> list[Drawing]:
    """Draw the losses of the trainings, and two values that show early whether the network learns."""
    network = _rows(data / "train_bestie" / "history.json")
    detector = _rows(data / "train_mrcnn" / "history.json")
    return _drawn(
        [
            Chart(
                "loss-network",
                "Network: terms of the loss",
                "The weighted terms of Eq. 6. Refined labels join in later.",
                "epoch",
                "loss",
                [_line(network, key, name, f"tone-{k}") for k, (key, name) in enumerate(LOSSES.items(), 1)],
                logarithmic=True,
            ),
            Chart(
                "center-maxima",
                "Network: center maxima",
                "90th percentile of the center maxima of the classes present. Near 0 the center head has collapsed, "
                "near 1 it has learned.",
                "epoch",
                "center value",
                [_line(network, "center_max_p90", "90th percentile", "tone-1")],
            ),
            Chart(
                "refined-labels",
                "Network: refined instances",
                "Refined instances per image of the batch.",
                "epoch",
                "instances per image",
                [_line(network, "refined_per_image", "refined instances", "tone-2")],
            ),
            *(
                Chart(key, title, text, "epoch", "loss", [_line(rows, "total", "loss", "tone-1")])
                for key, stage, title, text in TOTAL_LOSSES
                for rows in [_rows(data / stage / "history.json")]
            ),
            Chart(
                "loss-detector",
                "Mask R-CNN: losses",
                "Trained on the exported labels.",
                "epoch",
                "loss",
                [_line(detector, key, name, f"tone-{k}") for k, (key, name) in enumerate(DETECTOR_LOSSES.items(), 1)],
            ),
        ]
    )


def evolution_curves(data: Path, metrics: Mapping[str, Any]) -> list[Drawing]:
    """Draw the refined labels and the detections of the snapshots over the training (Figures 6 and 7)."""
    refined = _rows(data / "evaluate" / "true_positives.json")
    detected = _rows(data / "evaluate" / "map50_by_epoch.json")
    pseudo = metrics.get("pseudo_labels", {})
    objects = refined[0]["true_instances"] if refined else 0
    lines = [
        _line(refined, "recall", "true objects found", "tone-1", factor=100),
        _line(refined, "precision", "labels that are right", "tone-2", factor=100),
        _level(refined, pseudo.get("recall"), "pseudo labels: objects found", "tone-1"),
        _level(refined, pseudo.get("precision"), "pseudo labels: right", "tone-2"),
    ]
    return _drawn(
        [
            Chart(
                "true-positives",
                "True positives of the refined labels",
                f"As in Figure 6, on {objects:,} true objects of a few training images. Dashed: the pseudo labels of "
                "all training images.",
                "epoch",
                "%",
                [line for line in lines if line.points],
                y_range=(0, 100),
            ),
            Chart(
                "map-by-epoch",
                "mAP50 while training",
                "As in Figure 7: detections of the network on a few validation images.",
                "epoch",
                "mAP50, %",
                [_line(detected, "map50", "BESTIE", "bestie")],
            ),
        ]
    )


def precision_recall_curves(data: Path) -> list[Drawing]:
    """Draw precision over recall, and mAP by threshold, of every model."""
    points = _rows(data / "evaluate" / "precision_recall.json")
    by_iou = _rows(data / "evaluate" / "ap_by_iou.json")
    return _drawn(
        [
            Chart(
                "precision-recall",
                "Precision and recall at IoU 0.5",
                "Mean over the classes that occur.",
                "recall",
                "precision",
                _by_model(points, "recall", "precision"),
                y_range=(0, 1),
            ),
            Chart(
                "map-by-iou",
                "mAP by IoU threshold",
                "How mAP falls when masks must fit better.",
                "IoU threshold",
                "mAP, %",
                _by_model(by_iou, "iou", "map"),
            ),
        ]
    )


def _by_model(rows: Rows, x: str, y: str) -> list[Line]:
    return [
        Line(
            MODELS[model],
            model.replace("_", "-"),
            [(row[x], row[y]) for row in rows if row["model"] == model],
            dashed=model.endswith("true_semantic"),
        )
        for model in MODELS
        if any(row["model"] == model for row in rows)
    ]


def _line(rows: Rows, key: str, name: str, color: str, *, factor: float = 1) -> Line:
    values = (row.get(key) for row in rows)
    scaled = [None if value is None else factor * value for value in values]
    return Line(name, color, [(row["epoch"], value) for row, value in zip(rows, scaled, strict=True)])


def _level(rows: Rows, value: float | None, name: str, color: str) -> Line:
    """Return a horizontal line over the epochs of `rows`; without points if there is no value."""
    points = [] if value is None else [(row["epoch"], 100 * value) for row in rows]
    return Line(name, color, points, dashed=True)


def _rows(path: Path) -> Rows:
    """Return the rows of a history; none if the stage has not run."""
    return read_json(path) if path.is_file() else []


def _drawn(charts: Iterable[Chart]) -> list[Drawing]:
    return [drawing for chart in charts if (drawing := draw(chart)) is not None]
