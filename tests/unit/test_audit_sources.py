"""Artifacts of a version come from the workspace, the cache or a remote, and nothing is checked out."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bestie.artifacts.maps import MapReader
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import read_table
from bestie.audit.hashing import md5_path
from bestie.audit.sources import CLASSIFIER, EVOLUTION, IMAGES, PSEUDO_MAPS, Artifacts, instances_of
from bestie.audit.versions import WORKSPACE, History
from bestie.errors import InputError
from tests import workspace as ws
from tests.audit_project import CACHE, Project

TABLE = instances_of("make_pseudo_labels")


def artifacts(name: str = "HEAD", stage: str | None = None) -> Artifacts:
    return Artifacts(History().resolve(name, stage))


def configure_remote(project: Project, name: str = "storage") -> Path:
    """A default remote beside the project; returns its folder."""
    folder = project.folder.parent / name
    config = f"[core]\n    remote = {name}\n['remote \"{name}\"']\n    url = {folder}\n"
    (project.folder / ".dvc" / "config").write_text(config, encoding="utf-8")
    return folder


def test_a_committed_version_is_read_from_the_cache_after_the_workspace_has_changed(project: Project):
    before = read_table(Path(TABLE), INSTANCES)
    shutil.rmtree("data")
    found = artifacts()
    assert read_table(found.file(TABLE), INSTANCES)["rle"].tolist() == before["rle"].tolist()
    record = next(iter(found.training_images))
    maps = MapReader(found.folder(PSEUDO_MAPS))
    assert maps.read(record.row, "instance", record.height, record.width).dtype == np.uint16
    assert not Path("data").exists()


def test_the_workspace_is_read_where_it_lies(project: Project):
    found = artifacts(WORKSPACE)
    assert (found.file(TABLE), found.folder(PSEUDO_MAPS)) == (Path(TABLE), Path(PSEUDO_MAPS))


def test_what_the_cache_lacks_is_read_from_a_remote_and_the_cache_stays_as_it_is(project: Project):
    before = read_table(Path(TABLE), INSTANCES)
    remote = configure_remote(project)
    (remote / "files").mkdir(parents=True)
    (project.folder / CACHE).rename(remote / "files" / "md5")
    found = artifacts()
    assert read_table(found.file(TABLE), INSTANCES)["area_px"].tolist() == before["area_px"].tolist()
    there, here = MapReader(found.folder(PSEUDO_MAPS)), MapReader(Path(PSEUDO_MAPS))
    for record in found.training_images:
        size = (record.row, "instance", record.height, record.width)
        np.testing.assert_array_equal(there.read(*size), here.read(*size))
    assert not [path for path in (project.folder / CACHE).rglob("*") if path.is_file()]


def test_a_cache_in_another_place_is_found(project: Project):
    elsewhere = project.folder.parent / "shared_cache"
    (elsewhere / "files").mkdir(parents=True)
    (project.folder / CACHE).rename(elsewhere / "files" / "md5")
    (project.folder / ".dvc" / "config").write_text(f"[cache]\n    dir = {elsewhere}\n", encoding="utf-8")
    assert len(artifacts().images) == 32


def test_what_is_nowhere_is_one_message_with_what_to_run(project: Project):
    md5 = project.out("make_pseudo_labels", TABLE)
    project.stored(md5).unlink()
    revision = project.git("rev-parse", "HEAD")[:7]
    with pytest.raises(InputError) as raised:
        read_table(artifacts().file(TABLE), INSTANCES)
    assert str(raised.value) == (
        f"{TABLE} of {revision} (md5 {md5}) is not in the cache. Run `dvc push` where it was made, or make it again "
        f"in a clone: `git checkout {revision} && dvc repro make_pseudo_labels`."
    )
    configure_remote(project)
    with pytest.raises(InputError, match="is not in the cache or the remote 'storage'"):
        read_table(artifacts().file(TABLE), INSTANCES)


def test_a_remote_that_cannot_be_opened_is_one_message(project: Project):
    project.stored(project.out("make_pseudo_labels", TABLE)).unlink()
    (project.folder / ".dvc" / "config").write_text("['remote \"a\"']\n    url = nonsense://a\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"DVC cannot open .* Correct its configuration"):
        read_table(artifacts().file(TABLE), INSTANCES)


def test_a_folder_that_is_nowhere_is_one_message(project: Project):
    project.stored(project.out("make_pseudo_labels", PSEUDO_MAPS)).unlink()
    with pytest.raises(InputError, match=rf"{PSEUDO_MAPS} of \w+ \(md5 \w+\.dir\) is not in the cache"):
        artifacts().folder(PSEUDO_MAPS)


def test_a_damaged_listing_is_one_message(project: Project):
    project.stored(project.out("make_pseudo_labels", PSEUDO_MAPS)).write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(InputError, match=rf"The listing of {PSEUDO_MAPS} of .* is damaged"):
        artifacts().folder(PSEUDO_MAPS)


def test_what_was_made_from_other_labels_does_not_belong_to_a_version(project: Project):
    assert artifacts().has(EVOLUTION)
    ws.set_params("make_pseudo_labels.min_area_px=200")
    ws.run("make_pseudo_labels")
    project.commit("other maps", "make_pseudo_labels")
    found = artifacts()
    assert found.has(CLASSIFIER)
    assert not found.has(EVOLUTION)
    with pytest.raises(InputError, match=rf"has no {EVOLUTION}: the stage that writes it did not run on these labels"):
        found.file(EVOLUTION)


def test_an_image_comes_from_the_workspace_or_the_cache_and_must_be_the_indexed_one(project: Project):
    found = artifacts()
    record = next(iter(found.training_images))
    picture = found.picture(record)
    assert picture is not None
    assert picture.shape == (record.height, record.width, 3)
    path = Path("data/raw/generated") / record.path
    path.write_bytes(b"something else")
    np.testing.assert_array_equal(artifacts().picture(record), picture)
    project.stored(project.files_of("prepare", "data/raw/generated/JPEGImages")[path.name]).unlink()
    assert artifacts().picture(record) is None


def test_an_unknown_image_is_one_message_with_similar_names(project: Project):
    name = next(iter(artifacts().training_images)).image_id
    with pytest.raises(InputError, match=rf"has no image '{name}x'\. Did you mean {name}"):
        artifacts().record(f"{name}x")
    with pytest.raises(InputError, match=r"Its column image_id has the names\."):
        artifacts().record("?")


def test_hashes_are_those_of_dvc(project: Project):
    for path in (IMAGES, PSEUDO_MAPS, CLASSIFIER):
        assert md5_path(Path(path)) == artifacts().hashes[path]
    assert md5_path(Path("nowhere")) is None
