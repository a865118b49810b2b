"""`bestie audit`: the commands, their JSON output and their exit statuses."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from bestie.artifacts.schemas import COMPONENTS as COMPONENTS_SCHEMA
from bestie.artifacts.tables import iter_rows
from bestie.audit.printing import MAX_CAUSES
from bestie.audit.sources import COMPONENTS
from bestie.cli import app as cli
from bestie.cli import audit_command
from bestie.cli.completion import complete_version
from tests import workspace as ws
from tests.audit_project import LABELS, Project, write_maps_of_before


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_command.console, "width", 200)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["audit", *arguments], catch_exceptions=False)


def call(*arguments: str) -> str:
    found = invoke(*arguments)
    assert found.exit_code == 0, found.output
    return found.stdout


def read(*arguments: str) -> dict | list:
    return json.loads(call(*arguments, "--json"))


@pytest.fixture
def two_versions(project: Project) -> Project:
    """A second version that accepts fewer components."""
    ws.set_params("make_pseudo_labels.min_area_px=200")
    ws.run("make_pseudo_labels")
    project.commit("larger ones", "make_pseudo_labels")
    return project


def test_log_prints_each_version_with_its_cause_counts_and_origin(two_versions: Project):
    printed = call("log", "--stage", "make_pseudo_labels")
    first, second = printed.strip().split("\n\n")
    assert first.startswith("version ")
    assert "(main)" in first
    assert "Ada Example" in first
    assert "make_pseudo_labels.min_area_px: 10 -> 200" in first
    assert "first version" in second
    for paragraph in (first, second):
        assert all(
            word in paragraph for word in ("data ", "classifier ", "cues ", "wsss ", " of 24 images", "precision")
        )


def test_log_prints_a_line_a_version(two_versions: Project):
    header, *lines = call("log", "--oneline").splitlines()
    assert header.split()[:4] == ["version", "at", "date", "labels"]
    assert [line.split(": ")[0].split()[-1] for line in lines] == ["make_pseudo_labels"] * 2 + ["export_mrcnn"]
    assert len(call("log", "--oneline", "--limit", "1").splitlines()) == 2


def test_log_gives_json(two_versions: Project):
    newest, first = read("log", "--stage", "make_pseudo_labels")
    assert newest["before"] == first["version"]
    assert [cause["name"] for cause in newest["causes"]] == ["make_pseudo_labels.min_area_px"]
    assert newest["counts"]["instances"] < first["counts"]["instances"]
    assert (newest["author"], newest["subject"], newest["names"]) == ("Ada Example", "larger ones", ["main"])
    assert set(newest["upstream"]) == {"data", "classifier", "cues", "wsss"}


def test_log_without_any_version_says_how_to_begin(workspace: Path):
    Project(workspace).commit("nothing yet")
    assert "There is no version yet: run `dvc repro`" in call("log")
    assert read("log") == []


def test_diff_prints_why_and_what_by_class_and_image(two_versions: Project):
    printed = call("diff", "HEAD~1", "HEAD", "--images", "2")
    assert "make_pseudo_labels.min_area_px: 10 -> 200" in printed
    assert "of 24 images have changed labels" in printed
    assert printed.count(" vanished") >= 3  # the column, and two images


def test_diff_compares_with_the_workspace_by_default_and_gives_json(two_versions: Project):
    found = read("diff", "HEAD~1")
    assert found["after"]["revision"] == "workspace"
    assert found["total"]["vanished"] > 0
    assert found["total"]["vanished"] == sum(counts["vanished"] for counts in found["by_class"].values())
    assert found["largest"][0]["instances"][0]["change"]
    assert not found["equal"]


def test_diff_exits_with_1_only_if_asked_to_and_if_labels_differ(two_versions: Project):
    assert invoke("diff", "HEAD~1", "HEAD").exit_code == 0
    assert invoke("diff", "HEAD~1", "HEAD", "--exit-code").exit_code == 1
    assert invoke("diff", "HEAD", "workspace", "--exit-code").exit_code == 0
    assert "Both versions hold the same labels." in call("diff", "HEAD", "workspace")


def test_diff_says_where_only_maps_differ(project: Project):
    write_maps_of_before()
    project.commit("as the maps were before", "make_pseudo_labels")
    printed = call("diff", "HEAD~1", "HEAD")
    assert "The masks are the same, but these differ: data/make_pseudo_labels/maps.zarr." in printed
    assert invoke("diff", "HEAD~1", "HEAD", "--exit-code").exit_code == 1


def test_of_many_causes_the_first_are_printed_and_json_has_all(project: Project):
    deps = [dep for dep in ws.dvc_stages()["make_pseudo_labels"]["deps"] if dep.endswith(".py")]
    for name in [*deps, *(str(path) for path in Path("bestie/artifacts").glob("*.py"))]:
        Path(name).write_text(Path(name).read_text(encoding="utf-8") + "\n", encoding="utf-8")
    ws.set_params("make_pseudo_labels.min_area_px=200", "extract_cues.max_per_class=20", "train_pam.seed=1")
    ws.run("make_pseudo_labels")
    project.commit("other code", *LABELS)
    causes = json.loads(call("diff", "HEAD~1", "HEAD", "--json"))["causes"]
    assert len(causes) > MAX_CAUSES
    printed = call("diff", "HEAD~1", "HEAD")
    assert " more (--json lists all)" in printed
    assert MAX_CAUSES <= sum(each["name"] in printed for each in causes) < len(causes)


def test_diff_draws_the_images_with_the_largest_change(two_versions: Project, tmp_path: Path):
    path = tmp_path / "changes.png"
    assert f"picture: {path}" in call("diff", "HEAD~1", "HEAD", "--images", "2", "--picture", str(path))
    call("diff", "HEAD~1", "HEAD", "--images", "1", "--picture", str(tmp_path / "one.png"))
    heights = [np.array(Image.open(each)).shape[0] for each in (path, tmp_path / "one.png")]
    assert heights[0] > heights[1] + 200


def an_image() -> str:
    return next(row["image_id"] for row in iter_rows(Path(COMPONENTS), COMPONENTS_SCHEMA) if row["instance_id"])


def test_show_prints_reasons_and_writes_a_picture(project: Project):
    image_id = an_image()
    printed = call("show", "HEAD", image_id)
    path = Path(next(line for line in printed.splitlines() if line.startswith("picture: ")).removeprefix("picture: "))
    assert path.parent == Path(".bestie/audit")
    assert np.array(Image.open(path)).ndim == 3
    assert "accepted: exactly one cue" in printed
    assert "pseudo labels " in printed


def test_show_gives_json_and_takes_a_path(project: Project, tmp_path: Path):
    found = read("show", "workspace", an_image(), "--output", str(tmp_path / "life.png"))
    assert found["picture"] == str(tmp_path / "life.png")
    assert (tmp_path / "life.png").is_file()
    assert found["components"][0]["reason"]
    assert found["cues"][0]["score"] > 0
    assert found["instances"]["pseudo labels"][0]["rle"]
    assert found["verdicts"].keys() == set(found["image"]["labels"])


def test_verify_says_that_nothing_is_wrong(project: Project):
    assert "nothing is wrong" in call("verify", "HEAD")


def test_verify_exits_with_1_and_names_what_is_wrong(project: Project):
    stored = project.stored(project.out("make_pseudo_labels", COMPONENTS))
    stored.write_bytes(stored.read_bytes()[:-1])
    found = invoke("verify", "HEAD")
    assert found.exit_code == 1
    assert f"{COMPONENTS}: its bytes are not those that were written" in found.stdout
    assert "findings" in found.stdout
    found = invoke("verify", "HEAD", "--json")
    assert found.exit_code == 1
    findings = json.loads(found.stdout)["findings"]
    assert COMPONENTS in {each["path"] for each in findings}


def test_versions_are_completed(project: Project, monkeypatch: pytest.MonkeyPatch):
    assert complete_version("wo") == ["workspace"]
    assert "main" in complete_version("")
    monkeypatch.chdir("/")
    assert complete_version("") == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("audit diff HEAD wo", "workspace"),
        ("report --against ma", "main"),
        ("audit log --stage exp", "export_mrcnn"),
        ("audit show HEAD shapes_00000", "shapes_000001"),
    ],
)
def test_the_shell_completes_versions_stages_and_images(project: Project, typed: str, offered: str):
    words = f"bestie {typed}"
    environment = {"_BESTIE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    found = CliRunner().invoke(cli.app, [], prog_name="bestie", env=environment)
    assert offered in found.stdout.split()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diff", "nowhere", "HEAD"], "bestie: 'nowhere' is no branch, tag, commit, experiment or version hash"),
        (["show", "HEAD", "nobody"], "bestie: data/prepare/images.parquet of "),
        (["log", "--stage", "evaluate"], "bestie: The stage 'evaluate' writes no labels."),
        (["verify", "HEAD", "--stage", "prepare"], "bestie: The stage 'prepare' writes no labels."),
    ],
)
def test_bad_input_is_one_message(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    message: str,
):
    monkeypatch.setattr(sys, "argv", ["bestie", "audit", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(message)
    assert len(stderr.splitlines()) == 1
