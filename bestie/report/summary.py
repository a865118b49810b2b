"""The summary of the last run: its scores, where its artifacts and its report are, and how long it took."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bestie.artifacts.metrics_json import read_json
from bestie.artifacts.paths import ARTIFACTS, DATA, folder
from bestie.report import REPORT
from bestie.report.funnel import STEPS, funnel_json, read_funnel
from bestie.runtime.health import read_warnings

MODELS = {
    "bestie": "BESTIE",
    "mrcnn": "Mask R-CNN on its export",
    "components": "baseline: components of the semantic map",
    "bestie_true_semantic": "BESTIE, true semantic map",
    "components_true_semantic": "baseline, true semantic map",
}


def read_summary(*, since: float | None = None) -> dict[str, Any]:
    """Return the summary of the last run as JSON values.

    Args:
        since: the time at which the run began, in seconds since the epoch.

    Returns:
        `metrics`, those of `evaluate`; `funnel`, what became of each class; `warnings` of all stages; `artifacts`, the
        folder of each stage; `sheet` and `report`, paths or None if there is no such file; and `seconds`, the time
        since `since` or None.

    Raises:
        InputError: there are no metrics yet.
    """
    return {
        "metrics": read_json(folder("evaluate") / "metrics.json"),
        "funnel": funnel_json(read_funnel(DATA)),
        "warnings": [{"stage": stage, **asdict(warning)} for stage, warning in read_warnings(DATA)],
        "artifacts": {stage: f"{DATA / stage}/" for stage in ARTIFACTS},
        "sheet": _existing(folder("evaluate") / "sheet.png"),
        "report": _existing(REPORT),
        "seconds": None if since is None else round(time.time() - since),
    }


def print_summary(console: Console, *, since: float | None = None) -> None:
    """Print metrics, warnings, artifacts and, with `since` (seconds since the epoch), the run time.

    Raises:
        InputError: there are no metrics yet.
    """
    summary = read_summary(since=since)
    metrics = summary["metrics"]
    if any(model in metrics for model in MODELS):
        console.print(_scores(metrics))
    else:
        console.print("No scores: no validation image has true masks.")
    if labels := _labels(metrics):
        console.print(labels)
    if summary["funnel"]:
        console.print(_funnel(summary["funnel"]))
    for stage, warning in read_warnings(DATA):
        console.print(f"Warning of {stage}: {warning}", soft_wrap=True, markup=False)
    table = Table("folder", "artifacts", box=None, title="Artifacts", title_justify="left")
    for stage, names in ARTIFACTS.items():
        table.add_row(summary["artifacts"][stage], names)
    console.print(table)
    if summary["seconds"] is not None:
        minutes, seconds = divmod(summary["seconds"], 60)
        console.print(f"Run time: {minutes} min {seconds} s")
    for name, path in (("Pictures", summary["sheet"]), ("Report", summary["report"])):
        if path is not None:
            console.print(f"{name}: {path}", soft_wrap=True)


def _existing(path: Path) -> str | None:
    return str(path.resolve()) if path.exists() else None


def _scores(metrics: dict[str, Any]) -> Table:
    known = {model: metrics[model] for model in MODELS if model in metrics}
    names = [name for name in next(iter(known.values()), {}) if name.startswith("map")]
    table = Table("mAP in %, validation images", box=None)
    for name in names:
        table.add_column(f"IoU .{name.removeprefix('map')}", justify="right")
    for model, scores in known.items():
        cells = [f"{scores[name]:.1f}" if scores[name] is not None else "-" for name in names]
        table.add_row(MODELS[model], *cells)
    return table


def _funnel(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return what becomes of each class; classes that are lost on the way come first."""
    table = Table("class", box=None, title="From labeled images to detections", title_justify="left")
    for name in ("images", *(step.name for step in STEPS), "agree %"):
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: not row["is_lost"]):
        cells = [row["train_images"], *(row[step.key] for step in STEPS)]
        agreement = "-" if row["agreement"] is None else f"{row['agreement']:.0f}"
        name = f"{row['class']} (lost)" if row["is_lost"] else row["class"]
        table.add_row(escape(name), *("-" if each is None else str(each) for each in cells), agreement)
    return table


def _labels(metrics: dict[str, Any]) -> str:
    parts = []
    if "semantic_miou" in metrics:
        parts.append(f"semantic mIoU {metrics['semantic_miou']:.3f}")
    for name, words in (("pseudo_labels", "pseudo labels"), ("export", "exported labels")):
        if name in metrics:
            found = metrics[name]
            parts.append(
                f"{words}: {found['true_positives']} of {found['true_instances']} objects, "
                f"precision {found['precision'] or 0:.2f}"
            )
    return "; ".join(parts)
