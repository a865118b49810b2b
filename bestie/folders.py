"""Where a run's files lie, by their paths in the repository."""

from pathlib import Path

#: The parameters of the run, and the folder of the sets that `bestie profile` writes there.
PARAMS = Path("params.yaml")
PROFILES = Path("profiles")
DATA = Path("data")
#: The data set that `prepare` draws where `dataset.format` is shapes.
GENERATED_ROOT = DATA / "raw" / "generated"
#: The stages, in their order, and what they write.
ARTIFACTS = {
    "prepare": "images.parquet, categories.parquet, skipped.parquet, ground_truth.*",
    "train_pam": "classifier.zarr",
    "extract_cues": "cues.parquet, activations.zarr",
    "import_wsss": "maps.zarr",
    "make_pseudo_labels": "instances.parquet, components.parquet, maps.zarr",
    "train_bestie": "network.zarr, history.parquet, evolution.parquet",
    "export_mrcnn": "instances.parquet, annotations.json",
    "train_mrcnn": "detector.zarr",
    "evaluate": "metrics.json, *.parquet, sheet.png",
}


def folder(name: str) -> Path:
    """The output folder of a stage."""
    return DATA / name


def stage_of(path: Path) -> str | None:
    """The stage in whose output folder a path lies; None for any other place."""
    found = path.relative_to(DATA).parts if path.is_relative_to(DATA) else ()
    return found[0] if found and found[0] in ARTIFACTS else None


def part_folder(state: Path, stage: str, number: int, count: int) -> Path:
    """Where part `number` (from 1) of `count` of a stage lies until the parts are joined, in the folder of settings."""
    return state / "parts" / stage / f"{number}-of-{count}"


def part_folders(state: Path, stage: str, count: int) -> list[Path]:
    """The folders of all parts, in order."""
    return [part_folder(state, stage, number, count) for number in range(1, count + 1)]
