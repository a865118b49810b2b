"""Everything that reads files from outside: how a whole file of its kind looks, how it goes wrong, how it is read."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import strategies as st
from PIL import Image

from bestie.artifacts.corrections import read_corrections
from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import decode_mask, encode_mask
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.artifacts.metrics_json import read_json
from bestie.artifacts.schemas import CATEGORIES, CORRECTIONS, IMAGES, INSTANCES
from bestie.artifacts.tables import iter_images, iter_rows, read_categories, read_table
from bestie.artifacts.weights import load_any_weights, load_weights, save_safetensors, save_weights
from bestie.datasets.coco import CocoDataSet
from bestie.datasets.coco_results import read_results
from bestie.datasets.corrected_labels import read_corrected
from bestie.datasets.folder import FolderDataSet
from bestie.datasets.image_reading import image_size, read_image
from bestie.datasets.label_png import read_label_png
from bestie.datasets.label_studio import encode_brush
from bestie.datasets.label_table import read_label_table
from bestie.datasets.point_table import PointTable
from bestie.datasets.points import read_point_file
from bestie.datasets.voc import VocDataSet
from bestie.datasets.wsss import read_wsss
from bestie.params.params_yaml import load_params
from bestie.records import Category, ImageRecord, hash_file
from tests.fuzz.hostile import HOSTILE, damaged, wrong_json, wrong_text

HEIGHT, WIDTH = 6, 8
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[1:4, 2:6] = True
XML = "<annotation>\n<object><name>cat</name></object>\n</annotation>"
ENTITIES = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;"><!ENTITY d SYSTEM "file:///etc/passwd">]>'
COCO = {
    "categories": [{"id": 3, "name": "cat"}],
    "images": [{"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "iscrowd": 0, "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]]},
        {
            "id": 2,
            "image_id": 7,
            "category_id": 3,
            "iscrowd": 1,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 3, 40]},
        },
        {
            "id": 3,
            "image_id": 7,
            "category_id": 3,
            "iscrowd": 1,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": encode_mask(MASK)},
        },
    ],
}
RESULTS = [
    {"image_id": 7, "category_id": 3, "score": 0.5, "segmentation": COCO["annotations"][2]["segmentation"]}  # type: ignore[index]
]
CATEGORY = Category(1, "cat", 3)
RECORD = ImageRecord(0, "a", "train", "a.png", HEIGHT, WIDTH, "0" * 64, (1,))
INSTANCE = {
    "image_id": "a",
    "row": 0,
    "instance_id": 1,
    "category_id": 1,
    "score": 0.5,
    "area_px": 12,
    "bbox_xywh": [2.0, 1.0, 4.0, 3.0],
    "center_y": 2.0,
    "center_x": 3.5,
    "is_crowd": False,
    "rle": encode_mask(MASK),
}


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Attributes:
        path: of the file, below the folder of the case.
        content: its bytes, whole or not.
        read: reads it as the pipeline does, given the folder of the case.
        prepare: writes what else must be in the folder.
    """

    path: str
    content: st.SearchStrategy[bytes]
    read: Callable[[Path], Any]
    prepare: Callable[[Path], Any] = lambda folder: None


def picture(kind: str, mode: str = "RGB") -> bytes:
    """An image file."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH), np.uint8)
    Image.fromarray(noise, "L").convert(mode).save(file, kind)
    return file.getvalue()


def array(values: np.ndarray) -> bytes:
    """An NPY file."""
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@st.composite
def wrong_npy(draw: st.DrawFn) -> bytes:
    """An NPY file whose header promises anything, or whose values are anything."""
    if draw(st.booleans()):
        values = draw(st.lists(st.sampled_from([0, 1, 255, 256, 70000, -1, np.nan, np.inf]), min_size=48, max_size=48))
        return array(np.array(values, draw(st.sampled_from(["f4", "f8"]))).reshape(HEIGHT, WIDTH))
    shape = draw(st.sampled_from([(2**40,), (2**20, 2**20), (-1, 3), (HEIGHT, WIDTH, 2**30), (0,), ()]))
    dtype = draw(st.sampled_from(["|u1", "<f8", "|O", "|V8", "<c16", "|S999999999", ">i4"]))
    header = f"{{'descr': '{dtype}', 'fortran_order': {draw(st.booleans())}, 'shape': {shape}, }}"
    header = draw(st.sampled_from([header, "__import__('os').abort()", "(" * 900, header + "\\"]))
    length = len(header) + 1
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + header.encode() + b"\n" + bytes(48)


def parquet(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    return file.getvalue()


@st.composite
def wrong_parquet(draw: st.DrawFn, rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    """A table with a wrong value, a column of another type, an absent column, or damage to its bytes."""
    kind = draw(st.sampled_from(["value", "null", "type", "absent", "damage", "empty"]))
    name = draw(st.sampled_from(schema.names))
    place = schema.get_field_index(name)
    table = pa.Table.from_pylist(rows, schema=schema)
    if kind == "damage":
        return draw(damaged(parquet(rows, schema)))
    if kind == "empty":
        return parquet([], schema)
    if kind == "absent":
        table = table.remove_column(place)
    elif kind == "null":
        table = table.set_column(
            place, pa.field(name, schema.field(name).type), pa.nulls(len(rows), schema.types[place])
        )
    else:
        value = draw(HOSTILE)
        wanted = schema.field(name).type if kind == "value" else None
        try:
            table = table.set_column(place, name, pa.array([value] * len(rows), type=wanted))
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            table = table.set_column(place, name, pa.array(["?"] * len(rows)))
    file = io.BytesIO()
    try:
        pq.write_table(table, file)
    except pa.ArrowNotImplementedError:  # not every type has a form in Parquet
        return parquet([], schema)
    return file.getvalue()


def read_any_image(folder: Path) -> None:
    """As `prepare` indexes an image and a training reads it."""
    height, width = image_size(folder / "a.png")
    read_image(folder, ImageRecord(0, "a", "train", "a.png", height, width, hash_file(folder / "a.png"), ()))


def read_all(data_set: Any) -> None:
    """As `prepare` reads a data set."""
    for split in ("train", "val"):
        for row, image_id in enumerate(data_set.samples(split)):
            data_set.record(image_id, row=row, split=split)
            data_set.ground_truth(image_id)


def voc_folder(folder: Path) -> None:
    """An image in VOC's layout, with everything that belongs to it."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "JPEGImages" / "a.png").write_bytes(picture("PNG"))
    (folder / "Annotations" / "a.xml").write_text(XML)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("b")
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("a")


