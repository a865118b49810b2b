"""Tables and maps are read from a cache or a remote as from a folder, and no more of them than is needed."""

import asyncio
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from bestie.artifacts.blob_store import BlobStore
from bestie.artifacts.blobs import Blob, BlobFolder
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.artifacts.schemas import CUES
from bestie.artifacts.tables import TableWriter, iter_images, iter_rows, read_table
from bestie.errors import InputError

ROWS = [
    {"image_id": f"i{row}", "row": row, "category_id": 1, "y": 1.0, "x": float(cue), "score": 0.5}
    for row in range(3)
    for cue in range(row)
]


class CountedFile(io.BytesIO):
    """A file that adds the bytes that are read from it to a counter."""

    def __init__(self, data: bytes, counter: Counter, name: str) -> None:
        super().__init__(data)
        self._counter, self._name = counter, name

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._counter[self._name] += len(data)
        return data


def opener(data: bytes, counter: Counter | None = None, name: str = "") -> Callable[[], BinaryIO]:
    return lambda: CountedFile(data, Counter() if counter is None else counter, name)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "cues.parquet"
    with TableWriter(path, CUES) as writer:
        writer.append_rows(ROWS)
    return path


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    path = tmp_path / "maps.zarr"
    rng = np.random.default_rng(0)
    with MapWriter(path, {"semantic": ("uint8", 255), "offset": ("int16", 0, 2)}, 40, (64, 64), {"a": 1}) as writer:
        for row in range(0, 40, 2):
            writer.write(row, "semantic", rng.integers(0, 255, (64, 60), dtype=np.uint8))
            writer.write(row, "offset", rng.integers(-99, 99, (2, 30, 64), dtype=np.int16))
    return path


def as_folder(path: Path, counter: Counter | None = None) -> BlobFolder:
    files = {each.relative_to(path).as_posix(): each for each in path.rglob("*") if each.is_file()}
    blobs = {name: Blob(name, opener(each.read_bytes(), counter, name)) for name, each in files.items()}
    return BlobFolder("maps of 1a2b3c4", blobs)


def test_a_table_reads_the_same_from_a_blob(table: Path):
    blob = Blob("cues of 1a2b3c4", opener(table.read_bytes()))
    assert list(iter_rows(blob, CUES)) == list(iter_rows(table, CUES)) == ROWS
    assert [row for row, _ in iter_images(blob, CUES)] == [1, 2]
    assert read_table(blob, CUES, ["x"], where={"row": 2})["x"].tolist() == [0.0, 1.0]


def test_the_file_of_a_blob_is_closed(table: Path):
    opened = []

    def open_table() -> BinaryIO:
        opened.append(io.BytesIO(table.read_bytes()))
        return opened[-1]

    read_table(Blob("cues", open_table), CUES)
    assert opened
    assert all(file.closed for file in opened)


def test_a_blob_with_another_schema_is_named_with_its_remedy(tmp_path: Path):
    path = tmp_path / "old.parquet"
    pq.write_table(pa.table({"image_id": ["a"]}), path)
    blob = Blob("cues of 1a2b3c4", opener(path.read_bytes()), remedy="Look at it in a clone.")
    with pytest.raises(InputError, match=r"^cues of 1a2b3c4 has no column row\. Look at it in a clone\.$"):
        read_table(blob, CUES)


def test_a_table_that_is_damaged_inside_is_named(table: Path):
    data = bytearray(table.read_bytes())
    data[4:60] = bytes(56)
    with pytest.raises(InputError, match=r"cues of x is no readable Parquet file"):
        list(iter_rows(Blob("cues of x", opener(bytes(data))), CUES))


def test_maps_read_the_same_from_a_folder_of_blobs(maps: Path):
    there, here = MapReader(as_folder(maps)), MapReader(maps)
    assert there.names == here.names == ("offset", "semantic")
    assert there.attributes == here.attributes == {"a": 1, "canvas_hw": [64, 64]}
    assert there.shape("offset") == here.shape("offset") == (40, 2, 64, 64)
    for row in (0, 1, 38, 39):
        for name in here.names:
            np.testing.assert_array_equal(there.read(row, name, 64, 64), here.read(row, name, 64, 64))


def test_one_image_takes_a_small_part_of_its_shard(maps: Path):
    counter: Counter = Counter()
    MapReader(as_folder(maps, counter)).read(6, "semantic", 64, 64)
    (shard,) = (name for name in counter if name.startswith("semantic/c/"))
    assert not any(name.startswith("offset/c/") for name in counter)
    assert counter[shard] < (maps / shard).stat().st_size / 2


def test_a_folder_that_holds_no_maps_is_named():
    with pytest.raises(InputError, match=r"^maps of x is no Zarr group"):
        _ = MapReader(BlobFolder("maps of x", {})).names


def test_a_store_gives_whole_files_parts_and_listings():
    store = BlobStore(BlobFolder("f", {name: Blob(name, opener(b"0123456789")) for name in ("a/b/c", "a/d", "e")}))
    prototype = default_buffer_prototype()

    async def ask() -> list:
        ranges = (None, RangeByteRequest(2, 5), OffsetByteRequest(7), SuffixByteRequest(4), SuffixByteRequest(40))
        read = await store.get_partial_values(prototype, [("a/d", each) for each in ranges])
        listed = [[key async for key in keys] for keys in (store.list(), store.list_prefix("a/"), store.list_dir("a"))]
        return [[each.to_bytes() for each in read], listed, [key async for key in store.list_dir("")]]

    read, listed, top = asyncio.run(ask())
    assert read == [b"0123456789", b"234", b"789", b"6789", b"0123456789"]
    assert listed == [["a/b/c", "a/d", "e"], ["a/b/c", "a/d"], ["b", "d"]]
    assert top == ["a", "e"]
    assert asyncio.run(store.get("nothing", prototype)) is None
    assert asyncio.run(store.exists("e"))


def test_a_store_is_not_written_to():
    store = BlobStore(BlobFolder("maps of x", {}))
    with pytest.raises(NotImplementedError, match="cannot be written"):
        asyncio.run(store.delete("a"))
    with pytest.raises(NotImplementedError, match="cannot be written"):
        asyncio.run(store.set("a", default_buffer_prototype().buffer.from_bytes(b"")))
