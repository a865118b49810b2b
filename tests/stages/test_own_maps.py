"""Own semantic maps: `train_wsss` and `make_wsss` from labels alone, and their import."""

import json
from pathlib import Path

import numpy as np
import pytest

from bestie.artifacts import maps
from bestie.artifacts.image_index import read_images
from bestie.artifacts.maps import MapReader
from bestie.artifacts.paths import OWN_MAPS
from bestie.artifacts.schemas import WSSS_SUMMARY
from bestie.artifacts.tables import iter_rows
from bestie.artifacts.weights import load_weights, read_attributes
from bestie.errors import InputError
from bestie.method.discriminants import Discriminants
from bestie.training.loop import Loop
from stages import train_wsss
from tests import workspace as ws
from tests.stages.test_parts import remove_outputs
from tests.stages.test_parts import run as run_part
from tests.stages.test_resume import Interrupted, interrupt, trained_steps

OWN = f"import_wsss.source={OWN_MAPS}"
STAGES = ("train_wsss", "make_wsss", "import_wsss")


def own_maps() -> dict[str, np.ndarray]:
    """The map of each training image, by its id."""
    reader = MapReader(Path("data/import_wsss/maps.zarr"))
    records = read_images(Path("data/prepare/images.parquet"), "train")
    return {r.image_id: reader.read(r.row, "semantic", r.height, r.width) for r in records}


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_map_shows_labels_of_its_image_and_nothing_else(workspace: Path, rounds: int):
    # After so few steps, a network hardly tells the classes apart.
    ws.set_params(OWN, f"train_wsss.rounds={rounds}", "train_wsss.background=0.2", "make_wsss.background_factor=0.1")
    ws.run(*STAGES)
    labels = {r.image_id: set(r.labels) for r in read_images(Path("data/prepare/images.parquet"), "train")}
    found = own_maps()
    assert all(set(np.unique(found[image])) <= {0, *labels[image]} for image in labels)
    shown = [image for image in labels if labels[image] & set(np.unique(found[image]))]
    assert len(shown) > len(labels) / 2
    summary = {row["image_id"]: row for row in iter_rows(Path("data/import_wsss/summary.parquet"), WSSS_SUMMARY)}
    assert all(summary[image]["background_px"] == np.count_nonzero(found[image] == 0) for image in labels)


@pytest.mark.parametrize("rounds", [0, 1])
def test_background_that_counts_more_leaves_fewer_pixels_to_objects(workspace: Path, rounds: int):
    learning = [OWN, f"train_wsss.rounds={rounds}", "train_wsss.background=0.2"]
    ws.set_params(*learning)
    ws.run("train_wsss")
    pixels = []
    for factor in (0.1, 0.3, 2):
        ws.set_params(*learning, f"make_wsss.background_factor={factor}")
        ws.run("make_wsss", "import_wsss")
        pixels.append(sum(np.count_nonzero(found) for found in own_maps().values()))
    assert pixels == sorted(pixels, reverse=True)
    assert pixels[0] > pixels[-1]  # a network of six steps hardly tells background from objects


def test_no_true_mask_is_read(workspace: Path):
    ws.set_params(OWN)
    ws.run(*STAGES)
    with_truth = [ws.stage_digests(stage) for stage in STAGES]
    for path in Path("data/prepare").glob("ground_truth.*"):
        path.rename(path.with_name(f"hidden-{path.name}"))
    Path("data/raw/generated/SegmentationClass").rename("hidden")
    ws.run(*STAGES)
    assert [ws.stage_digests(stage) for stage in STAGES] == with_truth


def test_with_given_maps_the_outputs_are_empty(workspace: Path):
    ws.run("train_wsss", "make_wsss")
    assert load_weights(Path("data/train_wsss/semantic_network.zarr")) == ({}, {})
    assert json.loads(Path("data/make_wsss/warnings.json").read_text()) == []
    assert not [path for path in Path("data/make_wsss/maps.zarr").rglob("c/*") if path.is_file()]


def test_own_maps_that_were_not_made_cannot_be_imported(workspace: Path):
    ws.run("train_wsss", "make_wsss")
    ws.set_params(OWN)
    with pytest.raises(InputError, match=r"data/make_wsss/maps\.zarr holds no own maps; run make_wsss first"):
        ws.run("import_wsss")


