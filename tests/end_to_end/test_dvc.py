"""The pipeline as its users run it: `dvc repro` in a clone, and what DVC says about it afterwards."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
import yaml

from tests import workspace as ws


class Clone:
    """A clone of the working tree with a run of the smoke profile in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BESTIE_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder.parent),
            "BESTIE_DEVICE": "cpu",
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{
                f"GIT_{role}_{key}": f"{key}@example.org"
                for role in ("AUTHOR", "COMMITTER")
                for key in ("NAME", "EMAIL")
            },
        }

    def run(self, *command: str) -> str:
        """Run a command in the clone; returns what it printed."""
        ended = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def dvc(self, *arguments: str) -> str:
        return self.run("dvc", *arguments)

    def json(self, *arguments: str) -> dict:
        return json.loads(self.dvc(*arguments, "--json"))

    def would_run(self, *options: str) -> set[str]:
        """The stages that `dvc repro` would run now."""
        return set(re.findall(r"Running stage '(\w+)'", self.dvc("repro", "--dry", *options)))

    def changed(self) -> set[str]:
        """The stages whose own parameters, code or data have changed."""
        return set(self.json("status"))

    def set_param(self, section: str, key: str, value: object) -> None:
        """Change one parameter by hand, as a user does with an editor."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        values[section][key] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def restore(self) -> None:
        """Everything as it was committed after the run."""
        self.run("git", "checkout", "--quiet", "--", ".")


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` ran once, committed."""
    clone = Clone(tmp_path_factory.mktemp("home") / "clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ws.ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ws.ROOT / name).is_file():
            (clone.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ws.ROOT / name, clone.folder / name)
    with chdir(clone.folder):
        ws.set_params()
    clone.run("git", "init", "--quiet")
    clone.dvc("repro")
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message", "a run of the smoke profile")
    return clone


@pytest.fixture
def clone(reproduced: Clone) -> Clone:
    """The clone as it was after its run."""
    reproduced.restore()
    return reproduced


def test_repro_runs_all_stages_and_git_keeps_no_artifact(clone: Clone):
    lock = yaml.safe_load((clone.folder / "dvc.lock").read_text(encoding="utf-8"))
    assert set(lock["stages"]) == set(ws.STAGES)
    tracked = clone.run("git", "ls-files", "data").split()
    assert tracked == ["data/raw/README.md"]


def test_a_second_repro_has_nothing_to_do(clone: Clone):
    assert clone.json("status") == {}
    assert clone.would_run() == set()
    assert "Data and pipelines are up to date" in clone.dvc("repro")


def test_processes_of_dvc_write_the_bytes_that_this_process_writes(clone: Clone, finished: Path):
    for stage in ws.STAGES:
        with chdir(clone.folder):
            theirs = ws.stage_digests(stage)
        with chdir(finished):
            assert ws.stage_digests(stage) == theirs, stage


def test_compiled_python_is_no_change(clone: Clone):
    cache = clone.folder / "bestie" / "datasets" / "shapes" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "scene.cpython-399.pyc").write_bytes(b"of another Python")
    try:
        assert clone.changed() == set()
    finally:
        (cache / "scene.cpython-399.pyc").unlink()


def test_a_parameter_of_evaluate_reruns_evaluate_alone(clone: Clone):
    clone.set_param("evaluate", "min_area_px", 12)
    assert clone.changed() == {"evaluate"}
    assert clone.would_run() == {"evaluate"}
    diff = clone.json("params", "diff")
    assert diff == {"params.yaml": {"evaluate.min_area_px": {"old": 9, "new": 12, "diff": 3}}}


def test_a_parameter_of_pseudo_labels_reruns_what_depends_on_them(clone: Clone):
    clone.set_param("make_pseudo_labels", "min_area_px", 11)
    assert clone.changed() == {"make_pseudo_labels"}
    # A dry run cannot know whether outputs will differ; this option asks for all that may.
    assert clone.would_run("--force-downstream") == {
        "make_pseudo_labels",
        "train_bestie",
        "export_mrcnn",
        "train_mrcnn",
        "evaluate",
    }


def test_a_change_of_code_reruns_the_stages_that_import_it(clone: Clone):
    module = clone.folder / "bestie" / "artifacts" / "coco_json.py"
    module.write_text(module.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert clone.changed() == {"export_mrcnn"}


def test_the_graph_has_the_edges_of_the_method(clone: Clone):
    graph = clone.dvc("dag", "--dot")
    edges = {tuple(line.replace('"', "").rstrip(";").split(" -> ")) for line in graph.splitlines() if "->" in line}
    assert {
        ("prepare", "train_pam"),
        ("train_pam", "extract_cues"),
        ("extract_cues", "make_pseudo_labels"),
        ("import_wsss", "make_pseudo_labels"),
        ("make_pseudo_labels", "train_bestie"),
        ("train_bestie", "export_mrcnn"),
        ("export_mrcnn", "train_mrcnn"),
        ("train_mrcnn", "evaluate"),
    } <= edges


def test_metrics_are_shown(clone: Clone):
    shown = clone.json("metrics", "show")
    data = {name: entry["data"] for name, entry in shown[""]["data"].items()}
    assert data["data/evaluate/metrics.json"]["bestie"].keys() >= {"map50", "coco_ap"}
    assert data["data/train_pam/metrics.json"]["val_map"] > 0


def test_all_plots_render_with_their_titles(clone: Clone, tmp_path: Path):
    clone.dvc("plots", "show", "--out", str(tmp_path))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    plots = yaml.safe_load((clone.folder / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    titles = [options["title"] for plot in plots for options in plot.values()]
    assert [title for title in titles if title not in page] == []
    assert page.count('"$schema"') == len(titles)
    assert "No data" not in page


def test_an_experiment_runs_and_compares_with_the_run_before(clone: Clone, tmp_path: Path):
    try:
        printed = clone.dvc("exp", "run", "--name", "larger", "--set-param", "evaluate.min_area_px=30")
        assert set(re.findall(r"Running stage '(\w+)'", printed)) == {"evaluate"}
        diff = clone.json("metrics", "diff")
        assert set(diff) <= {"data/evaluate/metrics.json"}
        shown = clone.dvc("exp", "show", "--csv")
        assert "larger" in shown
        clone.dvc("plots", "diff", "HEAD", "--out", str(tmp_path))
        assert "mAP by IoU threshold" in (tmp_path / "index.html").read_text(encoding="utf-8")
    finally:
        clone.restore()
        clone.dvc("checkout")
