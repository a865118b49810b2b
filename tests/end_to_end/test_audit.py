"""A walk through versions: a parameter, the WSSS maps, one image's label and the code of a stage change in turn.

The stages run by `dvc repro`; what the audit says about each version is compared with the change that was made.
"""

import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bestie.artifacts.image_index import read_images
from bestie.artifacts.tables import read_categories
from bestie.cli import app as cli
from tests import workspace as ws
from tests.audit_project import LABELS, Project, read_yaml
from tests.clones import Clone, make_clone

DATA = "data/raw/mine"
MAPS = "data/raw/maps"
STAGE = "make_pseudo_labels"


class Walk:
    """A clone with a version for each change, newest last: `run` first, then those of `CAUSES`."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        with chdir(clone.folder):
            records = read_images(Path("data/prepare/images.parquet"), "train")
            names = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
        self.remapped, self.relabeled = records[0].image_id, records[1].image_id
        self.new_class = next(name for number, name in enumerate(names, start=1) if number not in records[1].labels)

    def change(self, name: str) -> None:
        """Make one change, reproduce the labels, and commit."""
        getattr(self, f"_change_{name}")()
        if name != "parameter":  # `dvc exp run` leaves its result in the workspace
            self.clone.dvc("repro", STAGE)
        self.clone.commit(name)
        self.clone.run("git", "tag", name)

    def audit(self, *arguments: str) -> dict:
        """What a command prints as JSON."""
        with chdir(self.clone.folder):
            found = CliRunner().invoke(cli.app, ["audit", *arguments, "--json"], catch_exceptions=False)
        return json.loads(found.stdout)

    def _change_parameter(self) -> None:
        self.clone.dvc("exp", "run", "--name", "larger", "--set-param", f"{STAGE}.min_area_px=150", STAGE)

    def _change_maps(self) -> None:
        path = self.clone.folder / MAPS / f"{self.remapped}.png"
        image = Image.open(path)
        values = np.array(image)
        changed = Image.fromarray(cv2.dilate(values, np.ones((5, 5), np.uint8)))
        changed.putpalette(image.getpalette())
        changed.save(path)

    def _change_label(self) -> None:
        path = self.clone.folder / DATA / "Annotations" / f"{self.relabeled}.xml"
        tree = ElementTree.parse(path)
        added = ElementTree.SubElement(tree.getroot(), "object")
        ElementTree.SubElement(added, "name").text = self.new_class
        tree.write(path)

    def _change_code(self) -> None:
        path = self.clone.folder / "stages" / f"{STAGE}.py"
        text = path.read_text(encoding="utf-8")
        assert "scores=found.score," in text
        path.write_text(text.replace("scores=found.score,", "scores=found.score / 2,"), encoding="utf-8")


CAUSES = ("parameter", "maps", "label", "code")


@pytest.fixture(scope="module")
def walk(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """The versions, on images in VOC's layout: those of the finished run, whose results they share at first."""
    clone = make_clone(tmp_path_factory.mktemp("home") / "clone")
    shutil.copytree(finished / "data", clone.folder / "data", dirs_exist_ok=True)
    generated = clone.folder / "data" / "raw" / "generated"
    shutil.move(generated / "WSSS_maps", clone.folder / MAPS)
    shutil.copytree(generated, clone.folder / DATA)
    with chdir(clone.folder):
        names = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
        ws.set_params(
            "dataset.format=voc",
            f"dataset.root={DATA}",
            f"import_wsss.source={MAPS}",
            f"prepare.categories=[{', '.join(names)}]",
        )
        ws.run("prepare", "import_wsss")
    clone.dvc("commit", "--force", *LABELS)
    clone.commit("run")
    clone.run("git", "tag", "run")
    made = Walk(clone)
    for name in CAUSES:
        made.change(name)
    return made


