"""What the shell offers while a command is typed: profiles, parameters, versions, stages, images, classes, files.

A function that has nothing to offer returns nothing, and the shell offers files. None of them raises: outside of a
project there is nothing to offer.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bestie.errors import InputError
from bestie.folders import DATA, PROFILES

SPLITS = ("train", "val")
#: Weights of this pipeline below `data/`, and those of them that find instances.
WEIGHTS = ("classifier.zarr", "network.zarr", "detector.zarr")
MODELS = WEIGHTS[1:]
#: Tables of instances below `data/`.
TABLES = ("ground_truth.parquet", "instances.parquet", "bestie*.parquet", "mrcnn.parquet", "components_*.parquet")


def complete_profile(incomplete: str) -> list[str]:
    """The profiles that begin with what was typed."""
    from bestie.profiles import profile_names

    return _beginning(profile_names(PROFILES) if PROFILES.is_dir() else (), incomplete)


def complete_parameter(incomplete: str) -> list[str]:
    """The keys of the default profile in full, with `=` at their end."""
    from bestie.params_file import read_yaml
    from bestie.profiles import DEFAULT

    try:
        return _beginning((f"{key}=" for key in _keys(read_yaml(PROFILES / f"{DEFAULT}.yaml"))), incomplete)
    except (InputError, OSError):
        return []


def complete_version(incomplete: str) -> list[str]:
    """The versions of the labels: revisions, experiments, hashes."""
    from bestie.audit.versions import History

    try:
        return _beginning(History().names(), incomplete)
    except InputError:
        return []


def complete_stage(incomplete: str) -> list[str]:
    """The stages that write labels."""
    from bestie.audit.versions import LABEL_STAGES

    return _beginning(LABEL_STAGES, incomplete)


def complete_image(ctx: Any, incomplete: str) -> list[str]:
    """The images of the version that was typed before; typer knows `ctx` by its name."""
    from bestie.audit.sources import Artifacts
    from bestie.audit.versions import History

    try:
        images = Artifacts(History().resolve(ctx.params["version"])).images
    except (InputError, KeyError):
        return []
    return _beginning((record.image_id for record in images), incomplete)


def complete_table(incomplete: str) -> list[str]:
    """The tables and figures of the paper."""
    from bestie.tables.definition import read_definition

    return _beginning(read_definition().parts, incomplete)


def complete_split(incomplete: str) -> list[str]:
    """The splits of a data set."""
    return _beginning(SPLITS, incomplete)


def complete_classes(incomplete: str) -> list[str]:
    """Names of the run's classes, joined by commas: one more than were typed."""
    from bestie.artifacts.tables import read_categories

    try:
        names = [category.name for category in read_categories(DATA / "prepare" / "categories.parquet")]
    except InputError:
        return []
    return _one_more(names, incomplete)


def complete_labels(ctx: Any, incomplete: str) -> list[str]:
    """The same of the labels in the table of the folder that was typed before; typer knows `ctx` by its name."""
    from bestie.datasets.label_table import class_names, read_label_table
    from bestie.datasets.survey import find_layout

    # Where an option still lacks its value, click leaves the arguments that came before it in `args`.
    folders = [ctx.params.get("folder"), *ctx.args]
    try:
        labels = find_layout(Path(next(filter(None, folders), ""))).labels
        return _one_more(class_names(labels, read_label_table(labels), None), incomplete)
    except InputError:
        return []


def complete_artifact(*patterns: str) -> Callable[[str], list[str]]:
    """What offers the files below `data/` whose names match one of some patterns."""

    def complete(incomplete: str) -> list[str]:
        found = sorted(str(path) for pattern in patterns for path in DATA.glob(f"*/{pattern}"))
        return _beginning(found, incomplete)

    return complete


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _one_more(names: Iterable[str], incomplete: str) -> list[str]:
    """Lists joined by commas that go on with one of the names that they do not have."""
    typed, comma, last = incomplete.rpartition(",")
    return [f"{typed}{comma}{name}" for name in _beginning(names, last) if name not in typed.split(",")]


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
