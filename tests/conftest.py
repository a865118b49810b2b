"""Shape and type checks while tests run, and where the recorded numbers are."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook(["bestie"], "beartype.beartype")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real data, weights and recorded numbers; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("BESTIE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no test material at {folder} (set BESTIE_SHARED)")
    return folder


def golden_folder() -> Path:
    """The folder with recorded inputs and outputs of the authors' release (BESTIE_GOLDEN)."""
    return Path(os.environ.get("BESTIE_GOLDEN", ROOT.parent / "shared" / "golden"))


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """`golden_folder()`, or a skip with the reason."""
    folder = golden_folder()
    if not folder.is_dir():
        pytest.skip(f"no recorded numbers at {folder} (set BESTIE_GOLDEN)")
    return folder
