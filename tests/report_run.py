"""A small run as files: images with squares, ground truth, tables whose errors are all known, histories, metrics."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from bestie.artifacts.image_index import read_images, write_images
from bestie.artifacts.instances import instance_rows
from bestie.artifacts.metrics_json import write_csv, write_json
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, write_categories
from bestie.records import Category, ImageRecord, hash_file
from tests import workspace as ws
from tests.stored_run import git, record_stages

SIDE = 64
NAMES = ("cat", "dog")
TRAIN, VALIDATION = 4, 8
LABELS = "make_pseudo_labels/instances.parquet"


def square(left: int, top: int = 8, size: int = 20) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + size, left : left + size] = True
    return mask


#: What BESTIE finds on each validation image, whose truth is a cat at 4 and a dog at 40: (mask, category_id, score).
#: Above 0.8, where F1 is largest, image k has only the error that its key names.
FOUND = {
    "correct": [(square(4), 1, 0.9), (square(40), 2, 0.8), (square(20, 40), 2, 0.1)],
    "missed": [(square(4), 1, 0.9)],
    "duplicate": [(square(4), 1, 0.95), (square(5), 1, 0.9), (square(40), 2, 0.8)],
    "wrong_class": [(square(4), 2, 0.9), (square(40), 2, 0.8)],
    "poor_mask": [(square(4), 1, 0.9), (square(40, size=12), 2, 0.8)],
    "background": [(square(4), 1, 0.9), (square(40), 2, 0.8), (square(20, 40), 1, 0.9)],
}


def write_run(folder: Path, *, names: Sequence[str] = NAMES, train: int = TRAIN, validation: int = VALIDATION) -> None:
    """Write `params.yaml`, `dvc.yaml` and `data/`; validation images have the faults of `FOUND` in turn."""
    ws.set_params("dataset.name=squares", "dataset.format=voc", "dataset.root=photos")
    shutil.copy(ws.ROOT / "dvc.yaml", folder / "dvc.yaml")
    records = [_write_image(folder, row, "train" if row < train else "val") for row in range(train + validation)]
    data = folder / "data"
    write_images(data / "prepare/images.parquet", records)
    write_categories(
        data / "prepare/categories.parquet", [Category(k, name, k) for k, name in enumerate(names, start=1)]
    )
    true_masks = ([square(4), square(40)], [1, 2])
    with TableWriter(data / "prepare/ground_truth.parquet", INSTANCES) as table:
        for record in records:
            table.append_rows(instance_rows(record, *true_masks))
    faults = list(FOUND.values())
    with (
        TableWriter(data / "evaluate/bestie.parquet", INSTANCES) as bestie,
        TableWriter(data / "evaluate/mrcnn.parquet", INSTANCES) as mrcnn,
    ):
        for record in records[train:]:
            found = faults[(record.row - train) % len(faults)]
            bestie.append_rows(_rows(record, found))
            mrcnn.append_rows(_rows(record, FOUND["correct"]))
    with TableWriter(data / LABELS, INSTANCES) as table:
        for record in records[:train]:
            table.append_rows(_rows(record, FOUND["missed"]))
    _write_scores(data, names)


#: The earlier pseudo labels of the first training images; `write_run` gives each training image one cat at 4.
LABELS_BEFORE = {
    "vanished": [(square(4), 1, 0.9), (square(40), 2, 0.8)],
    "moved": [(square(6), 1, 0.9)],
    "class_changed": [(square(4), 2, 0.9)],
    "appeared": [],
}


def write_versions(folder: Path) -> str:
    """Commit a run with `LABELS_BEFORE` and an mAP50 of 70, then restore the workspace that `write_run` wrote.

    Return the short hash of the commit. Images that are not in `LABELS_BEFORE` have the same labels in both.
    """
    data = folder / "data"
    labels, metrics = data / LABELS, data / "evaluate/metrics.json"
    now = labels.read_bytes(), metrics.read_bytes()
    before = [*LABELS_BEFORE.values()]
    with TableWriter(labels, INSTANCES) as table:
        for record in read_images(data / "prepare/images.parquet", "train"):
            if found := before[record.row] if record.row < len(before) else FOUND["missed"]:
                table.append_rows(_rows(record, found))
    metrics.write_text(metrics.read_text().replace("80.0", "70.0"), encoding="utf-8")
    write_label_lock(folder, min_area_px=60)
    git(folder, "init", "--quiet")
    revision = commit(folder, "dvc.lock", "params.yaml")
    labels.write_bytes(now[0])
    metrics.write_bytes(now[1])
    write_label_lock(folder, min_area_px=80)
    return revision


def commit(folder: Path, *paths: str) -> str:
    """Commit files; return the short hash."""
    git(folder, "add", *paths)
    git(folder, "commit", "--quiet", "--message", paths[0])
    return git(folder, "rev-parse", "--short", "HEAD")


def write_label_lock(folder: Path, *, min_area_px: int) -> None:
    """Write a `dvc.lock` of the files in `data/`, as if stages had run, and put them into the cache."""
    index = [f"data/prepare/{name}.parquet" for name in ("images", "categories", "ground_truth")]
    labels = f"data/{LABELS}"
    stages = {
        "prepare": {"outs": index},
        "make_pseudo_labels": {
            "params": {"params.yaml": {"make_pseudo_labels": {"min_area_px": min_area_px}}},
            "deps": index[:2],
            "outs": [labels],
        },
        "evaluate": {"deps": [labels], "outs": ["data/evaluate/metrics.json"]},
    }
    record_stages(folder, stages)


def write_lock(folder: Path, *, seed: int = 0, epochs: int = 4) -> None:
    """Write a `dvc.lock` of two stages, whose hashes depend on `seed` and which record `epochs`."""
    digest = f"{seed:032x}"
    stages = {
        "prepare": {
            "cmd": "python -m stages.prepare",
            "outs": [{"path": "data/prepare/images.parquet", "md5": "a" * 32, "size": 1000}],
        },
        "train_bestie": {
            "cmd": "python -m stages.train_bestie",
            "params": {"params.yaml": {"train_bestie": {"epochs": epochs}}},
            "deps": [
                {"path": "data/prepare/images.parquet", "md5": "a" * 32},
                {"path": "bestie/method/network.py", "md5": f"{seed % 2:032x}"},
            ],
            "outs": [{"path": "data/train_bestie/network.zarr", "md5": f"{digest}.dir", "size": 123456}],
        },
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")


def _write_image(folder: Path, row: int, split: str) -> ImageRecord:
    image_id = f"{split}_{row:05d}"
    path = folder / "photos" / f"{image_id}.png"
    path.parent.mkdir(exist_ok=True)
    pixels = np.full((SIDE, SIDE, 3), 90 + row % 60, np.uint8)
    pixels[square(4)], pixels[square(40)] = (200, 150, 60), (60, 150, 200)
    Image.fromarray(pixels).save(path)
    return ImageRecord(row, image_id, split, path.name, SIDE, SIDE, hash_file(path), (1, 2))


def _rows(record: ImageRecord, found: Sequence[tuple[np.ndarray, int, float]]) -> list[dict]:
    masks, category_ids, scores = zip(*found, strict=True)
    return instance_rows(record, masks, category_ids, scores=scores)


def _write_scores(data: Path, names: Sequence[str]) -> None:
    labels = {"true_positives": 4, "labels": 4, "true_instances": 8, "precision": 1.0, "recall": 0.5}
    maps = {"map25": 90.0, "map50": 80.0, "coco_ap": 50.0, "instances": 16}
    write_json(
        data / "evaluate/metrics.json",
        {"bestie": maps, "mrcnn": {**maps, "map50": None}, "semantic_miou": 0.7, "pseudo_labels": labels},
    )
    write_json(data / "train_pam/metrics.json", {"val_map": 0.9, "val_ap": {}})
    rows = [
        {"model": model, "class": name, "true_instances": 5 + k, "ap25": 90.0 - k, "ap50": 60.0 + 10 * k}
        for model in ("bestie", "mrcnn")
        for k, name in enumerate(names)
    ]
    write_csv(data / "evaluate/per_class.csv", rows)
    curve = [{"model": "bestie", "recall": k / 10, "precision": 1 - k / 20} for k in range(11)]
    write_json(data / "evaluate/precision_recall.json", curve)
    sizes = [("small", 0, 300), ("medium", 300, 500), ("large", 500, None)]
    write_json(
        data / "evaluate/ap_by_size.json",
        [
            {"model": "bestie", "size": size, "from_px": low, "below_px": high, "true_instances": 5, "map": 50.0}
            for size, low, high in sizes
        ],
    )
    history = [
        {"epoch": epoch, "total": 3 / epoch, "semantic": 1 / epoch, "center_pseudo": 2 / epoch, "center_max_p90": 0.1}
        for epoch in range(1, 5)
    ]
    write_json(data / "train_bestie/history.json", history)
    snapshot = {"true_positives": 2, "labels": 3, "true_instances": 8, "precision": 0.6, "recall": 0.25}
    write_json(data / "evaluate/true_positives.json", [{"epoch": epoch, **snapshot} for epoch in (2, 4)])
    write_json(data / "evaluate/map50_by_epoch.json", [{"epoch": 2, "map50": 10.0}, {"epoch": 4, "map50": 20.0}])