@pytest.mark.parametrize("rounds", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_walk_along_learned_boundaries_changes_the_maps(workspace: Path, rounds: int):
    learning = [OWN, f"train_wsss.rounds={rounds}", "train_wsss.background=0.2", "train_wsss.boundary_epochs=2"]
    factor = "make_wsss.background_factor=0.5"
    ws.set_params(*learning, factor)
    ws.run(*STAGES)
    without = own_maps()
    ws.set_params(*learning, factor, "make_wsss.walk_steps=8")
    ws.run("make_wsss", "import_wsss")
    found = own_maps()
    assert any((found[image] != without[image]).any() for image in found)
    labels = {r.image_id: set(r.labels) for r in read_images(Path("data/prepare/images.parquet"), "train")}
    assert all(set(np.unique(found[image])) <= {0, *labels[image]} for image in labels)
    history = json.loads(Path("data/train_wsss/history.json").read_text())
    assert [row["epoch"] for row in history] == list(range(1, 3 + 2 * rounds))
    assert [row["boundary"] is not None for row in history] == [True, True, *[False] * 2 * rounds]


def test_a_walk_without_boundaries_is_refused(workspace: Path):
    ws.set_params(OWN)
    ws.run("train_wsss")
    ws.set_params(OWN, "make_wsss.walk_steps=8")
    with pytest.raises(InputError, match=r"walk_steps is 8, but .* Set train_wsss\.boundary_epochs"):
        ws.run("make_wsss")


def test_more_rounds_start_anew_from_the_maps_of_the_last(workspace: Path):
    ws.set_params(OWN, "train_wsss.rounds=2")
    ws.run("train_wsss")
    history = json.loads(Path("data/train_wsss/history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]  # two epochs a round
    assert read_attributes(Path("data/train_wsss/semantic_network.zarr"))["params"]["rounds"] == 2


@pytest.mark.parametrize(
    ("boundary_epochs", "stops_at", "expected"),
    [
        (0, 9, [2, 3, 4, 5]),  # the third step of the second round
        pytest.param(1, 2, [1, 2, *range(6), *range(6)], marks=pytest.mark.slow),  # the second step of the boundaries
        pytest.param(1, 5, [1, *range(2, 6), *range(6)], marks=pytest.mark.slow),  # the second step of the first round
    ],
)
def test_a_resumed_training_writes_the_same_bytes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, boundary_epochs: int, stops_at: int, expected: list[int]
):
    walk = [f"train_wsss.boundary_epochs={boundary_epochs}", f"train_wsss.maps.walk_steps={4 * boundary_epochs}"]
    ws.set_params(OWN, "train_wsss.rounds=2", *walk)
    ws.run("train_wsss")
    uninterrupted = ws.stage_digests("train_wsss")
    remove_outputs("train_wsss")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, Loop, "_optimize", at_call=stops_at)
        ws.run("train_wsss", checkpoint_minutes=0)
    steps = trained_steps(monkeypatch)
    ws.run("train_wsss")
    assert steps == expected
    assert ws.stage_digests("train_wsss") == uninterrupted
    assert [path for path in Path(".bestie").glob("train_wsss*/*") if path.exists()] == []


def test_parts_joined_have_the_bytes_of_a_stage_that_runs_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maps, "SHARD_ROWS", 4)
    monkeypatch.setattr(maps, "ROWS_AT_ONCE", 2)
    ws.set_params(OWN)
    ws.run("train_wsss", "make_wsss")
    alone = ws.stage_digests("make_wsss")
    remove_outputs("make_wsss")
    for number in (2, 1):
        run_part("make_wsss", f"{number}/2")
    run_part("make_wsss", "2")
    assert ws.stage_digests("make_wsss") == alone


def test_a_class_that_is_on_no_map_is_named(workspace: Path):
    ws.set_params(OWN, "train_wsss.background=1", "train_wsss.rounds=0")
    ws.run("train_wsss", "make_wsss")
    warnings = json.loads(Path("data/make_wsss/warnings.json").read_text())
    assert warnings[0]["what"].startswith("no pixel of their map shows the class in images of ")
    assert "train_wsss.background" in warnings[0]["look_at"]


def test_of_many_images_the_first_of_each_class_are_enough(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    taken: list[int] = []
    real = Discriminants.learn

    def counted(self, images, **settings):
        taken.extend(max(image.categories) for image in images)
        real(self, images, **settings)

    monkeypatch.setattr(Discriminants, "learn", counted)
    monkeypatch.setattr(train_wsss, "IMAGES_PER_CLASS", 1)
    ws.set_params(OWN, "train_wsss.rounds=0")
    ws.run("train_wsss")
    records = read_images(Path("data/prepare/images.parquet"), "train")
    classes = {category for record in records for category in record.labels}
    assert 0 < len(taken) <= len(classes) < len(records)
