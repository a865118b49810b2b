"""All keys of `params.yaml` with default, help and source: `python -m bestie.params.describe > docs/parameters.md`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bestie.params.params_yaml import Params
from bestie.params.section import Section

HEADER = """\
# Parameters

Every key of `params.yaml`, one table a section. A stage reads its own section and `dataset`, and nothing else. The
default counts if a profile does not set the key; a dash marks a key that every profile sets. The source says where the
default comes from: the paper, the authors' release, or ours.

`bestie profile --keys` prints the same. The file is written by `python -m bestie.params.describe > docs/parameters.md`
from the models in `bestie/params/`.
"""
TABLE_HEAD = "| key | default | meaning | source |\n| --- | --- | --- | --- |\n"


@dataclass(frozen=True)
class Key:
    """One key of `params.yaml`: its full name, default as text ("-" if it has none), help, and source."""

    name: str
    default: str
    help: str
    source: str


def list_keys() -> list[Key]:
    """Return all keys in the order of `params.yaml`."""
    return list(_keys(Params, ""))


def markdown() -> str:
    """Return the text of `docs/parameters.md`."""
    keys, parts = list_keys(), [HEADER]
    for section, field in Params.model_fields.items():
        parts.append(f"\n## {section}\n\n{_first_line(field)}\n\n{TABLE_HEAD}")
        for key in keys:
            if key.name.startswith(f"{section}."):
                name = key.name.removeprefix(f"{section}.")
                parts.append(f"| `{name}` | {_code(key.default)} | {key.help} | {key.source} |\n")
    return "".join(parts)


def _keys(model: type[Section], prefix: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _keys(field.annotation, f"{prefix}{name}.")
            continue
        extra = field.json_schema_extra
        source = str(extra["source"]) if isinstance(extra, dict) else ""
        yield Key(f"{prefix}{name}", _text(field.default), field.description or "", source)


def _text(default: Any) -> str:
    if default is PydanticUndefined:
        return "-"
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    if isinstance(default, tuple):
        return f"[{', '.join(map(_text, default))}]"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _code(text: str) -> str:
    return text if text == "-" else f"`{text}`"


def _first_line(field: FieldInfo) -> str:
    return ((field.annotation.__doc__ if field.annotation else None) or "").strip().splitlines()[0]


if __name__ == "__main__":
    print(markdown(), end="")
