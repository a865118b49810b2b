"""Parameter files, read and checked; errors name the file and the key."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from bestie.artifacts.paths import PARAMS
from bestie.errors import InputError
from bestie.params.section import Section

T = TypeVar("T", bound=Section)

#: PyYAML's safe loader, in C and ten times as fast if PyYAML was built with it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(model: type[T], values: Any, *, source: str) -> T:
    """Return `values` as a checked section.

    Args:
        model: the class of the section.
        values: what the section holds in a file, usually a mapping.
        source: what messages call the values.

    Raises:
        InputError: `values` is not a mapping, a key is unknown or missing, or a value is wrong; the message gives the
            full name of each such key.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{source}: expected keys with values, got {values!r}; `bestie profile shapes` writes them")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{source}: {_describe(error, model)}") from None


def _describe(error: ValidationError, model: type[Section]) -> str:
    problems = []
    for entry in error.errors():
        key = ".".join(str(part) for part in entry["loc"])
        if entry["type"] == "extra_forbidden":
            close = get_close_matches(str(entry["loc"][-1]), _keys_beside(model, entry["loc"]), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            problems.append(f"unknown key {key!r}; remove it or correct its spelling{hint}")
        elif entry["type"] == "missing":
            problems.append(f"missing key {key!r}; add it")
        else:
            problems.append(f"{key} = {entry['input']!r}: {entry['msg'].lower()}; correct the value")
    return "; ".join(problems)


def _keys_beside(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that there are in place of the last one of `location`; none within lists and optional parts."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, Section):
            return []
        model = field.annotation
    return list(model.model_fields)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        InputError: the file is missing, is not YAML, or does not hold a mapping.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {_remedy(path)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as YAML ({reason}); correct the file") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections with keys; {_remedy(path)}")
    return values


def _remedy(path: Path) -> str:
    is_params = path.name == PARAMS.name
    return "`bestie profile shapes` writes the default" if is_params else "correct its path, or restore the file"


def read_value(text: str, *, source: str) -> Any:
    """Return the value of a text in YAML. Raises InputError, which names `source`, if it is not YAML."""
    try:
        return yaml.load(text, Loader=LOADER)
    except yaml.YAMLError:
        raise InputError(f"{source}: {text!r} is no YAML value; write one as in params.yaml") from None
