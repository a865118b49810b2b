"""Numbers for DVC: metrics as JSON, curves as JSON rows or CSV, histories as JSON and Parquet."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.blobs import missing
from bestie.artifacts.schemas import history_schema
from bestie.artifacts.tables import TableWriter
from bestie.errors import InputError

#: Digits of a float that are written: more than matter in any metric, fewer than two machines agree on.
SIGNIFICANT_DIGITS = 6


def write_json(path: Path, data: Any) -> None:
    """Write JSON with sorted keys and floats of six significant digits; NaN and infinity become null.

    NumPy numbers and arrays become numbers and lists.

    Raises:
        TypeError: the data hold anything else that JSON cannot represent.
    """
    text = json.dumps(_plain(data), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic_output(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises InputError if it is missing or malformed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise missing(path) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no valid JSON ({error}). Write it again.") from error


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys as CSV with a header; NaN and None become empty.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError(f"no rows for {path}: its columns would be unknown")
    with atomic_output(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(_plain(row) for row in rows)


def write_history(parquet_path: Path, json_path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a history twice: as Parquet with full precision, and as JSON rows, which `dvc plots` reads.

    Each row has `epoch` and any measured values; a value that an epoch lacks, or NaN, becomes null. Columns keep the
    order in which they first appear.
    """
    values = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "epoch"]
    full = [{"epoch": row["epoch"], **{name: _number(row.get(name)) for name in values}} for row in rows]
    with TableWriter(parquet_path, history_schema(values)) as writer:
        writer.append_rows(full)
    write_json(json_path, full)


def _number(value: Any) -> float | None:
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, np.ndarray | np.generic):
        return _plain(data.tolist())
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, float):
        return float(f"{data:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(data) else None
    return data
