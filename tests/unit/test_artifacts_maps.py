"""Maps: one row per image, few files, safe in worker processes."""

import multiprocessing
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr

from bestie.artifacts import maps
from bestie.artifacts.joined_maps import join_maps
from bestie.artifacts.map_layout import MapLayout, layout_of
from bestie.artifacts.maps import MapReader, MapWriter, rows_at_once
from bestie.errors import InputError

ARRAYS: dict[str, tuple] = {"instance": ("uint16", 0), "offset": ("int16", 0, 2), "label": ("uint8", 255)}


def write(path: Path, n_rows: int = 5) -> Path:
    with MapWriter(path, ARRAYS, n_rows, (8, 6)) as writer:
        for row in range(0, n_rows, 2):
            writer.write(row, "instance", np.full((8 - row, 6), row + 1, np.uint16))
            writer.write(row, "offset", np.full((2, 3, 4), -row, np.int16))
    return path


def write_maps(path: Path, written: dict[int, np.ndarray], n_rows: int, layout: MapLayout | None = None) -> None:
    with MapWriter(path, {"a": ("uint8", 0)}, n_rows, layout or (5, 6)) as writer:
        for row, each in sorted(written.items()):
            writer.write(row, "a", each)


def files_of(group: Path) -> dict[str, bytes]:
    return {str(file.relative_to(group)): file.read_bytes() for file in group.rglob("*") if file.is_file()}


def test_maps_come_back_at_the_image_size_and_unwritten_rows_as_fill(tmp_path: Path) -> None:
    reader = MapReader(write(tmp_path / "m.zarr"))
    assert (reader.names, reader.n_rows, reader.canvas_hw) == (("instance", "label", "offset"), 5, (8, 6))
    assert np.array_equal(reader.read(2, "instance", 6, 6), np.full((6, 6), 3, np.uint16))
    assert np.array_equal(reader.read(4, "offset", 3, 4), np.full((2, 3, 4), -4, np.int16))
    assert reader.read(1, "instance", 8, 6).max() == 0
    assert reader.read(0, "label", 8, 6).min() == 255
    assert reader.read(0, "instance", 8, 6).dtype == np.uint16
    assert reader.read(0, "instance", 8, 6).flags.writeable


def test_the_padding_holds_the_fill_value(tmp_path: Path) -> None:
    with MapWriter(tmp_path / "m.zarr", {"label": ("uint8", 255)}, 1, (4, 4)) as writer:
        writer.write(0, "label", np.zeros((2, 3), np.uint8))
    assert (MapReader(tmp_path / "m.zarr").read(0, "label", 4, 4) == 255).sum() == 16 - 6


def test_a_shard_is_one_file_and_an_unwritten_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "SHARD_ROWS", 4)
    with MapWriter(tmp_path / "m.zarr", {"a": ("uint8", 0)}, 10, (5, 5)) as writer:
        for row in (0, 1, 3, 9):
            writer.write(row, "a", np.full((5, 5), row + 1, np.uint8))
    files = {str(p.relative_to(tmp_path / "m.zarr")) for p in (tmp_path / "m.zarr").rglob("*") if p.is_file()}
    assert files == {"zarr.json", "a/zarr.json", "a/c/0/0/0", "a/c/2/0/0"}
    reader = MapReader(tmp_path / "m.zarr")
    assert [int(reader.read(row, "a", 5, 5).max()) for row in range(10)] == [1, 2, 0, 4, 0, 0, 0, 0, 0, 10]


def test_a_few_large_images_do_not_set_the_size_of_a_tile():
    usual = [(375, 500), (500, 333)] * 20
    assert layout_of(usual) == MapLayout((500, 500), (500, 500))
    assert layout_of([*usual, (640, 800)]) == MapLayout((640, 800), (640, 800))
    assert layout_of([*usual, (3000, 20_000)]) == MapLayout((3000, 20_000), (500, 500))
    assert layout_of([(3000, 4000)] * 3) == MapLayout((3000, 4000), (3000, 4000))


