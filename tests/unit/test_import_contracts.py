"""Who may import whom: the contracts of `pyproject.toml`, held by import-linter."""

import subprocess
import sys
from pathlib import Path

from tests import workspace as ws


def test_the_layers_import_only_what_their_contracts_allow():
    linter = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([linter, "--no-cache"], cwd=ws.ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    assert "0 broken" in ended.stdout