def read_voc(folder: Path) -> None:
    """The training image of a folder in VOC's layout."""
    data_set = VocDataSet(folder, {"train": "train"}, ("cat",))
    for image_id in data_set.samples("train"):
        assert ".." not in image_id
        data_set.record(image_id, row=0, split="train")


def coco_folder(folder: Path) -> None:
    """An image in COCO's layout."""
    (folder / "train").mkdir()
    (folder / "annotations").mkdir()
    (folder / "train" / "a.png").write_bytes(picture("PNG"))


def read_all_of_coco(folder: Path) -> None:
    """The training images of a folder in COCO's layout."""
    data_set = CocoDataSet(folder, {"train": "train"})
    for row, image_id in enumerate(data_set.samples("train")):
        record = data_set.record(image_id, row=row, split="train")
        assert ".." not in Path(record.path).parts
        data_set.ground_truth(image_id)


def read_folder(folder: Path) -> None:
    """A folder with a label table."""
    read_all(FolderDataSet(folder, labels=folder / "labels.csv"))


def read_instance_table(folder: Path) -> None:
    """An instance table in every way in which it is read, its masks too."""
    path = folder / "a.parquet"
    read_table(path, INSTANCES)
    for row in iter_rows(path, INSTANCES):
        decode_mask(row["rle"], HEIGHT, WIDTH, source=path)
    list(iter_images(path, INSTANCES))


def read_maps(folder: Path) -> None:
    """A map of one image."""
    maps = MapReader(folder / "a.zarr")
    _ = maps.canvas_hw
    assert maps.read(0, "semantic", HEIGHT, WIDTH).dtype.kind in "iu"


def write_maps(folder: Path) -> None:
    """Maps of one image."""
    with MapWriter(folder / "a.zarr", {"semantic": ("uint8", 0)}, 1, (HEIGHT, WIDTH)) as maps:
        maps.write(0, "semantic", MASK.astype(np.uint8))