def test_the_log_has_every_version_with_its_one_cause(walk: Walk):
    entries = json.loads(walk.clone.run("bestie", "audit", "log", "--stage", STAGE, "--json"))
    by_name = {entry["experiment"] or entry["subject"]: entry for entry in entries}
    assert list(by_name) == ["code", "label", "maps", *sorted(["parameter", "larger"], key=list(by_name).index), "run"]
    causes = {
        name: [(cause["kind"], cause["name"]) for cause in entry["causes"] if cause["effective"]]
        for name, entry in by_name.items()
    }
    parameter = [("parameter", f"{STAGE}.min_area_px")]
    assert causes == {
        "run": [],
        "parameter": parameter,
        "larger": parameter,
        "maps": [("data", MAPS)],
        "label": [("data", DATA)],
        "code": [("code", f"stages/{STAGE}.py")],
    }
    assert by_name["larger"]["version"] == by_name["parameter"]["version"]
    assert all(entry["counts"]["true_positives"] is not None for entry in entries)
    assert by_name["maps"]["inputs"]["other_wsss"] == [walk.remapped]
    assert list(by_name["label"]["inputs"]["relabeled"]) == [walk.relabeled]


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ("run", "parameter", ("parameter", f"{STAGE}.min_area_px")),
        ("parameter", "maps", ("data", MAPS)),
        ("maps", "label", ("data", DATA)),
        ("label", "code", ("code", f"stages/{STAGE}.py")),
    ],
)
def test_diff_names_the_cause_between_two_versions(walk: Walk, before: str, after: str, cause: tuple[str, str]):
    found = walk.audit("diff", before, after)
    assert [(each["kind"], each["name"]) for each in found["causes"]] == [cause]
    assert not found["equal"]


def test_diff_over_all_changes_names_all_causes(walk: Walk):
    found = walk.audit("diff", "run", "code")
    assert {each["kind"] for each in found["causes"]} == {"parameter", "data", "code"}
    assert found["inputs"]["other_wsss"] == [walk.remapped]


def test_diff_finds_what_each_change_did_to_the_labels(walk: Walk):
    parameter = walk.audit("diff", "run", "larger")
    assert parameter["total"]["vanished"] > 0
    assert parameter["total"]["moved"] == parameter["total"]["class_changed"] == 0
    maps = walk.audit("diff", "parameter", "maps")
    assert {image["image_id"] for image in maps["largest"]} <= {walk.remapped}
    label = walk.audit("diff", "maps", "label")
    assert list(label["inputs"]["relabeled"]) == [walk.relabeled]
    code = walk.audit("diff", "label", "code")
    assert set(code["total"]) - {"unchanged"} == {name for name, n in code["total"].items() if n == 0}
    assert code["rescored"] == code["total"]["unchanged"] > 0


def test_every_version_is_sound_and_shows_its_images(walk: Walk):
    for name in ("run", "larger", "code"):
        assert walk.audit("verify", name)["findings"] == []
    life = walk.audit("show", "label", walk.relabeled)
    assert walk.new_class in life["image"]["labels"]
    assert walk.new_class not in walk.audit("show", "maps", walk.relabeled)["image"]["labels"]
    assert (walk.clone.folder / life["picture"]).is_file()


def test_nothing_in_the_workspace_was_touched(walk: Walk):
    walk.audit("diff", "run", "code")
    assert walk.clone.run("git", "status", "--porcelain") == ""
    assert walk.clone.changed() & set(LABELS) == set()


def test_projects_of_other_tests_record_what_dvc_records(walk: Walk):
    """`tests.audit_project` writes `dvc.lock` without DVC; here is what DVC itself wrote for the same files."""
    recorded = read_yaml(walk.clone.folder / "dvc.lock")["stages"]
    project = Project(walk.clone.folder, exists=True)
    for stage in LABELS:
        ours = project.lock_entry(stage)
        for name in ("deps", "outs"):
            theirs = {each["path"]: each["md5"] for each in recorded[stage][name]}
            assert {each["path"]: each["md5"] for each in ours[name]} == theirs
        assert ours["cmd"] == recorded[stage]["cmd"]


@pytest.fixture
def without_cache(walk: Walk) -> Iterator[Path]:
    """A remote that has everything, and a cache that has nothing; everything as it was afterwards."""
    folder = walk.clone.folder
    remote = folder.parent / "remote"
    # Not in .dvc/config: for another revision DVC reads that file as it was there, and finds no remote to push to.
    walk.clone.dvc("remote", "add", "--local", "--default", "storage", str(remote))
    walk.clone.dvc("push", "--quiet", "--all-tags", *LABELS)
    (folder / ".dvc" / "cache").rename(folder.parent / "cache")
    yield remote
    (folder.parent / "cache").rename(folder / ".dvc" / "cache")
    walk.clone.dvc("remote", "remove", "--local", "storage")


def test_versions_are_read_from_a_remote_that_dvc_pushed_to(walk: Walk, without_cache: Path):
    assert without_cache.is_dir()
    found = walk.audit("diff", "run", "parameter")
    assert found["total"]["vanished"] > 0
    missing = walk.audit("show", "run", walk.remapped)["missing"]
    assert [text for text in missing if "did not run on these labels" not in text] == []
