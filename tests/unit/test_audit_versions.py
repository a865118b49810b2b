"""Versions are found by revision, hash, experiment or as the workspace, and listed by history."""

import subprocess
from pathlib import Path

import pytest

from bestie.audit.versions import LABEL_STAGES, WORKSPACE, History
from bestie.errors import InputError
from tests import workspace as ws
from tests.audit_project import LABELS, Project

PSEUDO, EXPORT = LABEL_STAGES


def change() -> None:
    """Run the label stage with another parameter, so that it writes fewer labels."""
    ws.set_params("make_pseudo_labels.min_area_px=200")
    ws.run("make_pseudo_labels")


def listed(stage: str = PSEUDO) -> list[tuple[str, str | None]]:
    return [(version.revision, before and before.revision) for version, before in History().log(stage)]


def test_a_version_is_found_by_every_name_that_it_has(project: Project):
    first = project.git("rev-parse", "HEAD")
    project.git("tag", "v1")
    change()
    project.commit("wider", PSEUDO)
    history = History()
    found = history.resolve("HEAD~1")
    assert (found.revision, found.stage, found.commit.subject) == (first[:7], PSEUDO, "a run")
    for name in ("v1", first, first[:8], "main~1", found.hash, found.hash[:5]):
        assert history.resolve(name).commit.sha == first
    assert history.resolve("main").hash == history.resolve(WORKSPACE).hash != found.hash


def test_a_hash_belongs_to_one_stage_and_a_name_to_both(project: Project):
    history = History()
    export = history.resolve("HEAD", EXPORT)
    assert history.resolve(export.hash).stage == EXPORT
    assert history.resolve("HEAD").stage == PSEUDO
    assert [version.stage for version in history.resolve_pair("HEAD", export.hash)] == [EXPORT, EXPORT]
    assert [version.stage for version in history.resolve_pair("HEAD", WORKSPACE)] == [PSEUDO, PSEUDO]


def test_an_experiment_is_found_by_its_name_and_comes_after_its_baseline(project: Project):
    change()
    sha = project.experiment("wider", PSEUDO)
    change_back = History().resolve("wider")
    assert (change_back.commit.sha, change_back.revision) == (sha, "wider")
    revisions = dict(listed())
    assert revisions["wider"] == project.git("rev-parse", "HEAD")[:7]


def test_references_that_dvc_keeps_for_itself_are_no_experiments(project: Project):
    change()
    sha = project.experiment("wider", PSEUDO)
    project.git("update-ref", "refs/exps/exec/EXEC_HEAD", sha)
    project.git("update-ref", "refs/exps/stash", sha)
    assert [name for name, _ in listed() if name not in (WORKSPACE, "wider")] == [project.git("rev-parse", "HEAD")[:7]]


def test_the_log_has_a_commit_only_where_the_labels_changed(project: Project):
    first = project.git("rev-parse", "HEAD")[:7]
    Path("README.md").write_text("text", encoding="utf-8")
    project.commit("a text")
    ws.set_params("evaluate.min_area_px=12")
    project.commit("another stage", "evaluate")
    change()
    last = project.commit("wider", PSEUDO)[:7]
    assert listed() == [(last, project.git("rev-parse", "HEAD~1")[:7]), (first, None)]
    assert listed(EXPORT) == [(first, None)]


