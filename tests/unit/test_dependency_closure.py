"""`dvc.yaml` declares what stages import: DVC cannot see Python's imports, and would not rerun what has changed."""

from pathlib import Path

import pytest

from bestie.folders import ARTIFACTS
from bestie.params import Params
from tests import workspace as ws
from tests.closure import closure


def declared_code(stage: str) -> set[str]:
    return {dep for dep in ws.dvc_stages()[stage]["deps"] if dep.endswith(".py")}


@pytest.mark.parametrize("stage", ws.STAGES)
def test_a_stage_declares_the_code_that_it_imports(stage: str):
    imported, declared = closure(Path("stages") / f"{stage}.py"), declared_code(stage)
    missing, needless = sorted(imported - declared), sorted(declared - imported)
    assert not missing, f"dvc.yaml, stage {stage}: add to deps: {', '.join(missing)}"
    assert not needless, f"dvc.yaml, stage {stage}: remove from deps: {', '.join(needless)}"


def test_stages_modules_sections_and_folders_have_one_name_each():
    stages = tuple(ws.dvc_stages())
    assert stages == ws.STAGES
    assert {path.stem for path in (ws.ROOT / "stages").glob("[!_]*.py")} == set(stages)
    assert tuple(Params.model_fields) == ("dataset", *stages)
    assert tuple(ARTIFACTS) == stages
    for stage in stages:
        assert Path("data") / stage in {path.parent for path in ws.declared_outputs(stage)}


@pytest.mark.parametrize("stage", ws.STAGES)
def test_a_stage_is_described_and_has_its_command_parameters_and_pool(stage: str):
    entry = ws.dvc_stages()[stage]
    assert entry["cmd"] == f"python -m stages.{stage}"
    assert entry["params"] == ["dataset", stage]
    assert entry["meta"]["pool"] in ("cpu", "gpu")
    module = (ws.ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    assert entry["meta"].get("shards", False) == ("in_parts=True" in module)
    assert entry["desc"]


@pytest.mark.parametrize("stage", ws.STAGES)
def test_an_output_is_described_and_cached(stage: str):
    outputs = ws.dvc_stages()[stage]["outs"]
    plain = [out for out in outputs if isinstance(out, str) and not out.endswith((".json", ".csv"))]
    assert plain == [], "only small text files, whose names say it all, go without a description"
    described = [options for out in outputs if isinstance(out, dict) for options in out.values()]
    assert all(options.get("desc") and options.get("cache", True) for options in described)


@pytest.mark.parametrize("stage", ws.STAGES)
def test_a_stage_depends_on_outputs_of_stages_before_it(stage: str):
    before = ws.STAGES[: ws.STAGES.index(stage)]
    known = {str(path) for each in before for path in ws.declared_outputs(each)}
    data = {dep for dep in ws.dvc_stages()[stage]["deps"] if dep.startswith("data/")}
    assert data <= known


def test_only_evaluate_depends_on_the_truth():
    readers = {
        stage
        for stage, entry in ws.dvc_stages().items()
        for dep in entry["deps"]
        if "ground_truth" in dep or "SegmentationClass" in dep or "SegmentationObject" in dep
    }
    assert readers == {"evaluate"}


def test_the_closure_follows_imports_inside_functions_and_packages():
    code = closure(Path("stages/prepare.py"))
    assert {"stages/prepare.py", "bestie/stage.py", "bestie/datasets/coco.py", "bestie/artifacts/atomic.py"} <= code
    assert not any(name.startswith(("flows", "bestie/training")) for name in code)
