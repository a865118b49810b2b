"""Settings: only from the environment, with messages that name the variable."""

from pathlib import Path

import pytest
import torch

from bestie.errors import InputError
from bestie.runtime.settings import Settings, load_settings
from bestie.training.train import MAX_WORKERS, loader_workers


def test_without_variables_the_defaults_hold(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BESTIE_DEVICE", raising=False)
    assert load_settings() == Settings()


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch):
    variables = {
        "DEVICE": "cuda:1",
        "WORKERS": "3",
        "CHECKPOINT_MINUTES": "0.5",
        "STATE": "elsewhere",
        "PROGRESS": "json",
        "COMPILE": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"BESTIE_{name}", value)
    settings = load_settings()
    assert (settings.device, settings.workers, settings.checkpoint_minutes) == ("cuda:1", 3, 0.5)
    assert (settings.state, settings.json_progress, settings.compile) == (Path("elsewhere"), True, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("BESTIE_WORKERS", "1.5"), ("BESTIE_WORKERS", "-1"), ("BESTIE_CHECKPOINT_MINUTES", "soon")],
)
def test_what_is_no_number_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"{name}='{value}'.*correct it"):
        load_settings()


def test_a_switch_is_0_or_1(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BESTIE_COMPILE", "0")
    assert load_settings().compile is False
    monkeypatch.setenv("BESTIE_COMPILE", "yes")
    with pytest.raises(InputError, match=r"BESTIE_COMPILE='yes'.*0 or 1"):
        load_settings()


@pytest.mark.parametrize("text", ["", "foo", "JSON"])
def test_progress_is_a_bar_or_json(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("BESTIE_PROGRESS", "bar")
    assert load_settings().json_progress is False
    monkeypatch.setenv("BESTIE_PROGRESS", text)
    with pytest.raises(InputError, match=f"BESTIE_PROGRESS='{text}': expected bar or json; .*correct it"):
        load_settings()


@pytest.mark.parametrize(("text", "part", "parts"), [("2/4", 2, 4), ("4", 0, 4), ("1/1", 1, 1)])
def test_a_part_of_several_or_all_to_join(monkeypatch: pytest.MonkeyPatch, text: str, part: int, parts: int):
    monkeypatch.setenv("BESTIE_PARTS", text)
    settings = load_settings()
    assert (settings.part, settings.parts) == (part, parts)
    assert settings.joins == (part == 0)


@pytest.mark.parametrize("text", ["", "0", "0/4", "5/4", "-1/4", "1/", "/4", "1/2/3", "two", "1 / 2", "99999"])
def test_what_is_no_part_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("BESTIE_PARTS", text)
    with pytest.raises(InputError, match=f"BESTIE_PARTS='{text}'.*2/4 .* or 4 .*correct it"):
        load_settings()


@pytest.mark.parametrize("below", ["", "below"])
def test_the_folder_of_state_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str):
    (tmp_path / "state").touch()
    monkeypatch.setenv("BESTIE_STATE", str(tmp_path / "state" / below))
    with pytest.raises(InputError, match=r"variable BESTIE_STATE: .*/state is no folder, so nothing can lie below it"):
        load_settings()
    monkeypatch.setenv("BESTIE_STATE", str(tmp_path / "other" / below))
    assert load_settings().state == tmp_path / "other" / below


def test_workers_are_chosen_by_the_device_unless_they_are_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BESTIE_WORKERS", raising=False)
    assert load_settings().workers is None
    monkeypatch.setenv("BESTIE_WORKERS", "0")
    assert load_settings().workers == 0
    for available, expected in ((1, 1), (2, 1), (6, 5), (64, MAX_WORKERS)):
        monkeypatch.setattr("bestie.training.train.cores", lambda available=available: available)
        assert loader_workers(torch.device("cuda")) == expected
        assert loader_workers(torch.device("cpu")) == 0
