"""Tables that users bring, as CSV or Parquet: rows of values, each with its place in the file."""

import csv
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bestie.errors import InputError

TABLE_SUFFIXES = (".csv", ".parquet")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
#: The line with which Excel is told what separates the values.
SEPARATOR_LINE = re.compile(r"sep=([,;\t|])\r?\n?")


class OwnRow(NamedTuple):
    """One row; `where` names the file and the line (CSV) or row (Parquet), counted from 1."""

    where: str
    values: dict[str, Any]


def read_own_table(path: Path, *, required: Collection[str], optional: Collection[str] = ()) -> Iterator[OwnRow]:
    """Yield the rows of a table with only the named columns; an optional column that the table lacks is None.

    Values of a CSV file are text; those of a Parquet file have their own types. Rows of a CSV file
    without any value are left out, and capitals in the names of columns make no difference.

    Args:
        path: a CSV file with a header, in UTF-8 or UTF-16, separated by commas, semicolons or tabs; or a Parquet file.
        required: columns that the table must have.
        optional: columns that it may have; all others are ignored.

    Raises:
        InputError: the file is missing, is not such a table, or lacks a required column.
    """
    found = column_names(path)
    named = {name: _same_name(name, found) for name in (*required, *optional)}
    if missing := [name for name in required if named[name] is None]:
        raise InputError(
            f"{path} has the columns {', '.join(found)[:200] or 'none'}, but not {', '.join(missing)}. "
            "Name the columns in the first line, separated by commas."
        )
    columns = {name: column for name, column in named.items() if column is not None}
    rows = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path, list(columns.values()))
    for where, values in rows:
        yield OwnRow(where, {name: values[columns[name]] if name in columns else None for name in named})


def column_names(path: Path) -> list[str]:
    """Return all columns of such a table. Raises InputError if it is missing or not such a table."""
    _check_file(path)
    if path.suffix == ".parquet":
        with _naming_parquet(path), pq.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    with _opened_csv(path) as (reader, _):
        return [name for name in reader.fieldnames or () if name]


def _check_file(path: Path) -> None:
    if path.suffix not in TABLE_SUFFIXES:
        raise InputError(f"{path} is neither a .csv nor a .parquet file. Save the table as one of them.")
    if not path.is_file():
        raise InputError(f"{path} does not exist. Put the table there or correct its name in prepare.folder.")


def _same_name(name: str, columns: Collection[str]) -> str | None:
    """Return the column of that name, else the first that differs by capitals only, or None."""
    if name in columns:
        return name
    return next((column for column in columns if column.casefold() == name.casefold()), None)


@contextmanager
def _opened_csv(path: Path) -> Iterator[tuple[csv.DictReader, int]]:
    """Open a file, and give a reader of its rows and the number of lines before them that the reader has not seen."""
    try:
        with path.open("rb") as file:
            utf_16 = file.read(2) in UTF_16
        # a leading byte order mark is not part of a name
        with path.open(newline="", encoding="utf-16" if utf_16 else "utf-8-sig") as text:
            first = text.readline()
            if said := SEPARATOR_LINE.fullmatch(first):
                delimiter = said[1]
            else:
                delimiter = max(",;\t", key=first.count)
                text.seek(0)
            reader = csv.DictReader(text, strict=True, skipinitialspace=True, delimiter=delimiter)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            yield reader, bool(said)
    except (UnicodeError, csv.Error, OSError) as error:
        raise InputError(f"{path} is no readable CSV file ({error}). Save it as CSV in UTF-8.") from error


@contextmanager
def _naming_parquet(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"{path} is no readable Parquet file ({error}). Write it again.") from error


def _read_csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with _opened_csv(path) as (reader, lines_before):
        for values in reader:
            where = f"{path}, line {reader.line_num + lines_before}"
            if None not in values and not any((value or "").strip() for value in values.values()):
                continue
            if None in values or None in values.values():
                raise InputError(
                    f"{where} has another number of values than the header. Put values that hold a comma in quotes."
                )
            yield where, values


def _read_parquet(path: Path, columns: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    with _naming_parquet(path), pq.ParquetFile(path) as file:
        number = 0
        for batch in file.iter_batches(columns=list(columns), use_threads=False):
            for values in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", values
