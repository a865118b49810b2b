"""`dvc.yaml` declares what stages import: DVC cannot see Python's imports, and would not rerun what has changed."""

import ast
from pathlib import Path

import pytest

from bestie.artifacts import corrections
from bestie.artifacts.paths import ARTIFACTS
from bestie.params.params_yaml import Params
from tests import workspace as ws
from tests.code_dependencies import covers, declared_code, imported_files, needless, undeclared


@pytest.mark.parametrize("stage", ws.STAGES)
def test_a_stage_declares_the_code_that_it_imports(stage: str):
    assert not undeclared(stage), f"dvc.yaml, stage {stage}: add to deps: {', '.join(sorted(undeclared(stage)))}"
    assert not needless(stage), f"dvc.yaml, stage {stage}: remove from deps: {', '.join(sorted(needless(stage)))}"


def test_no_module_calls_what_is_there_for_users():
    for path in [*(ws.ROOT / "bestie").rglob("*.py"), *(ws.ROOT / "stages").glob("*.py")]:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        whole = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        assert "bestie" not in whole, path
        assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "bestie"], path


def test_the_method_and_parameters_are_declared_file_by_file():
    folders = {each for stage in ws.STAGES for each in declared_code(stage) if not each.endswith(".py")}
    assert not [each for each in folders if each.startswith(("bestie/method", "bestie/params", "bestie/training"))]


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
    # Own maps are made only if import_wsss names no others.
    assert entry["params"] == ["dataset", stage, *(["import_wsss"] if stage in ("train_wsss", "make_wsss") else [])]
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
    assert data <= known | {str(corrections.FOLDER)}  # which people write


def test_only_evaluate_depends_on_the_truth():
    readers = {
        stage
        for stage, entry in ws.dvc_stages().items()
        for dep in entry["deps"]
        if "ground_truth" in dep or "SegmentationClass" in dep or "SegmentationObject" in dep
    }
    assert readers == {"evaluate"}


def test_imports_inside_functions_and_packages_count():
    files = imported_files("stages.prepare")
    assert {"stages/prepare.py", "bestie/runtime/stage.py", "bestie/datasets/coco.py"} <= files
    assert not any(file.startswith("bestie/training") for file in files)
    assert "bestie/artifacts/weights.py" in imported_files("bestie.evaluation.scores")  # imported by a function
    assert "bestie/runtime/__init__.py" not in files


def test_a_folder_covers_what_is_below_it_and_nothing_beside_it():
    assert covers("bestie/artifacts", "bestie/artifacts/maps.py")
    assert covers("bestie/errors.py", "bestie/errors.py")
    assert not covers("bestie/art", "bestie/artifacts/maps.py")
