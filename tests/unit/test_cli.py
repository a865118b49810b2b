"""The `bestie` command."""

import errno
import io
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file
from typer.testing import CliRunner

from bestie.artifacts.paths import PROFILES
from bestie.artifacts.weights import load_weights
from bestie.cli import app as cli
from bestie.cli import audit_command, labels_command
from bestie.cli.profile_command import set_profile
from bestie.errors import InputError
from tests import workspace as ws
from tests.audit_project import Project

COMMANDS = (
    "profile",
    "init",
    "summary",
    "upper-bound",
    "weights export",
    "weights pack",
    "repair",
    "report",
    "tables",
    "export",
    "predict",
    "evaluate",
    "audit log",
    "audit diff",
    "audit show",
    "audit verify",
    "labels import",
)
RUN_STAGE = "Run the stage that writes it"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the profiles of the repository."""
    monkeypatch.chdir(tmp_path)
    Path("profiles").symlink_to(ws.ROOT / "profiles")
    return tmp_path


def call(*arguments: str) -> str:
    found = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_profile_lists_the_profiles(folder: Path, capsys: pytest.CaptureFixture):
    lines = call("profile").splitlines()
    assert lines[0].split()[0] == "shapes"
    assert any(line.startswith("smoke ") and "32 tiny images" in line for line in lines)
    assert not Path("params.yaml").exists()


def test_profile_writes_parameters_and_says_what_changed(folder: Path):
    call("profile", "shapes")
    output = call("profile", "smoke", "--set", "train_bestie.epochs=3")
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    assert (values["train_bestie"]["epochs"], values["dataset"]["name"]) == (3, "smoke")
    assert "dataset.name" in output
    assert "train_mrcnn.proposals" in output
    assert "…" not in output  # whole, also where there is no terminal
    assert "params.yaml is already profile smoke" in call("profile", "smoke", "--set", "train_bestie.epochs=3")


def test_a_narrow_terminal_shows_whole_keys(folder: Path):
    call("profile", "shapes")
    printed = io.StringIO()
    console = Console(width=60, file=printed)
    set_profile("smoke", (), profiles=PROFILES, check=True, as_json=False, console=console)
    keys = [each["parameter"] for each in json.loads(call("profile", "smoke", "--check", "--json"))["changes"]]
    assert max(map(len, keys)) > 30
    assert all(f" {key} " in printed.getvalue() for key in keys)


def test_the_version_is_that_of_the_package():
    assert call("--version").strip() == version("bestie-pipeline")


def test_profile_can_only_look(folder: Path):
    call("profile", "shapes")
    before = Path("params.yaml").read_bytes()
    assert "dataset.name" in call("profile", "smoke", "--check")
    assert Path("params.yaml").read_bytes() == before


def test_a_check_says_what_a_run_would_miss(folder: Path):
    said = call("profile", "smoke", "--check", "--set", "train_bestie.backbone.weights=none.pth")
    assert "train_bestie.backbone.weights: there is no file none.pth yet" in said
    assert "none.pth yet" not in call("profile", "smoke", "--set", "train_bestie.backbone.weights=none.pth")


@pytest.mark.parametrize("content", [b"", b"dataset: [", b"\xff"])
def test_profile_replaces_parameters_that_cannot_be_read(folder: Path, content: bytes):
    Path("params.yaml").write_bytes(content)
    remark = "the params.yaml that was here held no readable parameters: all values count as changed"
    assert json.loads(call("profile", "smoke", "--check", "--json"))["remarks"] == [remark]
    assert Path("params.yaml").read_bytes() == content
    assert remark in call("profile", "smoke")
    assert "params.yaml is already profile smoke" in call("profile", "smoke")


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
        (["profile", "--set", "train_bestie.epochs=3"], "bestie: --set needs the name of a profile"),
        (["profile", "--check"], "bestie: --check needs the name of a profile"),
        (["summary"], f"bestie: data/evaluate/metrics.json does not exist. {RUN_STAGE}: `dvc repro evaluate`."),
        (["report"], f"bestie: data/prepare/images.parquet does not exist. {RUN_STAGE}: `dvc repro prepare`."),
        (["predict", "no.jpg"], "bestie: no.jpg does not exist. Correct the path."),
        (["tables", "smoke", "--definition", "no.yaml"], "bestie: no.yaml: no such file; correct its path, or restore"),
        (["weights", "export", "nowhere.zarr", "a.safetensors"], "bestie: nowhere.zarr does not exist"),
        (["upper-bound"], "bestie: params.yaml: no such file"),
        (["tables", "smoke", "--table", "table7", "--out", "profiles/smoke.yaml"], "bestie: profiles/smoke.yaml is"),
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


@pytest.mark.parametrize(("marker", "name"), [("annotations", "instances_gone.json"), ("ImageSets", "gone.txt")])
def test_a_list_that_is_not_there_has_the_remedy_of_the_command(folder: Path, marker: str, name: str):
    Path("set", marker).mkdir(parents=True)
    Path("found.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=rf"{name}.* Correct the path of the data set or --list"):
        call("evaluate", "found.json", "set", "--list", "gone")


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
        ["audit", "diff", "HEAD", "workspace", "--picture"],
        ["audit", "show", "workspace", "smoke_000000", "--output"],
    ],
)
def test_a_folder_is_never_replaced_by_a_file(project: Project, tmp_path: Path, arguments: list[str]):
    folder = tmp_path / "folder"
    (folder / "kept").mkdir(parents=True)
    with pytest.raises(InputError, match=f"{folder} is a folder"):
        call(*arguments, str(folder))
    assert (folder / "kept").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "coco", "data/make_pseudo_labels/instances.parquet"],
        ["export", "voc", "data/make_pseudo_labels/instances.parquet"],
        ["weights", "export", "data/train_bestie/network.zarr"],
        ["report", "--images", "1", "--out"],
    ],
)
def test_nothing_is_written_below_a_file(finished_run: Path, arguments: list[str]):
    with pytest.raises(InputError, match=r"params\.yaml is no folder, so nothing can lie below it"):
        call(*arguments, "params.yaml/new")


def test_the_command_is_installed_and_starts_without_large_libraries():
    command = Path(sys.executable).with_name("bestie")
    ended = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert all(name.split()[0] in ended.stdout for name in COMMANDS)
    slow = ("torch", "numpy", "pyarrow", "dvc")
    code = f"import sys, bestie.cli.app; sys.exit(any(each in sys.modules for each in {slow}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "modules",
    ["bestie.audit.log, bestie.audit.printing, bestie.evaluation.scores, bestie.metrics", "bestie.audit.diff"],
)
def test_log_and_diff_start_without_what_they_do_not_need(modules: str):
    heavy = ("torch", "zarr", "dvc", "bestie.params")
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_and_json(command: str):
    text = call(*command.split(), "--help")
    assert f"Example: bestie {command}" in text
    assert "--json" in text


def test_every_command_is_among_those_that_are_looked_at():
    found = []
    for group, prefix in (
        (cli.app, ""),
        (cli.weights_app, "weights "),
        (audit_command.app, "audit "),
        (labels_command.app, "labels "),
    ):
        functions = [(each.name, each.callback) for each in group.registered_commands]
        found += [prefix + (name or function.__name__) for name, function in functions if function is not None]
    assert sorted(found) == sorted(COMMANDS)


def test_profiles_are_listed_and_their_changes_said_as_json(folder: Path):
    assert json.loads(call("profile", "--json"))[0] == "shapes"
    call("profile", "shapes")
    found = json.loads(call("profile", "smoke", "--set", "train_bestie.epochs=3", "--check", "--json"))
    assert (found["profile"], found["written"], found["remarks"]) == ("smoke", None, [])
    assert {"parameter": "dataset.name", "before": "shapes", "after": "smoke"} in found["changes"]
    assert json.loads(call("profile", "voc2012", "--json"))["written"] == "params.yaml"
    assert json.loads(call("profile", "voc2012", "--json"))["changes"] == []


def test_the_summary_as_json_has_scores_warnings_and_paths(finished_run: Path):
    found = json.loads(call("summary", "--since", "0", "--json"))
    assert found["metrics"]["bestie"].keys() >= {"map50", "coco_ap"}
    assert found["artifacts"]["evaluate"] == "data/evaluate/"
    assert Path(found["sheet"]).is_file()
    assert found["seconds"] > 0
    assert all(warning.keys() == {"stage", "what", "cause", "look_at"} for warning in found["warnings"])


def test_exported_weights_are_said_as_json(finished_run: Path, tmp_path: Path):
    target = tmp_path / "network.safetensors"
    found = json.loads(call("weights", "export", "data/train_bestie/network.zarr", str(target), "--json"))
    assert found["path"] == str(target)
    assert found["tensors"] == {name: list(tensor.shape) for name, tensor in load_file(target).items()}


def test_runs_of_tables_are_listed_without_running_them(folder: Path):
    rows = call("tables", "shapes", "--table", "figure7", "--list").splitlines()
    found = json.loads(call("tables", "shapes", "--table", "figure7", "--list", "--json"))
    assert rows[-1] == f"{len(found)} runs"
    assert rows[0] == f"{found[0]['run']}, seed 0; rows: {found[0]['rows']}"
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("arguments", "remarks"),
    [
        (
            ("voc_subset", "--table=table7", "--set=dataset.root=none", "--set=train_pam.backbone.weights=none.pth"),
            (
                "dataset.root: there is no folder none yet; ",
                "train_pam.backbone.weights: there is no file none.pth yet",
            ),
        ),
        (
            ("shapes", "--table", "figure7", "--set", "train_bestie.trained=a.pth"),
            ("train_bestie.trained: there is no",),
        ),
        (
            ("shapes", "--table", "table4", "--wsss", "RRM=none", "--list"),
            ("--wsss RRM=none: there is no folder none",),
        ),
    ],
)
def test_tables_whose_inputs_are_not_there_do_not_begin(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], remarks: tuple[str, ...]
):
    monkeypatch.delenv("BESTIE_WEIGHTS", raising=False)
    with pytest.raises(InputError) as error:
        call("tables", *arguments)
    assert [remark for remark in remarks if remark not in str(error.value)] == []
    assert not Path("data").exists()
    assert not Path(".bestie").exists()


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
@pytest.mark.parametrize("command", ["tables shapes --list", "upper-bound"])
def test_a_seed_that_no_training_takes_is_refused(folder: Path, command: str, seed: str):
    found = CliRunner().invoke(cli.app, [*command.split(), "--seed", seed])
    assert (found.exit_code, "Invalid value for '--seed'" in found.output) == (2, True)


def offered(typed: str) -> list[str]:
    """What a shell offers after what was typed."""
    words = f"bestie {typed}"
    place = len(words.split()) - (not words.endswith(" "))
    environment = {"_BESTIE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    return CliRunner().invoke(cli.app, [], prog_name="bestie", env=environment).stdout.split()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("profile sm", ["smoke"]),
        ("profile shapes --set train_pam.bat", ["train_pam.batch_size="]),
        ("init photos --like voc2", ["voc2012"]),
        ("tables voc_", ["voc_subset"]),
        ("tables shapes --table figure7", ["figure7"]),
        ("export co", ["coco", "coco-results"]),
        ("export voc data/export_", ["data/export_mrcnn/instances.parquet"]),
        ("export voc a b --split v", ["val"]),
        ("weights export data/train_p", ["data/train_pam/classifier.zarr"]),
        ("predict --model data/", ["data/train_bestie/network.zarr", "data/train_mrcnn/detector.zarr"]),
        ("evaluate data/train_m", ["data/train_mrcnn/detector.zarr"]),
        ("evaluate a b --categories kite,mi", ["kite,mill"]),
        ("predict photos/", []),  # the shell's own files
    ],
)
def test_the_shell_completes_names_of_the_project(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, expected: list[str]
):
    monkeypatch.chdir(tmp_path)
    Path("profiles").symlink_to(ws.ROOT / "profiles")
    Path("data").symlink_to(finished_run / "data")
    assert offered(typed) == expected


def test_classes_of_a_label_table_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("photos/labels.csv").write_text("file,labels\na.jpg,cat;dog\nb.jpg,cow\n", encoding="utf-8")
    assert offered("init photos --classes dog,c") == ["dog,cat", "dog,cow"]
    assert offered("init nowhere --classes c") == []


@pytest.mark.parametrize("typed", ["profile ", "profile a --set ", "export coco ", "evaluate a b --categories "])
def test_outside_of_a_project_nothing_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str):
    monkeypatch.chdir(tmp_path)
    assert offered(typed) == []