@pytest.mark.parametrize("keep", [False, True])
def test_an_image_of_several_tiles_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool):
    monkeypatch.setattr(maps, "SHARD_ROWS", 4)
    rng = np.random.default_rng(0)
    sizes = [(4, 5), (3, 3), (11, 21), (4, 4), (2, 5), (5, 2)]
    written = [rng.integers(1, 200, (2, *size)).astype(np.uint8) for size in sizes]
    layout = MapLayout((11, 21), (4, 5))
    with MapWriter(tmp_path / "m.zarr", {"a": ("uint8", 7, 2)}, 9, layout) as writer:
        for row, each in enumerate(written):
            writer.write(row, "a", each)

    reader = MapReader(tmp_path / "m.zarr", keep=keep)

    assert reader.layout == layout
    for row, each in enumerate(written):
        np.testing.assert_array_equal(reader.read(row, "a", *each.shape[1:]), each)
        whole = reader.read(row, "a", 11, 21)
        assert (whole[:, : each.shape[1], : each.shape[2]] == each).all()
        assert (whole == 7).sum() == whole.size - each.size + (each == 7).sum()
    assert (reader.read(8, "a", 11, 21) == 7).all()
    files = {str(path.relative_to(tmp_path / "m.zarr" / "a" / "c")) for path in tmp_path.rglob("c/*/*/*/*")}
    tiles_of_the_large_one = {f"0/0/{y}/{x}" for y in range(3) for x in range(5)}
    assert files == tiles_of_the_large_one | {"1/0/0/0", "1/0/1/0"}


def test_large_maps_have_the_same_shards_and_fewer_are_written_at_once(tmp_path: Path) -> None:
    arrays = {"a": ("float32", 0, 2), "b": ("uint8",), "small": ("uint8", 0, 1)}
    with MapWriter(tmp_path / "m.zarr", arrays, 1000, (1024, 2048)):
        pass
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    assert group["a"].chunks == (1, 2, 1024, 2048)
    assert group["a"].shards == (512, 2, 1024, 2048)
    assert group["b"].shards == (512, 1024, 2048)
    assert group["a"].filters == ()
    assert rows_at_once(group["a"]) == 4  # of 16 MiB
    assert rows_at_once(group["b"]) == 32


def test_a_shard_has_the_same_bytes_however_many_images_are_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(maps, "SHARD_ROWS", 8)
    rng = np.random.default_rng(0)
    written = {row: rng.integers(0, 9, (5, 6)).astype(np.uint8) for row in range(19) if row not in (3, 8, 9)}
    found = []
    for at_once in (1, 4, 16):
        monkeypatch.setattr(maps, "ROWS_AT_ONCE", at_once)
        write_maps(tmp_path / f"{at_once}.zarr", written, 20)
        found.append(files_of(tmp_path / f"{at_once}.zarr"))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("keep", [True, False])
def test_joined_groups_have_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool):
    monkeypatch.setattr(maps, "SHARD_ROWS", 8)
    monkeypatch.setattr(maps, "ROWS_AT_ONCE", 2)
    rng = np.random.default_rng(0)
    written = {row: rng.integers(0, 9, (5, 6)).astype(np.uint8) for row in range(31) if row not in (5, 10, 11)}
    written[12] = rng.integers(0, 9, (11, 21)).astype(np.uint8)
    written[20][:] = 0
    layout = MapLayout((11, 21), (5, 6))
    write_maps(tmp_path / "alone.zarr", written, 32, layout)
    rows = sorted(written)
    borders = [0, 4, 6, 14, 26, 32]
    sources = []
    for first, last in pairwise(borders):
        sources.append(tmp_path / f"{first}.zarr")
        write_maps(sources[-1], {row: written[row] for row in rows if first <= row < last}, 32, layout)
    before = [files_of(each) for each in sources]

    join_maps(sources, tmp_path / "joined.zarr", keep=keep)

    assert files_of(tmp_path / "joined.zarr") == files_of(tmp_path / "alone.zarr")
    assert not keep or [files_of(each) for each in sources] == before


def test_a_damaged_shard_of_several_groups_is_named(tmp_path: Path):
    for name, row in (("first", 0), ("second", 70)):
        write_maps(tmp_path / name, {row: np.ones((5, 6), np.uint8)}, 100)
    damaged = tmp_path / "second" / "a" / "c" / "0" / "0" / "0"
    damaged.write_bytes(b"no shard")
    with pytest.raises(InputError, match=f"{damaged} is damaged .* compute it again"):
        join_maps([tmp_path / "first", tmp_path / "second"], tmp_path / "joined", keep=True)
    assert not (tmp_path / "joined").exists()


