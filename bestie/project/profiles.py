"""Profiles: files in `profiles/` from which `params.yaml` is written, each an overlay on the default profile."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.paths import OWN_MAPS
from bestie.errors import InputError
from bestie.params.params_yaml import Params
from bestie.params.reading import parse, read_value, read_yaml

DEFAULT = "shapes"
INPUT_FOLDERS = ("dataset.root", "import_wsss.source")
HEADER = """\
# Parameters of this run, one section per stage; written by `bestie profile {name}`.
# They change results; device, workers and progress do not, and are environment variables (docs/settings.md).
"""


def profile_names(folder: Path) -> list[str]:
    """Return the names of the profiles, the default first."""
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    return [DEFAULT, *(name for name in names if name != DEFAULT)]


def compose(name: str, *, folder: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return the default profile, overlaid by the profile `name` and then by the `section.key=value` texts.

    Raises:
        InputError: there is no such profile or it cannot be read, an override is not an assignment, or a key or value
            is wrong (`parse`).
    """
    if name not in profile_names(folder):
        known = ", ".join(profile_names(folder))
        raise InputError(f"profile {name!r} does not exist in {folder}; choose one of {known}")
    values = read_yaml(folder / f"{DEFAULT}.yaml")
    if name != DEFAULT:
        values = overlay(values, read_yaml(folder / f"{name}.yaml"))
    return override(values, overrides, source=f"profile {name}")


def override(values: Mapping[str, Any], overrides: Iterable[str], *, source: str) -> dict[str, Any]:
    """Return `values`, overlaid by the `section.key=value` texts and checked.

    Raises:
        InputError: an override is not an assignment, or a key or value is wrong (`parse`); that message names `source`.
    """
    for text in overrides:
        values = overlay(values, assignment(text))
    return parse(Params, values, source=source).model_dump(mode="json")


def assignment(text: str) -> dict[str, Any]:
    """Return a `section.key=value` text as nested mappings. Raises InputError if it has another form."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InputError(f"override {text!r}: write section.key=value, for example train_bestie.epochs=10")
    nested = read_value(value, source=f"override {text!r}")
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def overlay(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` overlaid by `above`: mappings are merged key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in above.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = overlay(below, value)
        else:
            merged[key] = value
    return merged


def write_params(path: Path, name: str, values: Mapping[str, Any]) -> None:
    """Write `params.yaml` with every parameter spelled out, in the order of the pipeline."""
    with atomic_output(path) as partial:
        partial.write_text(HEADER.format(name=name) + format_params(values), encoding="utf-8")


def format_params(values: Mapping[str, Any]) -> str:
    """Return the text of a parameter file, without the comment at its top."""
    return yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=None, width=110)


def missing_folders(values: Mapping[str, Any], keys: Iterable[str] = INPUT_FOLDERS) -> list[str]:
    """Return a remark for each folder that `keys` name and that does not exist; DVC would not mention the key."""
    if values["dataset"]["format"] == "shapes":
        return []
    named = {key: Path(values[key.partition(".")[0]][key.partition(".")[2]]) for key in keys}
    missing = {key: path for key, path in named.items() if path != OWN_MAPS and not path.is_dir()}
    return [f"{key}: there is no folder {path} yet" for key, path in missing.items()]


def changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return (full key, old value, new value) for each difference; a value is None if the key is missing."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += changes(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append((f"{prefix}{key}", old, new))
    return found
