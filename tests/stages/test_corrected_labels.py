"""Labels that people correct in another tool: exported, corrected, imported, trained with, audited."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bestie.artifacts.corrections import FOLDER, read_corrections
from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import decode_mask, encode_mask
from bestie.artifacts.metrics_json import read_json
from bestie.artifacts.schemas import INSTANCES, ORIGINS
from bestie.artifacts.tables import iter_rows, read_categories
from bestie.audit.log import log_versions
from bestie.audit.versions import History
from bestie.cli import app as cli
from bestie.errors import InputError
from bestie.records import Category
from tests import workspace as ws
from tests.audit_project import Project

EXPORT = Path("data/export_mrcnn")


def call(*arguments: str | Path, code: int = 0) -> str:
    found = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    assert found.exit_code == code, (found.output, found.exception)
    return found.stdout if code == 0 else str(found.exception)


def labels() -> list[tuple[dict, str]]:
    """The exported labels, and who corrected each."""
    rows = iter_rows(EXPORT / "instances.parquet", INSTANCES)
    origins = iter_rows(EXPORT / "origins.parquet", ORIGINS)
    return [(row, origin["corrected_by"]) for row, origin in zip(rows, origins, strict=True)]


def classes() -> list[Category]:
    return read_categories(Path("data/prepare/categories.parquet"))


@pytest.fixture
def with_labels(workspace: Path) -> Path:
    """A finished run whose export has some labels in several images."""
    ws.set_params("export_mrcnn.pseudo_labels=true")
    ws.run("export_mrcnn")
    assert len({row["row"] for row, _ in labels()}) > 4
    return workspace


def moved(rle: dict[str, Any]) -> dict[str, Any]:
    """The mask without its right side, a third of it: the same object, and on no other label."""
    mask = decode_mask(rle["counts"], *rle["size"])
    shorter = mask & (np.cumsum(mask.sum(axis=0)) <= 0.7 * mask.sum())
    assert shorter.sum() > 0.55 * mask.sum()
    return {**rle, "counts": encode_mask(shorter)}


def correct_ten(content: dict) -> dict[str, int]:
    """Change, remove and add labels of COCO's annotations in place, and return how many of each kind."""
    annotations = content["annotations"]
    annotations.sort(key=lambda each: -each["area"])
    for each in annotations[:4]:
        each["segmentation"] = moved(each["segmentation"])
    annotations[4]["category_id"] = next(
        each["id"] for each in content["categories"] if each["id"] != annotations[4]["category_id"]
    )
    del annotations[-3:]
    empty = [each for each in content["images"] if each["id"] not in {a["image_id"] for a in annotations}]
    for image in empty[:2]:
        square = np.zeros((image["height"], image["width"]), bool)
        square[10:30, 20:50] = True
        rle = {"size": list(square.shape), "counts": encode_mask(square)}
        number = 10_000 + image["id"]
        annotations.append(
            {"id": number, "image_id": image["id"], "category_id": content["categories"][0]["id"], "iscrowd": 0}
            | {"segmentation": rle, "area": 600, "bbox": [20, 10, 30, 20]}
        )
    return {"changed": 5, "removed": 3, "added": 2}


def export_coco(path: Path) -> dict:
    call("export", "coco", EXPORT / "instances.parquet", path)
    return json.loads(path.read_text(encoding="utf-8"))


def test_ten_corrections_go_through_training_and_audit(with_labels: Path):
    before = labels()
    content = export_coco(Path("labels.json"))
    wanted = correct_ten(content)
    Path("labels.json").write_text(json.dumps(content), encoding="utf-8")
    looked = json.loads(call("labels", "import", "labels.json", "--by", "anna", "--check", "--json"))
    assert looked == {"path": None, "images": 24, "kept": len(before) - 8, **wanted}
    assert read_corrections(classes()) == []
    said = call("labels", "import", "labels.json", "--by", "anna")
    assert "0001_labels.parquet: now dvc repro" in said
    again = call("labels", "import", "labels.json", code=1)
    assert "was imported before" in again

    ws.run("export_mrcnn")
    after = labels()
    assert len(after) == len(before) - 3 + 2
    assert [by for _, by in after].count("anna") == 7
    expected = {(a["segmentation"]["counts"], a["category_id"]) for a in content["annotations"]}
    ids = {each["id"]: k for k, each in enumerate(content["categories"], start=1)}
    corrected = {(row["rle"], row["category_id"]) for row, by in after if by}
    assert len(corrected & {(rle, ids[category]) for rle, category in expected}) == 7
    assert len(read_json(EXPORT / "annotations.json")["annotations"]) == len(after)
    ws.run("train_mrcnn")

    # Made anew, with other automatic labels: what was corrected stays, and what was removed does not come back.
    ws.set_params("export_mrcnn.pseudo_labels=true", "export_mrcnn.color_steps=2")
    ws.run("export_mrcnn")
    assert [by for _, by in labels()].count("anna") == 7
    # And without the file, all is as it was.
    ws.set_params("export_mrcnn.pseudo_labels=true")
    shutil.rmtree(FOLDER)
    ws.run("export_mrcnn")
    assert labels() == before