def test_a_changed_image_changes_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "SHARD_ROWS", 2)
    contents = []
    for changed in (0, 1):
        with MapWriter(tmp_path / "m.zarr", {"a": ("uint8", 0)}, 6, (5, 5)) as writer:
            for row in range(6):
                writer.write(row, "a", np.full((5, 5), 1 + row + changed * (row == 3), np.uint8))
        contents.append([(tmp_path / f"m.zarr/a/c/{k}/0/0").read_bytes() for k in range(3)])
    assert [old == new for old, new in zip(*contents, strict=True)] == [True, False, True]


def test_wrong_maps_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    bad_writes: list[tuple[int, str, np.ndarray, str]] = [
        (0, "nope", np.zeros((2, 2), np.uint16), "no map 'nope'"),
        (0, "instance", np.zeros((2, 2), np.int64), "takes uint16, not int64"),
        (0, "instance", np.zeros((9, 2), np.uint16), "does not fit the canvas"),
        (0, "offset", np.zeros((3, 2, 2), np.int16), r"takes \(2, 'height', 'width'\), not \(3, 2, 2\)"),
        (0, "offset", np.zeros((2, 2), np.int16), r"not \(2, 2\)"),
        (5, "instance", np.zeros((2, 2), np.uint16), "row 5 .* is not between"),
    ]
    for row, name, array, message in bad_writes:
        with (
            pytest.raises(ValueError, match=message),
            MapWriter(tmp_path / "m.zarr", ARRAYS, 5, (8, 6)) as writer,
        ):
            writer.write(row, name, array)
        assert not list(tmp_path.iterdir())


def test_a_writer_that_cannot_begin_leaves_nothing_while_it_lives(tmp_path: Path) -> None:
    writer = MapWriter(tmp_path / "m.zarr", {"a": ("uint8",), "b": ("no dtype",)}, 2, (8, 6))
    with pytest.raises((TypeError, ValueError), match="no dtype"):
        writer.__enter__()
    assert list(tmp_path.iterdir()) == []


def test_rows_must_ascend(tmp_path: Path) -> None:
    array = np.zeros((2, 2), np.uint16)
    with MapWriter(tmp_path / "m.zarr", ARRAYS, 5, (8, 6)) as writer:
        writer.write(3, "instance", array)
        for row in (3, 2):
            with pytest.raises(ValueError, match=f"row {row} of the map 'instance' is not between"):
                writer.write(row, "instance", array)


def test_a_wrong_folder_map_or_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m\.zarr does not exist"):
        MapReader(tmp_path / "m.zarr")
    with pytest.raises(InputError, match="is no Zarr group"):
        MapReader(tmp_path).read(0, "instance", 1, 1)
    reader = MapReader(write(tmp_path / "m.zarr"))
    with pytest.raises(InputError, match="has no map 'nope', only"):
        reader.read(0, "nope", 1, 1)
    for row, height in ((5, 8), (0, 9)):
        with pytest.raises(InputError, match=f"holds no row {row} of {height}x6 px"):
            reader.read(row, "instance", height, 6)


def test_a_cut_off_shard_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "m.zarr")
    shard = path / "instance/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"m\.zarr is damaged"):
        MapReader(path).read(0, "instance", 8, 6)


# A forked child of a process with threads is what is tested here; Python 3.12 and later warn about it.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_reader_in_use_works_in_worker_processes(tmp_path: Path, method: str) -> None:
    reader = MapReader(write(tmp_path / "m.zarr"))
    expected = reader.read(2, "instance", 6, 6)
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.apply_async(reader.read, (2, "instance", 6, 6)).get(timeout=60)
    assert np.array_equal(found, expected)


def test_a_pickled_reader_carries_no_data(tmp_path: Path) -> None:
    reader = MapReader(write(tmp_path / "m.zarr"))
    reader.read(0, "instance", 8, 6)
    assert len(pickle.dumps(reader)) < 1000


def test_attributes_are_kept(tmp_path: Path) -> None:
    with MapWriter(tmp_path / "m.zarr", ARRAYS, 1, (2, 2), attributes={"sigma_px": 6.0}):
        pass
    assert MapReader(tmp_path / "m.zarr").attributes == {"sigma_px": 6.0, "canvas_hw": [2, 2]}
