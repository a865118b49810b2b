"""Upper bounds: the same models on true masks."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import decode_mask
from bestie.artifacts.maps import MapReader
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, iter_rows
from bestie.errors import InputError
from bestie.evaluation.upper_bound import print_upper_bound, run_upper_bound, write_instance_maps
from tests import workspace as ws


def test_models_trained_on_true_masks_are_scored_beside_the_run(workspace: Path):
    ws.set_params("train_bestie.epochs=2", "train_mrcnn.epochs=1")
    rows = run_upper_bound([0, 1], with_detector=True)
    assert [(row["model"], row["seed"]) for row in rows] == [(m, s) for s in (0, 1) for m in ("bestie", "mrcnn")]
    console = Console(file=io.StringIO(), width=120)
    print_upper_bound(console, rows)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("bestie") == text.count("mrcnn") == 2
    for seed in (0, 1):
        scores = json.loads(Path(f"data/upper_bound/seed_{seed}.json").read_text(encoding="utf-8"))
        assert set(scores) == {"bestie", "mrcnn"}
        assert {"map50", "coco_ap"} <= set(scores["bestie"])


def test_instance_maps_hold_the_ids_of_the_table_without_crowds(finished_run: Path, tmp_path: Path):
    rows = list(iter_rows(Path("data/prepare/ground_truth.parquet"), INSTANCES))
    rows[0]["is_crowd"] = True
    with TableWriter(tmp_path / "truth.parquet", INSTANCES) as table:
        table.append_rows(rows)
    records = read_images(Path("data/prepare/images.parquet"), "train")
    write_instance_maps(tmp_path / "maps.zarr", tmp_path / "truth.parquet", records, 32, (80, 80))

    maps = MapReader(tmp_path / "maps.zarr")
    for row in rows:
        if row["row"] >= len(records):
            continue
        size = (records[row["row"]].height, records[row["row"]].width)
        region = maps.read(row["row"], "instance", *size) == row["instance_id"]
        expected = np.zeros(size, bool) if row["is_crowd"] else decode_mask(row["rle"], *size)
        np.testing.assert_array_equal(region, expected)


def test_without_true_masks_there_is_no_bound(workspace: Path):
    with TableWriter(Path("data/prepare/ground_truth.parquet"), INSTANCES):
        pass
    with pytest.raises(InputError, match="there is no upper bound"):
        run_upper_bound([0], with_detector=False)
