"""The workspace of a run: revisions, parameters, and the command that records a run."""

from pathlib import Path

import pytest
import yaml

from bestie.errors import InputError
from flows import workspace
from flows.lock_entries import format_lock_entries, outputs, parse_lock_entries
from tests import workspace as ws
from tests.clones import Clone

PROFILES = ws.ROOT / "profiles"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A git repository with two commits: `params.yaml` says 1, then 2; `dvc.lock` comes with the second."""
    made = Clone(tmp_path / "home" / "repository")
    made.folder.mkdir(parents=True)
    monkeypatch.chdir(made.folder)
    made.run("git", "init", "--quiet")
    for number in (1, 2):
        Path("params.yaml").write_text(f"value: {number}\n", encoding="utf-8")
        Path("code.py").write_text("", encoding="utf-8")
        if number == 2:
            Path("dvc.lock").write_text("stages: {}\n", encoding="utf-8")
        made.commit(f"number {number}")
    return made


def head(repository: Clone, revision: str = "HEAD") -> str:
    return repository.run("git", "rev-parse", revision).strip()


def test_a_revision_is_checked_out_off_any_branch(repository: Clone):
    first = workspace.resolve(repository.folder, "HEAD~1")
    workspace.checkout(repository.folder, first)
    assert head(repository) == first
    assert Path("params.yaml").read_text(encoding="utf-8") == "value: 1\n"


def test_a_revision_is_fetched_where_the_clone_does_not_have_it(repository: Clone, tmp_path: Path):
    other = Clone(tmp_path / "home" / "other")
    repository.run("git", "clone", "--quiet", ".", str(other.folder))
    Path("params.yaml").write_text("value: 3\n", encoding="utf-8")
    repository.commit("number 3")
    assert workspace.resolve(other.folder, head(repository)) == head(repository)


def test_an_option_is_no_revision(repository: Clone):
    with pytest.raises(InputError, match="there is no revision '--help'"):
        workspace.resolve(repository.folder, "--help")


def test_changes_that_are_not_committed_are_not_overwritten(repository: Clone):
    Path("code.py").write_text("change", encoding="utf-8")
    with pytest.raises(InputError, match=r"changes that are not committed \(code.py\)"):
        workspace.checkout(repository.folder, head(repository, "HEAD~1"))
    assert Path("code.py").read_text(encoding="utf-8") == "change"


def test_a_worker_gives_up_the_parameters_and_the_lock_of_its_last_run(repository: Clone):
    replaced = (workspace.LOCK, workspace.PARAMS)
    for number in (1, 2):  # the lock is tracked in the second commit alone
        Path("params.yaml").write_text("value: 5\n", encoding="utf-8")
        Path("dvc.lock").write_text("stages: {a: {}}\n", encoding="utf-8")
        commit = head(repository, "HEAD~1") if number == 1 else repository.run("git", "rev-parse", "master").strip()
        workspace.checkout(repository.folder, commit, replace=replaced)
        assert head(repository) == commit


def test_a_file_of_a_commit_is_read_without_a_checkout(repository: Clone):
    assert workspace.file_at(repository.folder, "HEAD~1", "params.yaml") == "value: 1\n"
    assert workspace.file_at(repository.folder, "HEAD~1", "dvc.lock") == ""


def test_the_line_that_records_a_run_does_so(repository: Clone):
    assert workspace.commit_command(repository.folder, "a run") is None
    Path("dvc.lock").write_text("stages: {a: {}}\n", encoding="utf-8")
    command = workspace.commit_command(repository.folder, "it's a run")
    assert command is not None
    repository.run("bash", "-c", command)
    assert repository.run("git", "log", "-1", "--format=%s").strip() == "it's a run"
    assert repository.run("git", "status", "--porcelain") == ""


def test_overrides_change_what_params_yaml_holds_and_keep_its_comment():
    text = (ws.ROOT / "params.yaml").read_text(encoding="utf-8")
    changed, changes = workspace.edit_params(text, PROFILES, None, ["train_bestie.epochs=3"])
    assert changes == [f"train_bestie.epochs: {yaml.safe_load(text)['train_bestie']['epochs']} -> 3"]
    assert changed.startswith(text.splitlines()[0])
    assert workspace.edit_params(changed, PROFILES, None, ["train_bestie.epochs=3"]) == (changed, [])


def test_a_profile_replaces_what_params_yaml_holds():
    before = (ws.ROOT / "params.yaml").read_text(encoding="utf-8")
    text, changes = workspace.edit_params(before, PROFILES, "smoke", ["train_bestie.epochs=3"])
    assert "bestie profile smoke" in text.splitlines()[0]
    values = yaml.safe_load(before)
    name, epochs = values["dataset"]["name"], values["train_bestie"]["epochs"]
    assert {f"dataset.name: {name} -> smoke", f"train_bestie.epochs: {epochs} -> 3"} <= set(changes)


def test_a_lock_survives_a_round_trip_and_its_outputs_are_listed():
    stages = {"prepare": {"cmd": "x", "outs": [{"path": "b", "md5": "2"}, {"path": "a", "md5": "1"}]}}
    assert parse_lock_entries(format_lock_entries(stages)) == stages
    assert outputs(stages, "prepare", "absent") == {"a": "1", "b": "2"}
