"""Scores by class and by object size, and errors by table: rows of numbers, each with a bar."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bestie.artifacts.metrics_json import read_json
from bestie.errors import InputError
from bestie.metrics.detection_errors import ERRORS, Verdict
from bestie.report.analysis import AnalysedTable
from bestie.report.score_tables import MODELS

VERDICT_NAMES = {
    Verdict.CORRECT: "correct",
    Verdict.MISSED: "missed",
    Verdict.DUPLICATE: "duplicate",
    Verdict.WRONG_CLASS: "wrong class",
    Verdict.POOR_MASK: "poor mask",
    Verdict.BACKGROUND: "background",
    Verdict.IGNORED: "ignored",
}


@dataclass(frozen=True)
class BarRow:
    """One row: its label, the number of true objects, and a percentage for each column (None: not defined)."""

    label: str
    count: int
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class BarTable:
    """A table of percentages; `columns` are (key of the model, name of the model)."""

    title: str
    label: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[BarRow, ...]


@dataclass(frozen=True)
class ErrorRow:
    """How often each verdict occurs in one table; `counts` are (verdict, its name, number of times)."""

    table: AnalysedTable
    images: int
    counts: tuple[tuple[str, str, int], ...]

    @property
    def instances(self) -> int:
        """The number of predictions that were judged."""
        return sum(count for verdict, _, count in self.counts if verdict != Verdict.MISSED)


def class_tables(data: Path) -> list[BarTable]:
    """Return AP by class, one table per threshold, the one at IoU 0.5 first. Raises InputError for a damaged file."""
    path = data / "evaluate" / "per_class.csv"
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["model"]]
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is damaged ({error!r}). Restore it with `dvc checkout`.") from error
    if not rows:
        return []
    thresholds = [name.removeprefix("ap") for name in rows[0] if name.startswith("ap")]
    thresholds.sort(key=lambda name: name != "50")
    return [_class_table(rows, threshold) for threshold in thresholds]


def size_table(data: Path) -> BarTable | None:
    """Return mAP50 by object size; None if the run has no such scores."""
    path = data / "evaluate" / "ap_by_size.json"
    rows = read_json(path) if path.is_file() else []
    if not rows:
        return None
    models = _models(rows)
    sizes = {row["size"]: row for row in rows}
    return BarTable(
        title="mAP50 by size of object",
        label="size",
        columns=models,
        rows=tuple(
            BarRow(
                f"{size} ({_limits(row)})",
                row["true_instances"],
                tuple(_value(rows, model, "size", size, "map") for model, _ in models),
            )
            for size, row in sizes.items()
        ),
    )


def error_rows(tables: Sequence[AnalysedTable]) -> list[ErrorRow]:
    """Return how often each verdict occurs, for every table that could be judged."""
    return [
        ErrorRow(
            each,
            each.counts.images,
            tuple(
                (verdict.value, VERDICT_NAMES[verdict], each.counts.total(verdict))
                for verdict in (Verdict.CORRECT, *ERRORS)
            ),
        )
        for each in tables
        if each.counts is not None
    ]


def _class_table(rows: Sequence[Mapping[str, Any]], threshold: str) -> BarTable:
    models = _models(rows)
    counts = {row["class"]: int(row["true_instances"]) for row in rows}
    return BarTable(
        title=f"AP{threshold}",
        label="class",
        columns=models,
        rows=tuple(
            BarRow(name, count, tuple(_value(rows, model, "class", name, f"ap{threshold}") for model, _ in models))
            for name, count in counts.items()
        ),
    )


def _models(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    present = {row["model"] for row in rows}
    return tuple((model, name) for model, name in MODELS.items() if model in present)


def _value(rows: Sequence[Mapping[str, Any]], model: str, key: str, wanted: str, column: str) -> float | None:
    for row in rows:
        if row["model"] == model and row[key] == wanted:
            return None if row[column] in ("", None) else float(row[column])
    return None


def _limits(row: Mapping[str, Any]) -> str:
    low, high = row["from_px"], row["below_px"]
    if low == 0:
        return f"below {high:,} px"
    return f"from {low:,} px" if high is None else f"{low:,} to {high - 1:,} px"
