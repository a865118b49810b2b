"""Small files that would take much memory or time, and names that lead elsewhere."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bestie.artifacts.instances import MaskError, decode_mask
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.artifacts.weights import load_weights, save_weights
from bestie.datasets.base import check_categories
from bestie.datasets.coco import CocoDataSet
from bestie.datasets.image_reading import image_size
from bestie.datasets.points import read_point_file
from bestie.datasets.segmentation import decode_segmentation
from bestie.datasets.text_files import MAX_BYTES, is_path_below
from bestie.datasets.wsss import read_wsss
from bestie.errors import InputError

SIZE = (6, 8)


def test_an_image_of_ten_gigapixels_is_refused_before_it_is_decoded(tmp_path: Path):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(start + struct.pack(">I", 9) + b"IDAT" + bytes(9))
    with pytest.raises(InputError, match=r"a\.png (is too large|has 100000x100000 pixels)"):
        image_size(tmp_path / "a.png")


def test_a_map_whose_header_promises_a_terabyte_is_refused(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros(SIZE, np.uint8))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(6, 8), }            ", b"(1048576, 1048576), }"))
    with pytest.raises(InputError, match=r"a\.npy"):
        read_wsss(tmp_path / "a.npy", height=6, width=8, numbers=range(1, 4))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 4.0, 70000.0, 0.5])
def test_a_map_with_a_value_that_is_no_class_is_refused(tmp_path: Path, value: float):
    labels = np.zeros(SIZE)
    labels[2, 3] = value
    np.save(tmp_path / "a.npy", labels)
    with pytest.raises(InputError, match=r"a\.npy"):
        read_wsss(tmp_path / "a.npy", height=6, width=8, numbers=range(1, 4))


@pytest.mark.parametrize(
    "coded",
    [
        [[0, 0, 1e9, 0, 1e9, 1e9]],
        [[float("nan"), 0, 4, 0, 4, 4]],
        [[0, 0, 4, 0, 4]],
        {"size": [1_000_000, 1_000_000], "counts": [10**12]},
        {"size": [6, 8], "counts": [5, -3, 46]},
        {"size": [6, 8], "counts": [40, 20]},
        {"size": [6, 8], "counts": [40, 4]},
        {"size": [6, 8], "counts": [2**64, 48]},
        {"size": [6, 8], "counts": "PPPPPPPPPPPPPPPPPP0"},
    ],
)
def test_masks_that_do_not_fit_are_refused(coded: object):
    with pytest.raises(InputError, match=r"here: its (segmentation is malformed|mask is)"):
        decode_segmentation(coded, SIZE, "here")


def test_run_lengths_of_a_table_are_refused_by_the_tables_name():
    with pytest.raises(MaskError, match=r"a\.parquet: 'zz' codes no mask of 6x8"):
        decode_mask("zz", *SIZE, source=Path("a.parquet"))


def write_coco(folder: Path, name: str) -> None:
    """Write an annotation file with one image of that name."""
    content = {
        "categories": [{"id": 1, "name": "cat"}],
        "images": [{"id": 1, "file_name": name, "height": 4, "width": 4}],
        "annotations": [],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_a.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "b/../../a.png"])
def test_names_that_lead_elsewhere_are_those_of_files_here(tmp_path: Path, name: str):
    assert not is_path_below(name)
    write_coco(tmp_path, name)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")  # where two of the names lead
    with pytest.raises(InputError, match=r"/a/a\.png does not exist"):
        CocoDataSet(tmp_path, {"train": "a"}).record("a", row=0, split="train")
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "a.png")
    assert CocoDataSet(tmp_path, {"train": "a"}).record("a", row=0, split="train").path == "a/a.png"


@pytest.mark.parametrize("name", ["..", "", "a\0.png", "a\n.png", "x" * 300])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str):
    assert not is_path_below(name)
    write_coco(tmp_path, name)
    with pytest.raises(InputError, match=r"instances_a\.json is not in COCO's format"):
        CocoDataSet(tmp_path, {"train": "a"})


def test_more_classes_than_a_map_can_hold_are_refused(tmp_path: Path):
    names = [f"class {number}" for number in range(255)]
    check_categories(tmp_path, names[:254])
    with pytest.raises(InputError, match="has 255 classes, but at most 254"):
        check_categories(tmp_path, names)


def test_json_that_is_nested_too_deep_is_refused(tmp_path: Path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_a.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match=r"instances_a\.json is no valid JSON"):
        CocoDataSet(tmp_path, {"train": "a"})


def test_a_text_file_of_a_terabyte_is_refused_by_its_size(tmp_path: Path):
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(InputError, match=rf"a\.txt has more than {MAX_BYTES // 2**20} MiB"):
        read_point_file(tmp_path / "a.txt", n_categories=1, height=4, width=4)


def test_weights_that_unpack_to_a_terabyte_are_refused(tmp_path: Path):
    save_weights(tmp_path / "a.zarr", {"a": torch.zeros(4)})
    path = tmp_path / "a.zarr" / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["shape"] = [2**40]
    metadata["attributes"]["index"][0]["shape"] = [2**38]
    path.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=r"a\.zarr is damaged: \d+ bytes would unpack to 1099511627776"):
        load_weights(tmp_path / "a.zarr")


@pytest.mark.parametrize(("key", "value"), [("data_type", "float32"), ("shape", [1, 6])])
def test_maps_of_another_kind_than_any_stage_writes_are_refused(tmp_path: Path, key: str, value: object):
    with MapWriter(tmp_path / "a.zarr", {"semantic": ("uint8", 0)}, 1, SIZE) as maps:
        maps.write(0, "semantic", np.ones(SIZE, np.uint8))
    path = tmp_path / "a.zarr" / "semantic" / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(InputError, match=r"a\.zarr is damaged"):
        MapReader(tmp_path / "a.zarr").read(0, "semantic", *SIZE)
