"""What all stage modules share: they read their parameters, and end in one clear message if something is wrong."""

import atexit
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from bestie.artifacts.paths import PARAMS, folder, part_folders
from bestie.errors import InputError, MissingPartsError
from bestie.params.dataset import Dataset
from bestie.params.reading import parse, read_value, read_yaml
from bestie.params.section import Section
from bestie.runtime.disks import storage_fault, tell_disk_faults_once
from bestie.runtime.durations import record_duration
from bestie.runtime.progress import close_all
from bestie.runtime.ranks import launched
from bestie.runtime.settings import Settings, load_settings
from bestie.runtime.signals import StoppedError, end_with_parent, stop_behind, stoppable

__all__ = ["folder", "load_section", "run_stage"]

#: The exit status of a process that a signal ended is this plus the number of the signal, as in shells.
_SHELL_SIGNALS = 128

T = TypeVar("T", bound=Section)


def load_section(name: str, model: type[T], path: Path = PARAMS, arguments: Sequence[str] = ()) -> tuple[Dataset, T]:
    """Return `dataset` and a stage's own section of the parameter file.

    Args:
        name: the name of the stage and of its section.
        model: the class of the section.
        path: the parameter file.
        arguments: values of the section for this run only, such as `--on-error skip`.

    Raises:
        InputError: the file or a section is missing, or a key, value or argument is wrong.
    """
    values = read_yaml(path)
    for section in ("dataset", name):
        if section not in values:
            raise InputError(f"{path}: missing section {section!r}; `bestie profile shapes` writes the default")
    dataset = parse(Dataset, values["dataset"], source=f"{path}: dataset")
    if not arguments:
        return dataset, parse(model, values[name], source=f"{path}: {name}")
    return dataset, parse(model, {**values[name], **_options(arguments)}, source=" ".join((name, *arguments)))


def _options(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the values of `--some-key value` and `--some-key=value` by key, here `some_key`."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise InputError(
            f"{' '.join(arguments)}: a stage takes keys of its section in {PARAMS} alone, as `--on-error skip`"
        )
    return {
        option.removeprefix("--").replace("-", "_"): read_value(text, source=option)
        for option, text in zip(words[::2], words[1::2], strict=True)
    }


def run_stage(
    name: str,
    model: type[T],
    main: Callable[[Dataset, T, Settings], None],
    arguments: Sequence[str] = (),
    *,
    in_parts: bool = False,
) -> None:
    """Run a stage as a program and record its duration; if it fails, print one message and exit.

    After SIGTERM or Ctrl-C it says so and exits with 128 plus the number of the signal, as shells do. If DVC started
    it, it does the same when DVC is gone. A disk that is full or cannot be written to also gives one message.

    Args:
        name: the stage's name.
        model: the class of its section in the parameter file.
        main: the function that does its work.
        arguments: see `load_section`.
        in_parts: whether it can be computed in parts (`bestie.runtime.parts`).

    Raises:
        SystemExit: the stage failed, with the status of the `InputError`, 1 for the disk, or as above for a signal.
    """
    started = time.monotonic()
    if "DVC_STAGE" in os.environ:
        end_with_parent(signal.SIGTERM)
    tell_disk_faults_once()
    # Otherwise Python frees some 400,000 objects one by one at exit: 1.4 s in which DVC, or a signal, has to wait.
    atexit.register(gc.freeze)
    try:
        with stoppable():
            settings = load_settings()
            if settings.parts:
                _check_parts(name, settings, in_parts=in_parts)
            main(*load_section(name, model, arguments=arguments), settings)
            if launched():  # the process that started this one reports for all
                return
            seconds = time.monotonic() - started
            if not settings.part:
                record_duration(settings.state, name, seconds)
    except InputError as error:
        _end(name, str(error), error.status)
    except (StoppedError, Exception) as error:
        if stop := stop_behind(error):
            _end(name, f"{stop}; start again to continue", _SHELL_SIGNALS + stop.number)
        if (reason := storage_fault(error)) is None:
            raise
        _end(name, reason, 1)
    print(f"{name}: done in {seconds:.1f} s", file=sys.stderr)


def _check_parts(name: str, settings: Settings, *, in_parts: bool) -> None:
    """Raise InputError unless the stage can do what BESTIE_PARTS asks for."""
    if not in_parts:
        raise InputError("this stage cannot be computed in parts; unset the environment variable BESTIE_PARTS")
    if settings.part and "DVC_STAGE" in os.environ:
        raise InputError(
            f"a part is no output of DVC's. Say BESTIE_PARTS={settings.part}/{settings.parts} python -m stages.{name}, "
            f"and, when all parts are there, BESTIE_PARTS={settings.parts} dvc repro {name}"
        )
    if settings.joins:
        parts = part_folders(settings.state, name, settings.parts)
        if missing := [part for part in parts if not part.is_dir()]:
            raise MissingPartsError(
                f"{missing[0]} does not exist, of {settings.parts} parts to join {len(missing)} are missing. Compute "
                f"each with BESTIE_PARTS=<number>/{settings.parts} python -m stages.{name}, or unset BESTIE_PARTS"
            )


def _end(name: str, message: str, status: int) -> NoReturn:
    close_all()
    print(f"{name}: {message}", file=sys.stderr)
    raise SystemExit(status) from None
