"""What every stage module has in common: parameters in, one clear error out."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bestie.durations import record_duration
from bestie.errors import InputError
from bestie.params import Dataset, Section
from bestie.params_file import parse, read_yaml
from bestie.processes import launched
from bestie.progress import close_all
from bestie.settings import Settings, load_settings

DATA = Path("data")
PARAMS = Path("params.yaml")

T = TypeVar("T", bound=Section)


def load_section(name: str, model: type[T], path: Path = PARAMS) -> tuple[Dataset, T]:
    """`dataset` and one stage's section of the parameter file; a stage sees no other.

    Raises:
        InputError: the file or a section is missing, or a key or value is wrong.
    """
    values = read_yaml(path)
    for section in ("dataset", name):
        if section not in values:
            raise InputError(f"{path}: missing section {section!r}; `bestie profile shapes` writes the default")
    dataset = parse(Dataset, values["dataset"], source=f"{path}: dataset")
    return dataset, parse(model, values[name], source=f"{path}: {name}")


def run_stage(name: str, model: type[T], main: Callable[[Dataset, T, Settings], None]) -> None:
    """Run a stage as a program: exit 0, or print one message and exit 1. Its duration is kept."""
    started = time.monotonic()
    try:
        settings = load_settings()
        main(*load_section(name, model), settings)
    except InputError as error:
        close_all()
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    if launched():  # the process that started this one speaks for all
        return
    seconds = time.monotonic() - started
    record_duration(settings.state, name, seconds)
    print(f"{name}: done in {seconds:.1f} s", file=sys.stderr)


def folder(name: str) -> Path:
    """The output folder of a stage."""
    return DATA / name
