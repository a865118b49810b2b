"""The folder in which tables are run: inputs are found from it, one process holds it, and what it runs ends with it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bestie.errors import InputError
from bestie.params.params_yaml import load_params
from bestie.project.profiles import compose
from bestie.tables.lines_of_processes import run_lines
from bestie.tables.sandbox import Workspace
from tests import workspace as ws


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository of DVC, with inputs inside and outside of it."""
    root = tmp_path / "project"
    for name in ("bestie", "stages", "data/raw/VOC/WSSS_maps", ".dvc"):
        (root / name).mkdir(parents=True)
    (root / "bestie" / "code.py").write_text("VALUE = 1\n", encoding="utf-8")
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
    (tmp_path / "elsewhere" / "maps").mkdir(parents=True)
    (tmp_path / "elsewhere" / "weights.safetensors").write_text("weights", encoding="utf-8")
    return root


def params(**values: str) -> dict:
    overrides = [f"{key.replace('__', '.')}={value}" for key, value in values.items()]
    return compose("voc_subset", folder=ws.ROOT / "profiles", overrides=overrides)


def quiet(_line: str) -> None:
    """Lines that nobody reads."""


def test_inputs_inside_and_outside_of_the_repository_are_found(root: Path):
    wanted = params(
        dataset__root="data/raw/VOC",
        import_wsss__source="../elsewhere/maps",
        train_pam__backbone__weights="../elsewhere/weights.safetensors",
    )
    with Workspace(root, root / ".bestie" / "tables", show=quiet) as workspace:
        workspace.set_params("voc_subset", wanted)
        assert (workspace.folder / "data/raw/VOC/WSSS_maps").is_dir()
        assert (workspace.folder / "../elsewhere/maps").is_dir()
        assert (workspace.folder / "../elsewhere/weights.safetensors").read_text(encoding="utf-8") == "weights"
        assert (workspace.folder / "bestie" / "code.py").is_file()
        assert load_params(workspace.folder / "params.yaml").import_wsss.source == Path("../elsewhere/maps")
        with pytest.raises(InputError, match="give it in full"):
            workspace.set_params("voc_subset", params(import_wsss__source="../../../../../../../x"))


def test_the_cache_is_that_of_the_repository(root: Path):
    with Workspace(root, root / ".bestie" / "tables", show=quiet) as workspace:
        config = (workspace.folder / ".dvc" / "config").read_text(encoding="utf-8")
    assert f"dir = {root / '.dvc' / 'cache'}" in config


def test_code_is_copied_anew(root: Path):
    base = root / ".bestie" / "tables"
    with Workspace(root, base, show=quiet):
        pass
    (root / "bestie" / "code.py").unlink()
    with Workspace(root, base, show=quiet) as workspace:
        assert not (workspace.folder / "bestie" / "code.py").exists()


def test_a_second_process_is_refused(root: Path):
    base = root / ".bestie" / "tables"
    with (
        Workspace(root, base, show=quiet),
        pytest.raises(InputError, match="in use"),
        Workspace(root, base, show=quiet),
    ):
        pass


def test_a_failure_has_the_last_lines(root: Path):
    with (
        Workspace(root, root / ".bestie" / "tables", show=quiet) as workspace,
        pytest.raises(InputError, match="what went wrong"),
    ):
        workspace.run("-c", "import sys; sys.exit('what went wrong')")


def test_no_repository_is_an_error(tmp_path: Path):
    for name in ("bestie", "stages"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="no DVC repository"), Workspace(tmp_path, tmp_path / "base", show=quiet):
        pass


def test_lines_are_shown_as_they_come_and_the_tail_leaves_out_progress(tmp_path: Path):
    seen: list[str] = []
    line = json.dumps({"progress": "train_pam", "done": 1, "total": 2, "rate": 0.5, "remaining_s": 2.0})
    code = f"import sys; print('first'); print('{line}', file=sys.stderr); print('last')"
    status, tail = run_lines(
        [sys.executable, "-u", "-c", code], cwd=tmp_path, environment=dict(os.environ), show=seen.append
    )
    assert status == 0
    assert seen == ["first", line, "last"]
    assert tail == ["first", "last"]


def test_an_interruption_ends_the_whole_group(tmp_path: Path):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    code = f"import os; print(os.getpid(), flush=True)\n{child}"
    seen: list[int] = []

    def interrupt(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_lines([sys.executable, "-c", code], cwd=tmp_path, environment=dict(os.environ), show=interrupt)
    deadline = time.monotonic() + 10
    while _group_lives(seen[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group_lives(seen[0])


def _group_lives(group: int) -> bool:
    listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    entries = (line.split() for line in listed.splitlines())
    return any(int(pgid) == group and not stat.startswith("Z") for pgid, stat in entries)
