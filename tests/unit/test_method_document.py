"""`docs/method.md` names files and functions: each of them exists."""

import ast
import re
from pathlib import Path

import pytest

from bestie.params.params_yaml import Params
from tests import workspace as ws

TEXT = (ws.ROOT / "docs" / "method.md").read_text(encoding="utf-8")
PATHS = r"(?:bestie|stages|tests|profiles)/[\w/]+\.(?:py|yaml)"


def test_every_file_exists():
    named = set(re.findall(PATHS, TEXT))
    assert len(named) > 30
    assert [path for path in sorted(named) if not (ws.ROOT / path).is_file()] == []


def named_in(path: Path) -> set[str]:
    """Functions, classes and `Class.method` of a module; sections of a profile."""
    if path.suffix == ".yaml":
        return set(re.findall(r"^(\w+):", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            members = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AnnAssign)]
            inside = (each.name if isinstance(each, ast.FunctionDef) else ast.unparse(each.target) for each in members)
            names |= {f"{node.name}.{name}" for name in inside}
    return names


#: `path`: `name`, `name`, ...
LISTED = re.findall(rf"`({PATHS})`: ((?:`[\w.]+`(?:, )?)+)", TEXT)


@pytest.mark.parametrize("path", sorted({path for path, _ in LISTED}))
def test_every_function_is_in_the_file_that_it_is_said_to_be_in(path: str):
    names = {name for where, listed in LISTED if where == path for name in re.findall(r"`([\w.]+)`", listed)}
    assert names - named_in(ws.ROOT / path) == set()


def test_every_parameter_exists():
    stages = "|".join(ws.STAGES)
    keys = set(re.findall(rf"`(({stages})(?:\.\w+)+)(?:=[^`]*)?`", TEXT))
    assert len(keys) > 10
    unknown = []
    for key, _ in keys:
        section: object = Params
        for part in key.split("."):
            fields = getattr(section, "model_fields", {})
            if part not in fields:
                unknown.append(key)
                break
            section = fields[part].annotation
    assert unknown == []


@pytest.mark.parametrize("kind", ["Eq.", "Table", "Figure", "Listing"])
def test_every_equation_table_figure_and_listing_has_a_row(kind: str):
    count = {"Eq.": 6, "Table": 8, "Figure": 14, "Listing": 6}[kind]
    section = {"Eq.": "Method sections and equations", "Table": "Tables", "Figure": "Figures", "Listing": "Listings"}
    part = TEXT.split(f"## {section[kind]}\n")[1].split("\n## ")[0]
    cells = [row.split("|")[1] for row in part.splitlines() if row.startswith("|")]
    numbered = {int(n) for cell in cells if kind != "Eq." or "Eq." in cell for n in re.findall(r"\b\d+\b", cell)}
    assert numbered >= set(range(1, count + 1))
