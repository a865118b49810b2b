"""Profiles: overlays on the default, written out in full."""

from pathlib import Path

import pytest
import yaml

from bestie.errors import InputError
from bestie.params.params_yaml import load_params
from bestie.project.profiles import changes, compose, overlay, profile_names, write_params
from tests import workspace as ws

PROFILES = ws.ROOT / "profiles"


@pytest.mark.parametrize("name", profile_names(PROFILES))
def test_a_profile_makes_valid_parameters(tmp_path: Path, name: str):
    path = tmp_path / "params.yaml"
    values = compose(name, folder=PROFILES)
    write_params(path, name, values)
    assert load_params(path).model_dump(mode="json") == values
    assert f"bestie profile {name}" in path.read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("name", profile_names(PROFILES))
def test_a_profile_says_what_it_is_and_how_to_run_it(name: str):
    about, run, *_ = (PROFILES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert about.startswith("# ")
    assert run.startswith(f"# run: bestie profile {name} && dvc repro")


def test_the_default_profile_comes_first():
    assert profile_names(PROFILES)[0] == "shapes"
    assert "smoke" in profile_names(PROFILES)


def test_a_fresh_clone_has_the_parameters_of_the_demo():
    assert load_params(ws.ROOT / "params.yaml").model_dump(mode="json") == compose("demo", folder=PROFILES)


def test_overlays_merge_mappings_and_replace_the_rest():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert overlay(base, {"a": {"c": [4]}, "e": {"f": 5}}) == {"a": {"b": 1, "c": [4]}, "d": 3, "e": {"f": 5}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


def test_overrides_come_last():
    values = compose(
        "smoke",
        folder=PROFILES,
        overrides=["train_bestie.epochs=7", "evaluate.grouping.threshold=0.3", "train_bestie.epochs=8"],
    )
    assert values["train_bestie"]["epochs"] == 8
    assert values["evaluate"]["grouping"] == {"window_px": 9, "threshold": 0.3}
    assert values["prepare"]["shapes"]["num_train"] == 24


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train_bestie.epochs", "write section.key=value"),
        ("=3", "write section.key=value"),
        ("train_bestie.epochs=[1", "override 'train_bestie.epochs=[1': '[1' is no YAML value"),
        ("train_bestie.epoch=3", "unknown key 'train_bestie.epoch'"),
        ("train_bestie.epochs=", "train_bestie.epochs = None"),
        ("trainbestie.epochs=3", "unknown key 'trainbestie'"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str):
    with pytest.raises(InputError) as error:
        compose("smoke", folder=PROFILES, overrides=[override])
    assert message in str(error.value)


def test_an_unknown_profile_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"profile 'smoek' does not exist in .*; choose one of shapes, "):
        compose("smoek", folder=PROFILES)


def test_changes_are_named_in_full():
    before, after = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}
    assert changes(before, after) == [("a.c", 2, 4), ("d", 3, None), ("e", None, 5)]


def test_the_file_keeps_the_order_of_the_pipeline(tmp_path: Path):
    path = tmp_path / "params.yaml"
    write_params(path, "smoke", compose("smoke", folder=PROFILES))
    assert tuple(yaml.safe_load(path.read_text(encoding="utf-8"))) == ("dataset", *ws.STAGES)
