"""The pipeline as its users run it: `dvc repro` in a clone, and what DVC says about it afterwards."""

import re
from contextlib import chdir
from pathlib import Path

import pytest
import yaml

from tests import workspace as ws
from tests.clones import Clone


@pytest.fixture
def clone(reproduced: Clone) -> Clone:
    """The clone as it was after its run."""
    reproduced.restore()
    return reproduced


def test_repro_runs_all_stages_and_git_keeps_no_artifact(clone: Clone):
    lock = yaml.safe_load((clone.folder / "dvc.lock").read_text(encoding="utf-8"))
    assert set(lock["stages"]) == set(ws.STAGES)
    tracked = clone.run("git", "ls-files", "data").split()
    assert tracked == ["data/raw/README.md", "data/raw/corrections/README.md"]


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


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("method/refinement.py", {"train_bestie"}),
        ("params/evaluate.py", {"evaluate"}),
        ("datasets/voc.py", {"prepare", "import_wsss"}),
        ("artifacts/coco_json.py", set(ws.STAGES)),
        ("report/page.py", set()),
    ],
)
def test_a_change_of_code_reruns_the_stages_that_depend_on_it(clone: Clone, module: str, stages: set[str]):
    path = clone.folder / "bestie" / module
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\n", encoding="utf-8")
    changed = clone.changed()
    path.write_text(text, encoding="utf-8")
    assert changed == stages


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
    assert data["data/evaluate/scores.json"].keys() >= {"network_map50", "mrcnn_map50", "semantic_miou"}
    assert sum(len(each) for each in data.values()) <= 11
    assert data["data/train_pam/metrics.json"]["val_map"] > 0


def test_all_plots_render_with_their_titles(clone: Clone, tmp_path: Path):
    clone.dvc("plots", "show", "--out", str(tmp_path))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    plots = yaml.safe_load((clone.folder / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    titles = [options["title"] for plot in plots for options in plot.values()]
    assert [title for title in titles if title not in page] == []
    assert page.count('"$schema"') == len(titles)
    assert "No data" not in page


@pytest.mark.slow  # six DVC commands
def test_an_experiment_runs_and_compares_with_the_run_before(clone: Clone, tmp_path: Path):
    try:
        printed = clone.dvc("exp", "run", "--name", "larger", "--set-param", "evaluate.min_area_px=30")
        assert set(re.findall(r"Running stage '(\w+)'", printed)) == {"evaluate"}
        diff = clone.json("metrics", "diff")
        assert set(diff) <= {"data/evaluate/scores.json"}
        shown = clone.dvc("exp", "show", "--csv")
        assert "larger" in shown
        clone.dvc("plots", "diff", "HEAD", "--out", str(tmp_path))
        assert "mAP by IoU threshold" in (tmp_path / "index.html").read_text(encoding="utf-8")
    finally:
        clone.restore()
        clone.dvc("checkout")