def test_labels_of_an_older_version_that_come_back_have_its_hash(project: Project):
    project.git("tag", "first")
    change()
    project.commit("wider", PSEUDO)
    ws.set_params()
    ws.run("make_pseudo_labels")
    project.commit("as before", PSEUDO)
    hashes = [version.hash for version, _ in History().log(PSEUDO)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_version_on_another_branch_is_listed(project: Project):
    project.git("checkout", "--quiet", "-b", "side")
    change()
    side = project.commit("wider", PSEUDO)[:7]
    project.git("checkout", "--quiet", "main")
    assert side in dict(listed())


def test_the_workspace_comes_first_while_it_differs_from_head(project: Project):
    head = project.git("rev-parse", "HEAD")[:7]
    change()
    project.record(PSEUDO)
    assert listed()[0] == (WORKSPACE, head)
    project.commit("wider")
    assert WORKSPACE not in dict(listed())


def test_a_file_that_was_edited_makes_another_version_of_the_workspace(project: Project):
    path = Path("data/make_pseudo_labels/components.parquet")
    path.write_bytes(path.read_bytes() + b" ")
    found = History().resolve(WORKSPACE)
    assert list(found.edited) == [str(path)]
    assert found.hash != History().resolve("HEAD").hash


def test_a_commit_whose_lock_cannot_be_read_is_passed_over_and_named(project: Project):
    first = project.git("rev-parse", "HEAD")[:7]
    good = Path("dvc.lock").read_bytes()
    Path("dvc.lock").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    bad = project.commit("conflict")[:7]
    Path("dvc.lock").write_bytes(good)
    project.commit("solved")
    history = History()
    assert first in [version.revision for version, _ in history.log(PSEUDO)]
    assert any(bad in problem for problem in history.skipped)
    with pytest.raises(InputError, match=f"dvc.lock of {bad} is no dvc.lock"):
        history.resolve(bad)


def test_names_for_completion_are_all_resolved(project: Project):
    change()
    project.experiment("wider", PSEUDO)
    history = History()
    names = history.names()
    assert {WORKSPACE, "HEAD", "main", "wider", history.resolve("HEAD", EXPORT).hash} <= set(names)
    assert all(history.resolve(name) for name in names)


def test_a_project_in_a_folder_of_a_repository_has_its_own_versions(project: Project):
    inner = project.folder / "inner"
    inner.mkdir()
    (project.folder / "dvc.lock").rename(inner / "dvc.lock")
    sha = project.commit("moved into a folder")
    assert [version.revision for version, _ in History(inner).log(EXPORT)] == [sha[:7]]
    assert History(inner).resolve("HEAD").hash == History().resolve("HEAD~1").hash


@pytest.mark.parametrize(
    ("text", "stage", "message"),
    [
        ("nowhere", None, "'nowhere' is no branch, tag, commit, experiment or version hash, nor 'workspace'"),
        ("--all", None, "'--all' is no branch"),
        ("12", None, "'12' is no branch"),
        ("HEAD", "evaluate", "The stage 'evaluate' writes no labels. Take one of: make_pseudo_labels, export_mrcnn"),
        ("empty", None, "has no dvc.lock: no run was committed there"),
        ("half", EXPORT, "has no run of export_mrcnn in its dvc.lock"),
    ],
)
def test_what_cannot_be_resolved_is_one_message(workspace: Path, text: str, stage: str | None, message: str):
    made = Project(workspace)
    made.commit("no run yet")
    made.git("tag", "empty")
    made.commit("labels", *LABELS)
    made.git("tag", "half")
    with pytest.raises(InputError) as raised:
        History().resolve(text, stage)
    assert message in str(raised.value)


def test_a_workspace_without_a_run_says_what_to_run(workspace: Path):
    made = Project(workspace)
    with pytest.raises(InputError, match=r"There is no dvc\.lock, .* Run `dvc repro`\."):
        History().resolve(WORKSPACE)
    assert list(History().log(PSEUDO)) == []
    made.record("prepare")
    with pytest.raises(InputError, match=r"dvc\.lock has no run of make_pseudo_labels\. Run `dvc repro make_"):
        History().resolve(WORKSPACE)


def test_a_folder_without_git_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match="is in no git repository"):
        History(tmp_path)


def test_what_git_refuses_is_said_in_its_words(tmp_path: Path):
    (tmp_path / ".git").write_text("gitdir: nowhere/at/all\n", encoding="utf-8")
    (tmp_path / "config").write_text("[core\n", encoding="utf-8")
    with pytest.raises(InputError, match="is in no git repository"):
        History(tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path / "broken")], check=True)
    (tmp_path / "broken" / ".git" / "config").write_text("[core\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"git cannot be used in .*broken: fatal: bad config line 1"):
        History(tmp_path / "broken")


def test_the_beginning_of_several_hashes_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch):
    change()
    project.commit("wider", PSEUDO)
    monkeypatch.setattr("bestie.audit.versions.MIN_HASH_DIGITS", 0)
    with pytest.raises(InputError, match=r"'' is the beginning of several versions: .* Give more digits\."):
        History().resolve("")
