"""Tables in Parquet, written and read as streams; errors name the file that is not what it should be."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Int64

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.blobs import Blob, missing, remedy
from bestie.artifacts.schemas import CATEGORIES, CUES, INSTANCES, WSSS_SUMMARY
from bestie.errors import InputError
from bestie.records import Category

# Arrow's own pool keeps what was freed: 15 MiB more than the system's after an index of 17,600 images is read.
pa.set_memory_pool(pa.system_memory_pool())

#: Columns of one length. Numbers have their own dtype, text and lists the dtype object, boxes the shape (n, 4).
Columns = dict[str, np.ndarray]

ROW_GROUP_ROWS = 1024
#: Rows that a stream holds at a time: a thousand masks are a few hundred kilobytes.
STREAM_ROWS = 1024


class TableWriter:
    """A context manager that writes one Parquet file, atomically and in bounded memory.

    The bytes depend only on the rows, not on how they were grouped into calls.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._pending: dict[str, list] = {name: [] for name in schema.names}

    def __enter__(self) -> "TableWriter":
        with ExitStack() as stack:  # a writer that fails to start leaves nothing behind
            partial = stack.enter_context(atomic_output(self._path))
            self._writer = stack.enter_context(
                pq.ParquetWriter(partial, self._schema, compression="zstd", compression_level=3)
            )
            self._stack = stack.pop_all()
        return self

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row. Raises ValueError unless it has exactly the columns of the schema."""
        self._check_names(row)
        for name, values in self._pending.items():
            values.append(row[name])
        if len(next(iter(self._pending.values()))) == ROW_GROUP_ROWS:
            self._flush()

    def append_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows. Raises ValueError like `append`."""
        for row in rows:
            self.append(row)

    def _check_names(self, row: Mapping[str, Any]) -> None:
        if different := set(row) ^ set(self._pending):
            raise ValueError(f"a row of {self._path} lacks or should not have {sorted(different)}")

    def _flush(self) -> None:
        arrays = [pa.array(self._pending[field.name], type=field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=ROW_GROUP_ROWS)
        self._pending = {name: [] for name in self._schema.names}

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is not None:
            self._stack.__exit__(*exception)
            return
        with self._stack:  # an error in the last write must reach atomic_output too
            if next(iter(self._pending.values())):
                self._flush()


def read_table(
    path: Path | Blob,
    schema: pa.Schema,
    columns: Collection[str] | None = None,
    where: Mapping[str, Any] | None = None,
) -> Columns:
    """Read a table, or some of its columns and rows, into memory.

    Args:
        path: a Parquet file, on disk or elsewhere.
        schema: the columns that the file must have; others are ignored, so EVOLUTION can be read as INSTANCES.
        columns: the columns to return; None: all of the schema.
        where: column -> the value, or the collection of values, that a row must have.

    Raises:
        InputError: the file is missing or not a Parquet file, or a column is missing, has another type or holds nulls.
        ValueError: `columns` or `where` names a column that the schema lacks.
    """
    _names(schema, where)
    filters = [(name, "in", _as_list(wanted)) for name, wanted in (where or {}).items()]
    with _open_table(path, schema), _source(path) as source:
        table = pq.read_table(
            source, columns=_names(schema, columns), filters=filters or None, partitioning=None, use_threads=False
        )
        _check_nulls(path, schema, table)
        return _columns(table, table.column_names)


def read_arrow(path: Path | Blob, schema: pa.Schema) -> dict[str, pa.Array]:
    """Read the columns of a table as they are stored. Raises InputError like `read_table`.

    A column that may hold nulls can be missing, as it is in files from before it existed; it is all nulls then.
    """
    with _open_table(path, schema) as file:
        table = file.read(columns=list(schema.names), use_threads=False)
        _check_nulls(path, schema, table)
        found = set(table.column_names)
        return {
            name: table[name].combine_chunks() if name in found else pa.nulls(len(table), schema.field(name).type)
            for name in schema.names
        }


def as_rows(columns: Columns) -> Iterator[dict[str, Any]]:
    """Return an iterator over the rows of columns."""
    return (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def iter_rows(path: Path | Blob, schema: pa.Schema, columns: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows as dictionaries of Python values. Raises InputError like `read_table`.

    A column that may hold nulls can be missing, as it is in files from before it existed; all of its values are None.
    """
    names = _names(schema, columns)
    with _open_table(path, schema) as file:
        without = {name: None for name in names if name not in file.schema_arrow.names}
        for batch in file.iter_batches(STREAM_ROWS, columns=names, use_threads=False):
            _check_nulls(path, schema, batch)
            yield from (row | without for row in batch.to_pylist())


def iter_images(
    path: Path | Blob, schema: pa.Schema, columns: Collection[str] | None = None
) -> Iterator[tuple[int, Columns]]:
    """Yield (row, the columns of that image) for each image that has rows, in ascending order of `row`.

    Memory does not grow with the table. Raises InputError like `read_table`, and if the table is not ordered by `row`.
    """
    names = _names(schema, columns)
    with _open_table(path, schema) as file:
        held: pa.Table | None = None
        wanted = list(dict.fromkeys(["row", *names]))
        for batch in file.iter_batches(STREAM_ROWS, columns=wanted, use_threads=False):
            _check_nulls(path, schema, batch)
            if not len(batch):
                continue
            table = pa.Table.from_batches([batch])
            table = table if held is None else pa.concat_tables([held, table])
            rows = table["row"].to_numpy()
            if rows[0] < 0 or (np.diff(rows) < 0).any():
                raise InputError(f"{path} is not ordered by its column row, from 0; write it again in that order.")
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            for start, stop in pairwise(starts):
                yield int(rows[start]), _columns(table.slice(start, stop - start), names)
            held = table.slice(starts[-1])
        if held is not None:
            yield held["row"][0].as_py(), _columns(held, names)


def count_categories(path: Path | Blob, schema: pa.Schema) -> Counter[int]:
    """Return how many rows each category_id has. Raises InputError like `read_table`."""
    return Counter(row["category_id"] for row in iter_rows(path, schema, ["category_id"]))


def write_categories(path: Path, categories: Iterable[Category]) -> None:
    """Write `categories.parquet`. Raises ValueError unless the category ids count from 1."""
    with TableWriter(path, CATEGORIES) as writer:
        for expected, category in enumerate(categories, start=1):
            if category.category_id != expected:
                raise ValueError(f"category {category.name} has id {category.category_id}, not {expected}")
            writer.append({name: getattr(category, name) for name in CATEGORIES.names})


def read_categories(path: Path | Blob) -> list[Category]:
    """Read `categories.parquet`; entry k has category_id k + 1.

    Raises InputError like `read_table`, and if the category ids do not count from 1.
    """
    categories = [Category(**row) for row in iter_rows(path, CATEGORIES)]
    if [each.category_id for each in categories] != list(range(1, len(categories) + 1)):
        raise InputError(f"{path} has category ids that do not count from 1. {remedy(path)}")
    return categories


def read_instance_categories(path: Path | Blob) -> dict[int, np.ndarray]:
    """Read row -> category_id of instances 1, 2, ... of that image. Raises InputError like `iter_images`."""
    return {
        row: columns["category_id"][np.argsort(columns["instance_id"])]
        for row, columns in iter_images(path, INSTANCES, ["instance_id", "category_id"])
    }


def read_class_pixels(path: Path | Blob) -> Int64[np.ndarray, " k"]:
    """Read the number of labeled pixels of each class, background first, from a WSSS summary.

    Raises InputError like `read_table`.
    """
    rows = iter_rows(path, WSSS_SUMMARY, ["category_px", "background_px"])
    counts = [np.array([row["background_px"], *row["category_px"]], np.int64) for row in rows]
    return np.sum(counts, axis=0)


def read_points(path: Path | Blob) -> dict[int, np.ndarray]:
    """Read row -> array of (x, y, category_id) from a cue or point table. Raises InputError like `iter_images`."""
    return {
        row: np.stack([columns["x"], columns["y"], columns["category_id"]], axis=1)
        for row, columns in iter_images(path, CUES, ["x", "y", "category_id"])
    }


@contextmanager
def _open_table(path: Path | Blob, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    """Yield the opened file after checking its columns; errors of reading in the block become InputError too."""
    try:
        with _source(path) as source, pq.ParquetFile(source, pre_buffer=False) as file:
            _check_columns(path, schema, file.schema_arrow)
            yield file
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no readable Parquet file ({error}). Write it again.") from error


def _source(path: Path | Blob) -> AbstractContextManager[Any]:
    """Return the source for pyarrow: the path itself, or an open file."""
    if isinstance(path, Blob):
        return path.open()
    if not path.is_file():
        raise missing(path)
    return nullcontext(path)


def _check_columns(path: Path | Blob, schema: pa.Schema, found: pa.Schema) -> None:
    for field in schema:
        if field.name not in found.names:
            if field.nullable:
                continue
            raise InputError(f"{path} has no column {field.name}. {remedy(path)}")
        if found.field(field.name).type != field.type:
            raise InputError(
                f"{path} has {found.field(field.name).type}, not {field.type}, in its column {field.name}. "
                f"{remedy(path)}"
            )


def _check_nulls(path: Path | Blob, schema: pa.Schema, found: pa.Table | pa.RecordBatch) -> None:
    for field in schema:
        if field.name not in found.schema.names or field.nullable:
            continue
        column = found.column(field.name)
        nulls = column.null_count
        if pa.types.is_nested(column.type):  # a list may hold nulls too
            nulls += pc.list_flatten(column).null_count
        if nulls:
            raise InputError(f"{path} has no value in some rows of its column {field.name}. {remedy(path)}")


def _names(schema: pa.Schema, columns: Collection[str] | None) -> list[str]:
    if columns is None:
        return list(schema.names)
    if unknown := [name for name in columns if name not in schema.names]:
        raise ValueError(f"no such columns: {unknown}; the table has {schema.names}")
    return list(columns)


def _columns(table: pa.Table, names: list[str]) -> Columns:
    return {name: _to_numpy(table[name].combine_chunks()) for name in names}


def _as_list(wanted: Any) -> list:
    single = isinstance(wanted, str) or not isinstance(wanted, Collection | np.ndarray)
    return [wanted] if single else list(wanted)


def _to_numpy(array: pa.Array) -> np.ndarray:
    """Copy a column into a writable array, because torch refuses to share read-only ones."""
    if pa.types.is_fixed_size_list(array.type):
        return np.array(array.flatten()).reshape(len(array), array.type.list_size)
    return np.array(array.to_numpy(zero_copy_only=False))
