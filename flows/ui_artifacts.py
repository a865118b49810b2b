"""Prefect artifacts of finished stages: warnings, metrics with their change, pseudo labels, contact sheet."""

import base64
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from bestie.artifacts.metrics_json import read_json
from bestie.artifacts.paths import DATA
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import count_categories, read_categories
from bestie.audit.lock import short_hash
from bestie.report.funnel import AGREEMENT, STEPS, funnel_json, read_funnel
from bestie.runtime.health import read_warnings
from flows.lock_entries import Lock, outputs

#: The files that the artifacts of a stage are made from.
INPUTS = {
    "prepare": ("data/prepare/warnings.json",),
    "extract_cues": ("data/extract_cues/warnings.json",),
    "make_pseudo_labels": (
        "data/prepare/categories.parquet",
        "data/make_pseudo_labels/instances.parquet",
        "data/make_pseudo_labels/warnings.json",
    ),
    "train_bestie": ("data/train_bestie/warnings.json",),
    "export_mrcnn": ("data/export_mrcnn/warnings.json",),
    "evaluate": (
        "data/evaluate/metrics.json",
        "data/evaluate/sheet.png",
        "data/evaluate/warnings.json",
        f"data/{AGREEMENT}",
        "data/prepare/images.parquet",
        "data/prepare/categories.parquet",
        *sorted({f"data/{step.path}" for step in STEPS}),
    ),
}
#: The largest width of the sheet in the UI, so that it loads quickly; the file has the full size.
SHEET_WIDTH_PX = 1400


def key(name: str, dataset: str) -> str:
    """Return the key of an artifact: Prefect accepts lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{dataset}".lower()).strip("-")


def publish(stage: str, root: Path, dataset: str, lock: Lock) -> None:
    """Publish the artifacts of a stage, if it has any."""
    if stage == "make_pseudo_labels":
        publish_pseudo_labels(root, dataset, lock)
    if stage == "evaluate":
        publish_metrics(root, dataset)
        publish_classes(root, dataset)
        publish_sheet(root, dataset, lock)


def publish_warnings(root: Path, dataset: str) -> int:
    """Publish the warnings of all stages as a table; return their number.

    A run without warnings publishes an empty table, since the UI shows the newest artifact of a key.
    """
    found = read_warnings(root / DATA)
    rows = [
        {"stage": stage, "warning": each.what, "likely cause": each.cause, "look at": ", ".join(each.look_at)}
        for stage, each in found
    ]
    description = f"Warnings of the last run on {dataset}: {len(rows) or 'none'}."
    create_table_artifact(rows, key=key("warnings", dataset), description=description)
    return len(rows)


def publish_metrics(root: Path, dataset: str) -> None:
    """Publish a table of all scores, with their change against the last run on this data set."""
    name = key("metrics", dataset)
    scores = dict(_flat(read_json(root / DATA / "evaluate" / "metrics.json")))
    before = _last_metrics(name)
    rows = [
        {
            "metric": metric,
            "value": _rounded(value),
            "last run": before.get(metric),
            "change": _change(value, before.get(metric)),
        }
        for metric, value in scores.items()
    ]
    create_table_artifact(rows, key=name, description=f"Scores on {dataset}, and the change against the last run.")


def publish_classes(root: Path, dataset: str) -> None:
    """Publish what became of each class, from labeled images to detections."""
    description = f"What becomes of each class of {dataset}: images, labels and detections."
    rows = funnel_json(read_funnel(root / DATA))
    create_table_artifact(rows, key=key("classes", dataset), description=description)


def _last_metrics(name: str) -> dict[str, float]:
    with get_client(sync_client=True) as client:
        by_key = ArtifactFilter(key=ArtifactFilterKey(any_=[name]))
        found = client.read_artifacts(artifact_filter=by_key, sort=ArtifactSort.CREATED_DESC, limit=1)
    rows = json.loads(str(found[0].data)) if found else []
    return {row["metric"]: row["value"] for row in rows}


def publish_pseudo_labels(root: Path, dataset: str, lock: Lock) -> None:
    """Publish the version of the pseudo labels: its hash, counts per class, and true positives if they are known."""
    version = short_hash(outputs(lock, "make_pseudo_labels"))
    table = root / DATA / "make_pseudo_labels" / "instances.parquet"
    names = {c.category_id: c.name for c in read_categories(root / DATA / "prepare" / "categories.parquet")}
    counts = count_categories(table, INSTANCES)
    lines = [f"# Pseudo labels {version}", "", f"{counts.total()} instances on `{dataset}`.", ""]
    lines += _true_positives(root)
    lines += ["| class | instances |", "| --- | ---: |"]
    lines += [f"| {_escaped(name)} | {counts[category_id]} |" for category_id, name in names.items()]
    create_markdown_artifact(
        "\n".join(lines), key=key("pseudo-labels", dataset), description=f"Version {version} of the pseudo labels."
    )


def publish_sheet(root: Path, dataset: str, lock: Lock) -> None:
    """Publish the contact sheet as a picture inside the artifact, so that every browser can show it."""
    with Image.open(root / DATA / "evaluate" / "sheet.png") as sheet:
        height = round(sheet.height * SHEET_WIDTH_PX / sheet.width)
        smaller = sheet.convert("RGB")
        if sheet.width > SHEET_WIDTH_PX:
            smaller = smaller.resize((SHEET_WIDTH_PX, height), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    smaller.save(encoded, "JPEG", quality=82)
    url = f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    version = short_hash(outputs(lock, "evaluate"))
    create_markdown_artifact(
        f"![contact sheet]({url})",
        key=key("contact-sheet", dataset),
        description=f"Some images through all stages ({version}).",
    )


def _true_positives(root: Path) -> list[str]:
    path = root / DATA / "evaluate" / "metrics.json"
    found = read_json(path).get("pseudo_labels") if path.exists() else None
    if not found:
        return []
    objects = f"{found['true_positives']} of {found['true_instances']} objects have a correct pseudo label"
    return [f"{objects} (precision {found['precision'] or 0:.2f}, IoU 0.5), as of the last evaluation.", ""]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield f"{prefix}{name}", value


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, 4)


def _change(value: float, before: float | None) -> str:
    if before is None:
        return ""
    change = _rounded(_rounded(value) - before)
    return f"{change:+}" if change else "0"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)
