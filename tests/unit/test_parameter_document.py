"""Every key of `params.yaml` is described, and the document agrees with the models."""

import json

import pytest
from typer.testing import CliRunner

from bestie.cli import app as cli
from bestie.params.describe import Key, list_keys, markdown
from bestie.project.profiles import compose
from tests import workspace as ws


def flat(values: dict, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in values.items():
        found += flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return found


def test_the_document_is_what_the_models_say():
    written = (ws.ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert written == markdown(), "run `python -m bestie.params.describe > docs/parameters.md`"


def test_every_key_of_a_profile_is_listed_in_its_order():
    assert [key.name for key in list_keys()] == flat(compose("shapes", folder=ws.ROOT / "profiles"))


@pytest.mark.parametrize("key", list_keys(), ids=lambda key: key.name)
def test_a_key_has_a_meaning_and_a_source(key: Key):
    assert key.help
    assert key.source.split(",")[0] in ("paper", "release", "ours")


def test_the_command_prints_them():
    found = CliRunner().invoke(cli.app, ["profile", "--keys", "--json"], catch_exceptions=False)
    printed = {each["name"]: each for each in json.loads(found.stdout)}
    assert printed["train_pam.alpha"]["default"] == "0.7"
    assert printed["train_pam.alpha"]["source"] == "paper, Table 7"