def test_the_audit_tells_who_corrected_which_labels(project: Project):
    ws.set_params("export_mrcnn.pseudo_labels=true")
    ws.run("export_mrcnn")
    project.commit("before", "export_mrcnn")
    content = export_coco(Path("labels.json"))
    correct_ten(content)
    Path("labels.json").write_text(json.dumps(content), encoding="utf-8")
    call("labels", "import", "labels.json", "--by", "anna")
    ws.run("export_mrcnn")
    project.commit("corrected", "export_mrcnn")
    entry = next(log_versions(History(), ["export_mrcnn"]))
    assert entry.counts is not None and dict(entry.counts.corrected) == {"anna": 7}
    assert [each.name for each in entry.causes if each.effective] == [str(FOLDER)]
    assert "7 corrected by anna" in call("audit", "log")
    row = next(row for row, by in labels() if by)
    shown = call("audit", "show", "HEAD", row["image_id"], "--stage", "export_mrcnn")
    assert f"exported label {row['instance_id']}: corrected by anna" in shown
    assert call("audit", "verify", "HEAD", "--stage", "export_mrcnn").endswith("nothing is wrong\n")


def test_a_second_person_corrects_what_the_first_one_left(with_labels: Path):
    content = export_coco(Path("first.json"))
    largest = max(content["annotations"], key=lambda each: each["area"])
    largest["segmentation"] = moved(largest["segmentation"])
    Path("first.json").write_text(json.dumps(content), encoding="utf-8")
    call("labels", "import", "first.json", "--by", "anna")
    ws.run("export_mrcnn")
    content = export_coco(Path("second.json"))
    image = next(row["row"] for row, by in labels() if by == "anna")
    chosen = [a for a, (row, by) in zip(content["annotations"], labels(), strict=True) if by == "anna"]
    chosen[0]["segmentation"] = moved(chosen[0]["segmentation"])
    Path("second.json").write_text(json.dumps(content), encoding="utf-8")
    assert "1 changed" in call("labels", "import", "second.json", "--by", "ben")
    ws.run("export_mrcnn")
    assert [by for row, by in labels() if row["row"] == image and by] == ["ben"]
    assert [each.path.name for each in read_corrections(classes())] == ["0001_first.parquet", "0002_second.parquet"]


