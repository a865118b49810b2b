"""Stages run in this process, in a folder with parameters and data, as `python -m stages.<name>` runs them."""

import hashlib
import importlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from bestie.project.profiles import compose, write_params
from bestie.runtime.settings import load_settings
from bestie.runtime.stage import load_section, run_stage

ROOT = Path(__file__).resolve().parents[1]
STAGES = (
    "prepare",
    "train_pam",
    "extract_cues",
    "train_wsss",
    "make_wsss",
    "import_wsss",
    "make_pseudo_labels",
    "train_bestie",
    "export_mrcnn",
    "train_mrcnn",
    "evaluate",
)
TRAININGS = ("train_pam", "train_bestie", "train_mrcnn")


def set_params(*overrides: str, profile: str = "smoke") -> None:
    """Write `params.yaml` into the working directory."""
    write_params(Path("params.yaml"), profile, compose(profile, folder=ROOT / "profiles", overrides=overrides))


def stage_main(stage: str) -> tuple[type, Callable[..., None]]:
    """Return the parameter model and the main function of a stage."""
    main = importlib.import_module(f"stages.{stage}").main
    return get_type_hints(main)["params"], main


def run(*stages: str, **settings: Any) -> None:
    """Run stages in the working directory, and raise their errors. `settings` override those of the environment."""
    for stage in stages:
        model, main = stage_main(stage)
        main(*load_section(stage, model), replace(load_settings(), **settings))


def run_program(stage: str) -> None:
    """Run a stage in the working directory like a program: bad input prints a message and raises SystemExit."""
    run_stage(stage, *stage_main(stage))


def dvc_stages() -> dict[str, dict[str, Any]]:
    """Return the stages of `dvc.yaml`."""
    return yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def declared_outputs(stage: str) -> list[Path]:
    """Return all outputs of a stage that `dvc.yaml` declares."""
    entries = dvc_stages()[stage]["outs"] + dvc_stages()[stage].get("metrics", [])
    return [Path(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries]


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return the hash of every file at or below some paths of the working directory."""
    files = [f for path in paths for f in (sorted(path.rglob("*")) if path.is_dir() else [path]) if f.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def stage_digests(stage: str) -> dict[str, str]:
    """Return the hash of every file that a stage has written in the working directory."""
    return digests(declared_outputs(stage))
