"""Round trips and equal bytes, for everything that the pipeline may store."""

import hashlib
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bestie.artifacts.instances import decode_mask, encode_mask, instance_rows
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.artifacts.metrics_json import read_json, write_json
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, iter_images, read_table
from bestie.artifacts.weights import load_weights, save_weights
from bestie.records import ImageRecord

TEXT = st.text(max_size=5)
SIDE = st.integers(1, 12)
MASKS = hnp.arrays(bool, st.tuples(SIDE, SIDE))
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool])
QUICK = settings(max_examples=15, deadline=None)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def digest(path: Path) -> dict[str, str]:
    """Relative name -> MD5 of every file, as DVC sees an output."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {p.relative_to(path).as_posix(): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


@QUICK
@given(mask=MASKS)
def test_a_mask_survives_its_run_length_code(mask: np.ndarray) -> None:
    assert np.array_equal(decode_mask(encode_mask(mask), *mask.shape), mask)


@QUICK
@given(mask=MASKS.filter(np.any))
def test_flipping_a_mask_flips_its_row(mask: np.ndarray) -> None:
    height, width = mask.shape
    record = ImageRecord(0, "a", "train", "a.jpg", height, width, "00", ())
    row, flipped = instance_rows(record, [mask, mask[:, ::-1]], [1, 1])
    left, top, box_width, box_height = row["bbox_xywh"]
    assert flipped["bbox_xywh"] == [width - left - box_width, top, box_width, box_height]
    assert flipped["area_px"] == row["area_px"]
    assert math.isclose(flipped["center_x"], width - 1 - row["center_x"], abs_tol=1e-9)
    assert flipped["center_y"] == row["center_y"]


@QUICK
@given(counts=st.lists(st.integers(0, 3), max_size=6), seed=st.integers(0, 99))
def test_instances_survive_their_table_twice_with_equal_bytes(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for row, count in enumerate(counts):
        record = ImageRecord(row, f"image {row}", "train", "a.jpg", 5, 7, "00", ())
        masks = [rng.random((5, 7)) < 0.9 for _ in range(count)]
        rows += instance_rows(record, masks, rng.integers(1, 9, count), scores=rng.random(count, np.float32))
    with folder() as root:
        for name in ("a", "b"):
            with TableWriter(root / name, INSTANCES) as writer:
                writer.append_rows(rows)
        assert digest(root / "a") == digest(root / "b")
        columns = read_table(root / "a", INSTANCES)
        for name in ("image_id", "instance_id", "category_id", "score", "area_px", "rle"):
            assert columns[name].tolist() == [row[name] for row in rows]
        assert columns["bbox_xywh"].tolist() == [row["bbox_xywh"] for row in rows]
        streamed = [(row, len(part["rle"])) for row, part in iter_images(root / "a", INSTANCES)]
        assert streamed == [(row, count) for row, count in enumerate(counts) if count]


@QUICK
@given(
    sizes=st.dictionaries(st.integers(0, 8), st.tuples(st.integers(1, 6), st.integers(1, 5)), max_size=6),
    dtype=st.sampled_from(["uint8", "uint16", "int16"]),
    channels=st.sampled_from([None, 1, 3]),
    fill=st.sampled_from([0, 7]),
)
def test_maps_survive_twice_with_equal_bytes(
    sizes: dict[int, tuple[int, int]], dtype: str, channels: int | None, fill: int
) -> None:
    leading = () if channels is None else (channels,)
    rng = np.random.default_rng(0)
    arrays = {row: rng.integers(0, 99, (*leading, *hw)).astype(dtype) for row, hw in sorted(sizes.items())}
    with folder() as root:
        for name in ("a", "b"):
            with MapWriter(root / name, {"map": (dtype, fill, channels)}, 9, (6, 5)) as writer:
                for row, array in arrays.items():
                    writer.write(row, "map", array)
        assert digest(root / "a") == digest(root / "b")
        reader = MapReader(root / "a")
        for row in range(9):
            expected = np.full((*leading, 6, 5), fill, dtype)
            if row in arrays:
                expected[..., : sizes[row][0], : sizes[row][1]] = arrays[row]
            assert np.array_equal(reader.read(row, "map", 6, 5), expected)


@QUICK
@given(
    shapes=st.lists(st.tuples(DTYPES, st.lists(st.integers(0, 4), max_size=3)), max_size=5),
    attributes=st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3),
)
def test_weights_survive_twice_with_equal_bytes(shapes: list[tuple[torch.dtype, list[int]]], attributes: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    state = {
        f"layer.{k}": (100 * torch.rand(shape, generator=generator)).to(dtype)
        for k, (dtype, shape) in enumerate(shapes)
    }
    with folder() as root:
        for name in ("a", "b"):
            save_weights(root / name, state, attributes)
        assert digest(root / "a") == digest(root / "b")
        loaded, kept = load_weights(root / "a")
    assert kept == attributes
    assert list(loaded) == list(state)
    for name, tensor in state.items():
        assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(loaded[name], tensor)


@QUICK
@given(data=st.dictionaries(st.text(max_size=4), st.lists(st.floats() | st.integers(), max_size=3), max_size=4))
def test_metrics_are_valid_json_within_their_digits(data: dict[str, list[float]]) -> None:
    with folder() as root:
        write_json(root / "m.json", data)
        found = read_json(root / "m.json")
    assert found.keys() == data.keys()
    for name, values in data.items():
        for value, kept in zip(values, found[name], strict=True):
            if isinstance(value, int):
                assert kept == value
            else:
                assert kept is None if not math.isfinite(value) else math.isclose(kept, value, rel_tol=1e-5)