def stored(write: Callable[[Path], Any], path: str) -> bytes:
    """What `write` leaves at `path` of a folder."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as name:
        write(Path(name))
        return (Path(name) / path).read_bytes()


STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.int64)}


def pytorch_file() -> bytes:
    """A checkpoint of another program."""
    file = io.BytesIO()
    torch.save({"state_dict": STATE}, file)
    return file.getvalue()


def weights(folder: Path) -> None:
    """A folder of weights."""
    save_weights(folder / "a.zarr", STATE, {"x": 1})


def zarr_json(write: Callable[[Path], Any], path: str) -> st.SearchStrategy[bytes]:
    """The metadata of a Zarr folder, with wrong values."""
    return wrong_json(json.loads(stored(write, path)))


SIZE = {"original_height": HEIGHT, "original_width": WIDTH}
REGIONS = [
    {**SIZE, "type": "brushlabels", "value": {"brushlabels": ["cat"], "rle": encode_brush(MASK)}},
    {**SIZE, "type": "polygonlabels", "value": {"polygonlabels": ["cat"], "points": [[10, 10], [60, 10], [60, 60]]}},
]
TASKS = [{"data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [{"result": REGIONS}]}]
CORRECTION = {
    "image_id": "a",
    "height": HEIGHT,
    "width": WIDTH,
    "category": "cat",
    "rle": encode_mask(MASK),
    "base_category": "cat",
    "base_rle": encode_mask(MASK),
    "by": "anna",
}


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("annotations/instances_default.json", json.dumps(COCO))
    return buffer.getvalue()


def read_labels(path: Path) -> None:
    list(read_corrected(path, [RECORD], [CATEGORY]))


def read_all_corrections(folder: Path) -> None:
    for each in read_corrections([CATEGORY], folder):
        each.of(RECORD)


IMAGE_ROW = {name: getattr(RECORD, name) for name in IMAGES.names} | {"labels": [1]}
LABELS = "file,labels,split\na.png,cat;dog,train\nb.png,,val"
TARGETS = {
    **{
        f"image {kind}": Target("a.png", damaged(picture(kind)), read_any_image)
        for kind in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP")
    },
    "label map PNG": Target(
        "a.png", damaged(picture("PNG", "P")), lambda f: read_label_png(f / "a.png", height=HEIGHT, width=WIDTH)
    ),
    "WSSS map NPY": Target(
        "a.npy",
        st.one_of(wrong_npy(), damaged(array(MASK.astype(np.uint8)))),
        lambda f: read_wsss(f / "a.npy", height=HEIGHT, width=WIDTH, numbers=range(1, 4)),
    ),
    "VOC annotation": Target(
        "Annotations/a.xml",
        st.one_of(wrong_text(XML), wrong_text(ENTITIES + XML.replace("cat", "&c;&d;"))),
        read_voc,
        voc_folder,
    ),
    "VOC list": Target("ImageSets/Segmentation/train.txt", wrong_text("a\na"), read_voc, voc_folder),
    "points": Target(
        "a.txt",
        wrong_text("1 2 0 1.0\n3.5 4.5 1 0.5"),
        lambda f: read_point_file(f / "a.txt", n_categories=2, height=HEIGHT, width=WIDTH),
    ),
    "label table CSV": Target(
        "labels.csv", wrong_text(LABELS), read_folder, lambda f: (f / "a.png").write_bytes(picture("PNG"))
    ),
    "label table Parquet": Target(
        "a.parquet",
        wrong_parquet(
            [{"file": "a.png", "labels": ["cat"], "split": "train"}],
            pa.schema({"file": pa.string(), "labels": pa.list_(pa.string()), "split": pa.string()}),
        ),
        lambda f: read_label_table(f / "a.parquet"),
    ),
    "point table CSV": Target(
        "a.csv", wrong_text("file,x,y,label\na.png,1,2,cat\na.png,3,4,dog"), lambda f: PointTable(f / "a.csv")
    ),
    "COCO annotations": Target(
        "annotations/instances_train.json",
        wrong_json(COCO),
        read_all_of_coco,
        coco_folder,
    ),
    "COCO results": Target(
        "a.json",
        wrong_json(RESULTS),
        lambda f: list(read_results(f / "a.json", images={7: RECORD}, categories=[CATEGORY])),
    ),
    "corrected labels, COCO": Target("a.json", wrong_json(COCO), lambda f: read_labels(f / "a.json")),
    "corrected labels, archive": Target("a.zip", damaged(archive()), lambda f: read_labels(f / "a.zip")),
    "corrected labels, Label Studio": Target("a.json", wrong_json(TASKS), lambda f: read_labels(f / "a.json")),
    "corrections": Target("a.parquet", wrong_parquet([CORRECTION], CORRECTIONS), read_all_corrections),
    "instance table": Target("a.parquet", wrong_parquet([INSTANCE], INSTANCES), read_instance_table),
    "image table": Target("a.parquet", wrong_parquet([IMAGE_ROW], IMAGES), lambda f: read_images(f / "a.parquet")),
    "category table": Target(
        "a.parquet",
        wrong_parquet([{"category_id": 1, "name": "cat", "source_id": 3}], CATEGORIES),
        lambda f: read_categories(f / "a.parquet"),
    ),
    "maps: group": Target("a.zarr/zarr.json", zarr_json(write_maps, "a.zarr/zarr.json"), read_maps, write_maps),
    "maps: array": Target(
        "a.zarr/semantic/zarr.json", zarr_json(write_maps, "a.zarr/semantic/zarr.json"), read_maps, write_maps
    ),
    "maps: shard": Target(
        "a.zarr/semantic/c/0/0/0", damaged(stored(write_maps, "a.zarr/semantic/c/0/0/0")), read_maps, write_maps
    ),
    "weights: metadata": Target(
        "a.zarr/zarr.json", zarr_json(weights, "a.zarr/zarr.json"), lambda f: load_weights(f / "a.zarr"), weights
    ),
    "weights: shard": Target(
        "a.zarr/c/0", damaged(stored(weights, "a.zarr/c/0")), lambda f: load_weights(f / "a.zarr"), weights
    ),
    "weights safetensors": Target(
        "a.safetensors",
        damaged(stored(lambda f: save_safetensors(f / "a.safetensors", STATE), "a.safetensors")),
        lambda f: load_any_weights(f / "a.safetensors"),
    ),
    "weights PyTorch": Target("a.pth", damaged(pytorch_file()), lambda f: load_any_weights(f / "a.pth")),
    "metrics": Target("a.json", wrong_json({"a": [1.0]}), lambda f: read_json(f / "a.json")),
    "parameters": Target("a.yaml", wrong_text("dataset: {name: a}\nprepare: [1]"), lambda f: load_params(f / "a.yaml")),
}
