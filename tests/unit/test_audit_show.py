"""One image through all stages: what each made of it, and why each component became a label or not."""

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bestie.artifacts.schemas import COMPONENTS as COMPONENTS_SCHEMA
from bestie.artifacts.schemas import CUES as CUES_SCHEMA
from bestie.artifacts.schemas import EVOLUTION as EVOLUTION_SCHEMA
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, iter_rows, read_table
from bestie.audit.components import component_masks, reason
from bestie.audit.life_picture import CELL_PX, LISTED, draw_life
from bestie.audit.show import Life, trace_image
from bestie.audit.sources import COMPONENTS, CUES, EVOLUTION, WSSS_MAPS, Artifacts, instances_of
from bestie.audit.versions import History
from bestie.pictures.panels import NOTE_PX
from tests.audit_project import Project


def life_of(image_id: str, version: str = "HEAD") -> tuple[Life, Artifacts]:
    artifacts = Artifacts(History().resolve(version))
    return trace_image(artifacts, image_id), artifacts


def images_with(status: str) -> list[str]:
    return [row["image_id"] for row in iter_rows(Path(COMPONENTS), COMPONENTS_SCHEMA) if row["status"] == status]


def semantic_of(rows: list[str]) -> np.ndarray:
    return np.array([[int(each) for each in row] for row in rows], np.uint8)


def component(category_id: int, box: list[int], area_px: int) -> dict:
    return {"category_id": category_id, "bbox_xywh": box, "area_px": area_px}


def test_components_are_found_again_in_the_map_by_class_box_and_area():
    semantic = semantic_of(["1100", "0010", "2200", "0011"])
    rows = [component(1, [0, 0, 3, 2], 3), component(2, [0, 2, 2, 1], 2), component(1, [2, 3, 2, 1], 2)]
    masks = component_masks(semantic, rows)
    assert [mask.sum() for mask in masks if mask is not None] == [3, 2, 2]
    assert masks[0][1, 2]  # type: ignore[index]
    assert component_masks(semantic, [component(1, [0, 0, 3, 2], 4)]) == [None]


@pytest.mark.parametrize(
    ("status", "scores", "words"),
    [
        ("accepted", [0.7], "exactly one cue (0.70): label 4"),
        ("no_cue", [], "no cue of its class lies on it"),
        ("several_cues", [0.7, 0.6], "2 cues (0.70, 0.60), so it may be several objects"),
        ("too_small", [], "9 px, fewer than min_area_px = 50"),
        ("odd", [], "odd"),
    ],
)
def test_each_verdict_has_its_reason(status: str, scores: list[float], words: str):
    assert reason({"status": status, "instance_id": 4, "n_cues": 2, "area_px": 9}, scores, 50) == words


def test_a_life_has_the_rows_of_every_stage(project: Project):
    image_id = images_with("accepted")[0]
    life, _ = life_of(image_id)
    components = [row for row in iter_rows(Path(COMPONENTS), COMPONENTS_SCHEMA) if row["image_id"] == image_id]
    cues = [row for row in iter_rows(Path(CUES), CUES_SCHEMA) if row["image_id"] == image_id]
    assert [(each.component_id, each.area_px, each.status) for each in life.components] == [
        (row["component_id"], row["area_px"], row["status"]) for row in components
    ]
    assert [(cue.y, cue.x) for cue in life.cues] == [(row["y"], row["x"]) for row in cues]
    for name, stage in (("pseudo labels", "make_pseudo_labels"), ("exported labels", "export_mrcnn")):
        table = read_table(Path(instances_of(stage)), INSTANCES, where={"row": life.record.row})
        assert [row["rle"] for row in life.instances[name]] == table["rle"].tolist()
    assert life.instances["truth"]
    assert "BESTIE" not in life.instances


def test_cues_lie_on_the_components_that_count_them(project: Project):
    counted = 0
    for image_id in sorted({*images_with("accepted"), *images_with("several_cues")}):
        life, _ = life_of(image_id)
        for each in life.components:
            assert sum(cue.component_id == each.component_id for cue in life.cues) == each.n_cues
            counted += each.n_cues
    assert counted


def test_refined_labels_are_those_of_the_last_snapshot(project: Project):
    shown = islice(Artifacts(History().resolve("HEAD")).training_images, 8)
    lives = [life_of(record.image_id)[0] for record in shown]
    for life in lives:
        if life.epoch is None:
            assert any("no refined labels of this image" in text for text in life.missing)
        else:
            assert life.epoch == 28
            assert {row["epoch"] for row in life.instances["refined labels"]} == {28}
    assert any(life.epoch for life in lives)


