"""The graph of stages that flows take from DVC."""

from pathlib import Path

import pytest

from bestie.errors import InputError
from flows.graph import is_unchanged, load_graph, missing_inputs, remote_name, select
from tests import workspace as ws
from tests.clones import Clone


def test_stages_come_after_those_that_they_read_from():
    graph = load_graph(ws.ROOT)
    assert set(graph) == set(ws.STAGES)
    order = list(graph)
    for stage in graph.values():
        assert all(order.index(name) < order.index(stage.name) for name in stage.upstream)


def test_a_stage_knows_its_pool_its_description_and_what_it_reads_from_other_stages():
    entry, stage = ws.dvc_stages()["train_bestie"], load_graph(ws.ROOT)["train_bestie"]
    assert (stage.pool, stage.description) == (entry["meta"]["pool"], entry["desc"])
    assert set(stage.inputs) == {dep for dep in entry["deps"] if dep.startswith("data/")}
    assert {"make_pseudo_labels", "train_pam"} <= set(stage.upstream)


def test_targets_bring_all_that_they_are_made_from():
    graph = load_graph(ws.ROOT)
    assert set(select(graph, ["extract_cues"])) == {"prepare", "train_pam", "extract_cues"}
    assert list(select(graph, [])) == list(graph)


def test_an_unknown_target_is_refused_by_name():
    with pytest.raises(InputError, match=r"there is no stage 'train'; dvc.yaml has prepare, "):
        select(load_graph(ws.ROOT), ["train"])


def test_a_stage_without_a_known_pool_is_refused_by_name(clone: Clone):
    path = clone.folder / "dvc.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("{pool: cpu}", "{pool: tpu}", 1), encoding="utf-8")
    with pytest.raises(InputError, match=r"stage .prepare. has meta.pool 'tpu'; write"):
        load_graph(clone.folder)


def test_a_dvc_yaml_that_dvc_cannot_read_is_one_message(clone: Clone):
    (clone.folder / "dvc.yaml").write_text("stages: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"dvc.yaml: DVC cannot read it"):
        load_graph(clone.folder)


def test_the_graph_of_a_revision_is_not_that_of_the_workspace(clone: Clone):
    path = clone.folder / "dvc.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("{pool: cpu}", "{pool: gpu}", 1), encoding="utf-8")
    assert load_graph(clone.folder)["prepare"].pool == "gpu"
    assert load_graph(clone.folder, "HEAD")["prepare"].pool == "cpu"


@pytest.mark.parametrize("change", ["parameter", "code", "output"])
def test_a_stage_is_unchanged_until_something_of_it_changes(clone: Clone, change: str):
    assert is_unchanged(clone.folder, "import_wsss")
    if change == "parameter":
        clone.set_param("import_wsss", "source", "elsewhere")
    elif change == "code":
        with (clone.folder / "stages" / "import_wsss.py").open("a", encoding="utf-8") as module:
            module.write("\n")
    else:
        (clone.folder / "data" / "import_wsss" / "summary.parquet").unlink()
    assert not is_unchanged(clone.folder, "import_wsss")
    assert is_unchanged(clone.folder, "prepare")


def test_inputs_that_are_not_as_recorded_are_those_to_pull(clone: Clone):
    stage = load_graph(clone.folder)["make_pseudo_labels"]
    assert missing_inputs(clone.folder, stage) == []
    cues, maps = Path("data", "extract_cues", "cues.parquet"), Path("data", "import_wsss", "maps.zarr")
    (clone.folder / cues).unlink()
    assert missing_inputs(clone.folder, stage) == [str(cues)]
    (clone.folder / maps / "zarr.json").write_text("{}", encoding="utf-8")
    assert missing_inputs(clone.folder, stage) == [str(cues), str(maps)]
    clone.dvc("checkout", "--quiet", "--force", str(cues), str(maps))
    assert missing_inputs(clone.folder, stage) == []
    (clone.folder / "data" / "train_pam" / "history.parquet").unlink()  # none of its inputs
    assert missing_inputs(clone.folder, stage) == []


def test_the_default_remote_of_a_clone_is_known(clone: Clone, tmp_path: Path):
    assert remote_name(clone.folder) is None
    clone.dvc("remote", "add", "--default", "storage", str(tmp_path))
    assert remote_name(clone.folder) == "storage"
