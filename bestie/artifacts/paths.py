"""Where the files of a run are, as paths relative to the repository's root."""

from pathlib import Path

#: The parameters of the run, and the folder of the profiles from which `bestie profile` writes them.
PARAMS = Path("params.yaml")
PROFILES = Path("profiles")
DATA = Path("data")
#: The data set that `prepare` generates if `dataset.format` is shapes.
GENERATED_ROOT = DATA / "raw" / "generated"
#: The value of `import_wsss.source` for own maps: what the stage `make_wsss` writes.
OWN_MAPS = DATA / "make_wsss" / "maps.zarr"
#: The stages in their order, and what they write.
ARTIFACTS = {
    "prepare": "images.parquet, categories.parquet, skipped.parquet, ground_truth.*",
    "train_pam": "classifier.zarr",
    "extract_cues": "cues.parquet, activations.zarr",
    "train_wsss": "semantic_network.zarr, history.parquet",
    "make_wsss": "maps.zarr",
    "import_wsss": "maps.zarr",
    "make_pseudo_labels": "instances.parquet, components.parquet, maps.zarr",
    "train_bestie": "network.zarr, history.parquet, evolution.parquet",
    "export_mrcnn": "instances.parquet, origins.parquet, annotations.json",
    "train_mrcnn": "detector.zarr",
    "evaluate": "metrics.json, *.parquet, sheet.png",
}


def folder(name: str) -> Path:
    """Return the output folder of a stage."""
    return DATA / name


def stage_of(path: Path) -> str | None:
    """Return the stage whose output folder contains a path; None for any other path."""
    found = path.relative_to(DATA).parts if path.is_relative_to(DATA) else ()
    return found[0] if found and found[0] in ARTIFACTS else None


def part_folder(state: Path, stage: str, number: int, count: int) -> Path:
    """Return the folder, below the state folder, of part `number` (from 1) of `count` until the parts are joined."""
    return state / "parts" / stage / f"{number}-of-{count}"


def part_folders(state: Path, stage: str, count: int) -> list[Path]:
    """Return the folders of all parts, in order."""
    return [part_folder(state, stage, number, count) for number in range(1, count + 1)]
