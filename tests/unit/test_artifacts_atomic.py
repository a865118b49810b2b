"""Outputs are whole or absent, whatever interrupts the writer."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bestie.artifacts.atomic import as_file, atomic_output
from bestie.errors import InputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_under_its_name_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.txt"
    with atomic_output(path) as partial:
        partial.write_text("whole")
        assert partial == tmp_path / "new" / ".out.txt.partial"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["out.txt"]


def test_a_folder_replaces_a_filled_folder_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    for content in ("old", "new"):
        with atomic_output(path) as partial:
            (partial / "c").mkdir(parents=True)
            (partial / "c" / content).write_text(content)
    assert names(path / "c") == ["new"]
    assert names(tmp_path) == ["out.zarr"]


def test_a_folder_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("file")
    with atomic_output(path) as partial:
        partial.mkdir()
    assert path.is_dir()
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_never_replaces_a_folder(tmp_path: Path, is_link: bool) -> None:
    folder, path = tmp_path / "folder", tmp_path / "link" if is_link else tmp_path / "folder"
    (folder / "kept").mkdir(parents=True)
    if is_link:
        path.symlink_to(folder)
    with pytest.raises(InputError, match=f"{path} is a folder"), atomic_output(path) as partial:
        partial.write_text("file")
    assert names(path) == ["kept"]
    assert not partial.exists()


@pytest.mark.parametrize("name", ["file/out", "file/new/out", "broken/out"])
def test_nothing_is_written_below_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    path = tmp_path / name
    message = f"{tmp_path / Path(name).parts[0]} is no folder, so nothing can lie below it"
    with pytest.raises(InputError, match=message), atomic_output(path):
        pass
    with pytest.raises(InputError, match=message):
        as_file(path)
    assert names(tmp_path) == ["broken", "file"]


def test_a_link_into_a_cache_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    cached, path = tmp_path / "cached", tmp_path / "out"
    cached.write_text("old")
    path.symlink_to(cached)
    with atomic_output(path) as partial:
        partial.write_text("new")
    assert (cached.read_text(), path.read_text(), path.is_symlink()) == ("old", "new", False)


def test_an_error_keeps_the_old_output_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(KeyError), atomic_output(path) as partial:
        partial.mkdir()
        (partial / "half").write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing was written.*out"), atomic_output(tmp_path / "out"):
        pass


def test_a_killed_writer_leaves_no_final_name_and_the_next_start_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    script = f"""
import os, pathlib, signal
from bestie.artifacts.atomic import atomic_output
with atomic_output(pathlib.Path({str(path)!r})) as partial:
    partial.mkdir()
    (partial / "stale").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=Path.cwd()).returncode == -signal.SIGKILL
    assert names(tmp_path) == [".out.zarr.partial"]
    with atomic_output(path) as partial:
        assert not partial.exists()
        partial.mkdir()
    assert names(tmp_path) == ["out.zarr"]
    assert names(path) == []


def test_what_a_thread_writes_after_an_error_is_removed_too(tmp_path: Path) -> None:
    def write_on(folder: Path) -> None:
        for number in range(5):
            time.sleep(0.02)
            folder.mkdir(exist_ok=True)
            (folder / str(number)).write_text("late")

    with pytest.raises(OSError, match="the disk is full"), atomic_output(tmp_path / "out.zarr") as partial:
        partial.mkdir()
        thread = threading.Thread(target=write_on, args=[partial])
        thread.start()
        raise OSError("the disk is full")
    thread.join()
    assert names(tmp_path) == []