def test_refined_labels_of_an_earlier_snapshot_are_not_shown_as_the_last(project: Project):
    rows = list(iter_rows(Path(EVOLUTION), EVOLUTION_SCHEMA))
    image_id = next(row["image_id"] for row in rows if row["kind"] == "refined" and row["epoch"] == 28)
    with TableWriter(Path(EVOLUTION), EVOLUTION_SCHEMA) as writer:
        writer.append_rows(row if row["image_id"] != image_id else {**row, "epoch": 14} for row in rows)
    project.commit("none at the end", "train_bestie")
    life, _ = life_of(image_id)
    assert life.epoch is None
    assert "refined labels" not in life.instances
    assert any("there were none in the last snapshot" in text for text in life.missing)


def test_a_validation_image_has_detections_and_no_labels(project: Project):
    artifacts = Artifacts(History().resolve("HEAD"))
    record = next(record for record in artifacts.images if record.split == "val")
    life = trace_image(artifacts, record.image_id)
    assert list(life.instances) == ["BESTIE", "Mask R-CNN", "truth"]
    assert (life.components, life.cues, life.verdicts(), life.missing) == ([], [], {}, [])
    assert draw_life(life, artifacts).shape[1] > 4 * CELL_PX / 2


def test_the_picture_tells_the_reason_of_every_component(project: Project):
    life, artifacts = life_of(images_with("accepted")[0])
    whole = draw_life(life, artifacts)
    lines = len(life.components)
    life.components, life.masks = life.components[:1] * 2, life.masks[:1] * 2
    two = draw_life(life, artifacts)
    assert whole.shape[0] - two.shape[0] == (lines - 2) * NOTE_PX
    life.components, life.masks = life.components * 50, life.masks * 50
    assert draw_life(life, artifacts).shape[0] - two.shape[0] == (LISTED + 1 - 2) * NOTE_PX


def rewrite_cues(image_id: str, keep: bool) -> None:
    rows = [row for row in iter_rows(Path(CUES), CUES_SCHEMA) if row["image_id"] != image_id or keep]
    with TableWriter(Path(CUES), CUES_SCHEMA) as writer:
        writer.append_rows(rows)


def test_verdicts_say_why_a_class_has_no_label(project: Project):
    life, _ = life_of(images_with("accepted")[0])
    accepted = next(each for each in life.components if each.status == "accepted")
    assert re.match(r"\d labels? from \d+ cues?, ", life.verdicts()[accepted.category])
    life.components = [each for each in life.components if each.category != accepted.category]
    life.cues = [replace(cue, component_id=0) for cue in life.cues]
    assert life.verdicts()[accepted.category].startswith("no label: its cues lie on none of its components")
    life.cues = []
    assert life.verdicts()[accepted.category] == "no label: it has no cue (no components)"
    life.wsss_px.clear()
    assert life.verdicts()[accepted.category] == "no label: the WSSS map has no pixel of it (no cues)"


def test_what_the_cache_lacks_is_named_and_the_rest_is_shown(project: Project):
    image_id = images_with("accepted")[0]
    project.stored(project.out("import_wsss", WSSS_MAPS)).unlink()
    life, artifacts = life_of(image_id)
    assert life.semantic is None
    assert life.components
    assert life.instances["pseudo labels"]
    assert any(f"{WSSS_MAPS} of" in text and "is not in the cache" in text for text in life.missing)
    assert draw_life(life, artifacts).ndim == 3


def test_a_picture_without_its_image_file_lies_on_grey_and_says_so(project: Project):
    image_id = images_with("accepted")[0]
    life, artifacts = life_of(image_id)
    colored = draw_life(life, artifacts)
    name = Path(life.record.path).name
    project.stored(project.files_of("prepare", "data/raw/generated/JPEGImages")[name]).unlink()
    (Path("data/raw/generated") / life.record.path).unlink()
    life, artifacts = life_of(image_id)
    grey = draw_life(life, artifacts)
    assert grey.shape == colored.shape
    assert not np.array_equal(grey, colored)
    assert any("the layers lie on grey" in text for text in life.missing)


def test_the_picture_has_a_panel_for_each_layer(project: Project):
    life, artifacts = life_of(images_with("accepted")[0])
    panels = 1 + len(life.labels) + 2 + 2 + len(life.instances)  # image, activations, WSSS maps, targets, tables
    rows = -(-panels // 4)
    height = draw_life(life, artifacts).shape[0]
    panel_height = CELL_PX * life.record.height / max(life.record.height, life.record.width)
    assert rows * panel_height < height < (rows + 1.2) * (panel_height + 80)
