"""Tables that users bring, as CSV or Parquet: rows of values, each with its place in the file."""

import csv
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bestie.errors import InputError

TABLE_SUFFIXES = (".csv", ".parquet")


class OwnRow(NamedTuple):
    """One row; `where` names the file and the line (CSV) or row (Parquet), counted from 1."""

    where: str
    values: dict[str, Any]


def read_own_table(path: Path, *, required: Collection[str], optional: Collection[str] = ()) -> Iterator[OwnRow]:
    """Yield the rows of a table with only the named columns; an optional column that the table lacks is None.

    Values of a CSV file are text; those of a Parquet file have their own types.

    Args:
        path: a CSV file (UTF-8, separated by commas, with a header), or a Parquet file.
        required: columns that the table must have.
        optional: columns that it may have; all others are ignored.

    Raises:
        InputError: the file is missing, is not such a table, or lacks a required column.
    """
    _check_file(path)
    rows = _read_csv(path, required) if path.suffix == ".csv" else _read_parquet(path, required, optional)
    for where, values in rows:
        yield OwnRow(where, {name: values.get(name) for name in (*required, *optional)})


def column_names(path: Path) -> list[str]:
    """Return all columns of such a table. Raises InputError if it is missing or not such a table."""
    _check_file(path)
    if path.suffix == ".parquet":
        with _naming_parquet(path), pq.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    with _naming_csv(path), path.open(newline="", encoding="utf-8-sig") as file:
        return _header(csv.DictReader(file, strict=True, skipinitialspace=True))


def _check_file(path: Path) -> None:
    if path.suffix not in TABLE_SUFFIXES:
        raise InputError(f"{path} is neither a .csv nor a .parquet file. Save the table as one of them.")
    if not path.is_file():
        raise InputError(f"{path} does not exist. Put the table there or correct its name in prepare.folder.")


def _header(reader: csv.DictReader) -> list[str]:
    return [name.strip() for name in reader.fieldnames or ()]


@contextmanager
def _naming_csv(path: Path) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"{path} is no readable CSV file ({error}). Save it as CSV in UTF-8.") from error


@contextmanager
def _naming_parquet(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"{path} is no readable Parquet file ({error}). Write it again.") from error


def _read_csv(path: Path, required: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    # a leading byte order mark is not part of a name
    with _naming_csv(path), path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True, skipinitialspace=True)
        names = _header(reader)
        _check_columns(path, names, required)
        reader.fieldnames = names
        for values in reader:
            where = f"{path}, line {reader.line_num}"
            if None in values or None in values.values():
                raise InputError(
                    f"{where} has another number of values than the header. Put values that hold a comma in quotes."
                )
            yield where, values


def _read_parquet(
    path: Path, required: Collection[str], optional: Collection[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    with _naming_parquet(path), pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names, required)
        wanted = [name for name in (*required, *optional) if name in file.schema_arrow.names]
        number = 0
        for batch in file.iter_batches(columns=wanted, use_threads=False):
            for values in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", values


def _check_columns(path: Path, found: Collection[str], required: Collection[str]) -> None:
    if missing := [name for name in required if name not in found]:
        raise InputError(
            f"{path} has the columns {', '.join(found)[:200] or 'none'}, but not {', '.join(missing)}. "
            "Name the columns in the first line, separated by commas."
        )