def test_label_studio_gives_back_what_it_got(with_labels: Path):
    call("export", "label-studio", EXPORT / "instances.parquet", "tasks.json")
    tasks = json.loads(Path("tasks.json").read_text(encoding="utf-8"))
    assert len(tasks) == 24
    for number, task in enumerate(tasks):
        task["annotations"] = [{"result": task["predictions"][0]["result"], "completed_by": 1}]
        if number % 2:  # as of a file that was uploaded
            task["data"]["image"] = f"/data/upload/1/0a1b2c3d-{Path(task['data']['image']).name}"
    tasks[3]["annotations"] = []
    Path("tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    found = json.loads(call("labels", "import", "tasks.json", "--check", "--json"))
    names = {task["data"]["image_id"] for task in tasks if task["annotations"]}
    assert found["images"] == 23
    assert (found["changed"], found["added"], found["removed"]) == (0, 0, 0)
    assert found["kept"] == sum(row["image_id"] in names for row, _ in labels())

    first = next(task for task in tasks if task["annotations"] and task["annotations"][0]["result"])
    region = first["annotations"][0]["result"][0]
    width, height = region["original_width"], region["original_height"]
    corners = [[0, 0], [100 * 20 / width, 0], [100 * 20 / width, 100 * 10 / height], [0, 100 * 10 / height]]
    region["value"] = {"points": corners, "polygonlabels": region["value"]["brushlabels"]}
    region["type"] = "polygonlabels"
    Path("tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    call("labels", "import", "tasks.json", "--by", "ben")
    rows = [row for each in read_corrections(classes()) for rows in each.rows.values() for row in rows]
    polygon = np.zeros((height, width), bool)
    polygon[:10, :20] = True
    assert encode_mask(polygon) in [row["rle"] for row in rows]


def test_an_archive_of_cvat_is_read(with_labels: Path):
    content = export_coco(Path("labels.json"))
    for each in content["annotations"]:
        each["iscrowd"] = 1  # CVAT marks brush masks so
    for each in content["images"]:
        each["file_name"] = Path(each["file_name"]).name
    with zipfile.ZipFile("task_7.zip", "w") as archive:
        archive.writestr("annotations/instances_default.json", json.dumps(content))
    found = json.loads(call("labels", "import", "task_7.zip", "--check", "--json"))
    assert (found["kept"], found["changed"], found["removed"]) == (len(labels()), 0, 0)


def without_image(content: dict) -> None:
    content["images"][0]["file_name"] = "other.jpg"


def with_other_class(content: dict) -> None:
    content["categories"][0]["name"] = "betle"


def of_other_size(content: dict) -> None:
    content["images"][0]["height"] += 1


def without_mask(content: dict) -> None:
    content["annotations"][0]["segmentation"] = []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_image, "no training image has the name 'other.jpg'"),
        (with_other_class, "there is no class 'betle'. Did you mean 'beetle'?"),
        (of_other_size, "(height x width) there, here it is"),
        (without_mask, "has a label without a mask. Export masks or polygons"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(with_labels: Path, spoil: Any, message: str):
    content = export_coco(Path("labels.json"))
    spoil(content)
    Path("labels.json").write_text(json.dumps(content), encoding="utf-8")
    assert message in call("labels", "import", "labels.json", code=1)
    assert read_corrections(classes()) == []


def test_corrections_of_an_image_of_another_size_or_name_are_told(with_labels: Path):
    content = export_coco(Path("labels.json"))
    del content["annotations"][0]
    Path("labels.json").write_text(json.dumps(content), encoding="utf-8")
    call("labels", "import", "labels.json")
    (each,) = read_corrections(classes())
    (image_id,) = each.rows
    record = next(r for r in read_images(Path("data/prepare/images.parquet")) if r.image_id == image_id)
    assert len(each.of(record)) == 1
    with pytest.raises(InputError, match=r"0001_labels\.parquet corrects .* as an image of"):
        each.of(replace(record, height=record.height + 1))


def test_classes_of_corrections_go_by_their_names(with_labels: Path):
    content = export_coco(Path("labels.json"))
    wanted = correct_ten(content)
    Path("labels.json").write_text(json.dumps(content), encoding="utf-8")
    call("labels", "import", "labels.json")
    (each,) = read_corrections(classes())
    record = next(r for r in read_images(Path("data/prepare/images.parquet")) if r.image_id in each.rows)
    first = each.of(record)
    order = [Category(number, every.name, number) for number, every in enumerate(reversed(classes()), start=1)]
    (turned,) = read_corrections(order)
    names, others = (["", *(every.name for every in found)] for found in (classes(), order))
    assert [names[every.category_id] for every in first] == [others[every.category_id] for every in turned.of(record)]
    assert sum(len(rows) for rows in each.rows.values()) == sum(wanted.values())
    (without,) = read_corrections(order[:0])
    with pytest.raises(InputError, match=r"0001_labels\.parquet has a label of the class '\w+' on .*no such class"):
        [without.of(r) for r in read_images(Path("data/prepare/images.parquet"))]


def test_only_the_same_name_counts_as_imported_before(with_labels: Path):
    content = export_coco(Path("labels.json"))
    del content["annotations"][0]
    for name in ("my_labels.json", "labels.json", "a [copy].json"):
        Path(name).write_text(json.dumps(content), encoding="utf-8")
        call("labels", "import", name)
    found = [each.path.name for each in read_corrections(classes())]
    assert found == ["0001_my_labels.parquet", "0002_labels.parquet", "0003_a_copy_.parquet"]
