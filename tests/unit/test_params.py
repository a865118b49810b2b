"""Parameters: typed and immutable; a wrong one is refused by name."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from bestie.artifacts.paths import GENERATED_ROOT
from bestie.errors import InputError
from bestie.params.dataset import Dataset
from bestie.params.evaluate import Evaluate
from bestie.params.extract_cues import ExtractCues
from bestie.params.params_yaml import Params, load_params
from bestie.params.prepare import Prepare, Shapes
from bestie.params.reading import parse, read_yaml
from bestie.params.train_pam import TrainPam
from tests import workspace as ws


def test_params_yaml_of_the_repository_is_valid():
    params = load_params(ws.ROOT / "params.yaml")
    assert params.dataset.root


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 1}, "missing key 'batch_size'; add it"),
        ({"epochs": 1, "batch_size": 2, "epoch": 3}, "unknown key 'epoch'; remove it"),
        ({"epochs": 1, "batch_size": 2, "optimizer": {"lr": 1}}, "unknown key 'optimizer.lr'"),
        ({"epochs": 1, "batch_sise": 2}, "unknown key 'batch_sise'; remove it or correct its spelling (did you mean"),
        ({"optimizer": {"learning_rat": 1}}, "(did you mean 'learning_rate'?)"),
        ({"alhpa": 0.5}, "(did you mean 'alpha'?)"),
        ({"epochs": 1.5, "batch_size": 2}, "epochs = 1.5: input should be a valid integer"),
        ({"epochs": 1, "batch_size": 2, "attention_layers": [3]}, "attention_layers.0 = 3"),
        ({"epochs": 1, "batch_size": 2, "backbone": {"output_stride": 4}}, "backbone.output_stride = 4"),
        (None, "expected keys with values, got None"),
        ([], "expected keys with values, got []"),
    ],
)
def test_a_problem_is_named_by_its_key(values: object, message: str):
    with pytest.raises(InputError) as error:
        parse(TrainPam, values, source="params.yaml: train_pam")
    assert str(error.value).startswith("params.yaml: train_pam: ")
    assert message in str(error.value)


def test_all_problems_are_named_at_once():
    with pytest.raises(InputError, match=r"unknown key 'one'.*; unknown key 'two'"):
        parse(Dataset, {"name": "a", "format": "voc", "root": "b", "one": 1, "two": 2}, source="here")


def test_parameters_cannot_be_changed():
    params = parse(TrainPam, {"epochs": 1, "batch_size": 2}, source="here")
    with pytest.raises(ValidationError, match="frozen"):
        params.epochs = 2


@pytest.mark.parametrize(("section", "key"), [(Evaluate, "instance_scales"), (ExtractCues, "scales")])
def test_scales_name_at_least_one_size(section: type, key: str):
    with pytest.raises(InputError, match=rf"{key} = \[\]: value error, must name at least one size"):
        parse(section, {key: []}, source="here")


@pytest.mark.parametrize("seed", [-1, 2**32])
@pytest.mark.parametrize(("section", "values"), [(Shapes, {}), (TrainPam, {"epochs": 1, "batch_size": 2})])
def test_a_seed_is_one_that_numpy_takes(section: type, values: dict, seed: int):
    assert parse(section, {**values, "seed": 2**32 - 1}, source="here").seed == 2**32 - 1
    with pytest.raises(InputError, match=rf"seed = {seed}: input should be "):
        parse(section, {**values, "seed": seed}, source="here")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "must name at least one class; null takes the format's own"),
        (["cat", "cat"], "must name each class once"),
        (["cat", " "], "must name each class once, and none by an empty name"),
    ],
)
def test_classes_have_a_name_each(names: list[str], message: str):
    with pytest.raises(InputError, match=rf"here: categories = .*: value error, {message}"):
        parse(Prepare, {"categories": names}, source="here")


def test_a_window_must_have_a_middle_pixel():
    with pytest.raises(InputError, match=r"grouping.window_px = 40: value error, must be odd"):
        parse(Evaluate, {"grouping": {"window_px": 40}}, source="here")


def test_thresholds_must_include_a_half():
    with pytest.raises(InputError, match=r"0\.5 must be among them"):
        parse(Evaluate, {"iou_thresholds": [0.25]}, source="here")


def test_generated_images_lie_elsewhere_than_their_generator():
    values = {"name": "a", "root": "b"}
    assert parse(Dataset, {**values, "format": "shapes"}, source="here").image_root == GENERATED_ROOT
    assert parse(Dataset, {**values, "format": "voc"}, source="here").image_root == Path("b")


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n"])
def test_a_file_without_sections_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="expected sections"):
        read_yaml(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not readable as YAML"):
        read_yaml(path)


def test_a_missing_section_is_named(tmp_path: Path):
    values = yaml.safe_load((ws.ROOT / "params.yaml").read_text(encoding="utf-8"))
    del values["extract_cues"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InputError, match="missing key 'extract_cues'"):
        load_params(path)


def test_every_section_of_a_stage_is_its_own_model():
    models = {name: field.annotation for name, field in Params.model_fields.items()}
    for stage in ws.STAGES:
        assert ws.stage_main(stage)[0] is models[stage]
