"""The `bestie` command."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from bestie import cli
from bestie.artifacts.weights import load_weights
from bestie.errors import InputError
from tests import workspace as ws

COMMANDS = ("profile", "init", "summary", "upper-bound", "weights", "report", "export", "predict", "evaluate")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the profiles of the repository."""
    monkeypatch.chdir(tmp_path)
    Path("profiles").symlink_to(ws.ROOT / "profiles")
    monkeypatch.setattr(cli.console, "width", 120)
    return tmp_path


def call(*arguments: str) -> str:
    found = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_profile_lists_the_profiles(folder: Path, capsys: pytest.CaptureFixture):
    assert call("profile").split()[0] == "shapes"
    assert not Path("params.yaml").exists()


def test_profile_writes_parameters_and_says_what_changed(folder: Path):
    call("profile", "shapes")
    output = call("profile", "smoke", "--set", "train_bestie.epochs=3")
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    assert (values["train_bestie"]["epochs"], values["dataset"]["name"]) == (3, "smoke")
    assert "dataset.name" in output
    assert "train_mrcnn.proposals" in output
    assert "params.yaml is already profile smoke" in call("profile", "smoke", "--set", "train_bestie.epochs=3")


def test_profile_can_only_look(folder: Path):
    call("profile", "shapes")
    before = Path("params.yaml").read_bytes()
    assert "dataset.name" in call("profile", "smoke", "--check")
    assert Path("params.yaml").read_bytes() == before


def test_profile_says_which_folders_are_missing(folder: Path):
    output = call("profile", "voc2012")
    assert "dataset.root: there is no folder data/raw/VOC2012 yet" in output
    assert "import_wsss.source: there is no folder data/raw/VOC2012/WSSS_maps yet" in output
    Path("data/raw/VOC2012/WSSS_maps").mkdir(parents=True)
    assert "there is no folder" not in call("profile", "voc2012")
    assert "there is no folder" not in call("profile", "shapes")


def test_summary_prints_the_last_run(finished_run: Path):
    assert "BESTIE" in call("summary")


def test_weights_are_exported_for_other_tools(finished_run: Path, tmp_path: Path):
    target = tmp_path / "network.safetensors"
    output = call("weights", "export", "data/train_bestie/network.zarr", str(target))
    tensors, _ = load_weights(Path("data/train_bestie/network.zarr"))
    exported = load_file(target)
    assert f"{len(tensors)} tensors" in output
    assert exported.keys() == tensors.keys()
    assert all(torch.equal(exported[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile", "nothing"], "bestie: profile 'nothing' does not exist"),
        (["profile", "smoke", "--set", "a"], "bestie: override 'a'"),
        (["summary"], "bestie: data/evaluate/metrics.json does not exist"),
        (["weights", "export", "nowhere.zarr", "a.safetensors"], "bestie: nowhere.zarr does not exist"),
        (["upper-bound"], "bestie: params.yaml: no such file"),
    ],
)
def test_bad_input_is_one_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, arguments: list[str], message: str
):
    monkeypatch.setattr(sys, "argv", ["bestie", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(message)
    assert len(stderr.splitlines()) == 1


def test_a_full_disk_is_one_message(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "argv", ["bestie", "profile", "smoke"])
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(os, "fsync", full)
        cli.main()
    assert capsys.readouterr().err.startswith("bestie: the disk is full; make room")
    assert [path.name for path in folder.iterdir()] == ["profiles"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "coco", "data/make_pseudo_labels/instances.parquet"],
        ["weights", "export", "data/train_bestie/network.zarr"],
        ["report", "--images", "1", "--out"],
    ],
)
def test_a_folder_is_never_replaced_by_a_file(finished_run: Path, tmp_path: Path, arguments: list[str]):
    (tmp_path / "kept").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="is a folder"):
        call(*arguments, str(tmp_path))
    assert (tmp_path / "kept").exists()


def test_the_command_is_installed_and_starts_without_large_libraries():
    command = Path(sys.executable).with_name("bestie")
    ended = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert all(name in ended.stdout for name in COMMANDS)
    code = "import sys, bestie.cli; sys.exit(any(each in sys.modules for each in ('torch', 'numpy', 'pyarrow', 'dvc')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "weights"])
def test_every_help_ends_with_an_example(command: str):
    text = call(command, "--help")
    assert f"Example: bestie {command}" in text
