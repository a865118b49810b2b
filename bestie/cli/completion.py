"""Shell completion: profiles, parameters, versions, stages, images, classes and files.

If a function returns nothing, the shell offers files. No function raises an error: outside of a project, there is
nothing to offer.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bestie.artifacts.paths import DATA, PROFILES
from bestie.errors import InputError

SPLITS = ("train", "val")
#: Weights of this pipeline in `data/`; all but the first two find instances.
WEIGHTS = ("classifier.zarr", "semantic_network.zarr", "network.zarr", "detector.zarr")
MODELS = WEIGHTS[2:]
#: Instance tables in `data/`.
TABLES = ("ground_truth.parquet", "instances.parquet", "bestie*.parquet", "mrcnn.parquet", "components_*.parquet")


def complete_profile(incomplete: str) -> list[str]:
    """Complete the name of a profile."""
    from bestie.project.profiles import profile_names

    return _beginning(profile_names(PROFILES) if PROFILES.is_dir() else (), incomplete)


def complete_parameter(incomplete: str) -> list[str]:
    """Complete a key of the default profile, with `=` at its end."""
    from bestie.params.reading import read_yaml
    from bestie.project.profiles import DEFAULT

    try:
        return _beginning((f"{key}=" for key in _keys(read_yaml(PROFILES / f"{DEFAULT}.yaml"))), incomplete)
    except (InputError, OSError):
        return []


def complete_version(incomplete: str) -> list[str]:
    """Complete a version of the labels: a revision, an experiment or a hash."""
    from bestie.audit.versions import History

    try:
        return _beginning(History().names(), incomplete)
    except InputError:
        return []


def complete_stage(incomplete: str) -> list[str]:
    """Complete the name of a stage that writes labels."""
    from bestie.audit.versions import LABEL_STAGES

    return _beginning(LABEL_STAGES, incomplete)


def complete_image(ctx: Any, incomplete: str) -> list[str]:
    """Complete an image of the version that was typed before; typer recognizes `ctx` by its name."""
    from bestie.audit.sources import Artifacts
    from bestie.audit.versions import History

    try:
        images = Artifacts(History().resolve(ctx.params["version"])).images
    except (InputError, KeyError):
        return []
    return _beginning((record.image_id for record in images), incomplete)


def complete_table(incomplete: str) -> list[str]:
    """Complete the key of a table or figure of the paper."""
    from bestie.tables.definition import read_definition

    return _beginning(read_definition().parts, incomplete)


def complete_split(incomplete: str) -> list[str]:
    """Complete the name of a split."""
    return _beginning(SPLITS, incomplete)


def complete_classes(incomplete: str) -> list[str]:
    """Complete the last name in a comma-separated list of the run's classes."""
    from bestie.artifacts.tables import read_categories

    try:
        names = [category.name for category in read_categories(DATA / "prepare" / "categories.parquet")]
    except InputError:
        return []
    return _one_more(names, incomplete)


def complete_labels(ctx: Any, incomplete: str) -> list[str]:
    """Complete a list of the classes in the label table of the folder typed before; typer recognizes `ctx` by name."""
    from bestie.datasets.label_table import class_names, read_label_table
    from bestie.datasets.survey import find_layout

    # If an option still lacks its value, click leaves the arguments before it in `args`.
    folders = [ctx.params.get("folder"), *ctx.args]
    try:
        labels = find_layout(Path(next(filter(None, folders), ""))).labels
        return _one_more(class_names(labels, read_label_table(labels), None), incomplete)
    except InputError:
        return []


def complete_artifact(*patterns: str) -> Callable[[str], list[str]]:
    """Return a function that completes the files in `data/` whose names match one of the patterns."""

    def complete(incomplete: str) -> list[str]:
        found = sorted(str(path) for pattern in patterns for path in DATA.glob(f"*/{pattern}"))
        return _beginning(found, incomplete)

    return complete


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _one_more(names: Iterable[str], incomplete: str) -> list[str]:
    """Return comma-separated lists: what was typed, completed with each name that is not in it yet."""
    typed, comma, last = incomplete.rpartition(",")
    return [f"{typed}{comma}{name}" for name in _beginning(names, last) if name not in typed.split(",")]


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
