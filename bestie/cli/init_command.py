"""`bestie init`: a profile for a folder of images, and a survey of the folder, class by class."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.paths import OWN_MAPS
from bestie.cli.class_option import parse_classes
from bestie.datasets.survey import FolderLayout, Survey, find_layout, survey_folder
from bestie.errors import InputError
from bestie.params.params_yaml import Params
from bestie.params.reading import parse, read_yaml
from bestie.params.training import Training
from bestie.project.duration import TIMED, minutes_on_one_core
from bestie.project.inputs import TRAININGS, missing_first_weights
from bestie.project.profiles import DEFAULT, overlay, profile_names
from bestie.training.weight_files import DOWNLOAD

#: The sections of a profile that describe its data; the other sections say how to train.
DATA_SECTIONS = ("dataset", "prepare", "import_wsss")
LARGE_SIDE_PX = 1024
#: The steps of the profile voc_subset on its 949 images; with far fewer, a network finds only background.
FEWEST_STEPS = {"train_pam": 600, "train_wsss": 350, "train_bestie": 1900, "train_mrcnn": 950}
#: What is counted in epochs, in any section.
EPOCHS = ("epochs", "plain_epochs", "boundary_epochs", "evolution_every")

#: The mark of a profile that this command wrote, and may replace.
WRITTEN_BY = "Written by `bestie init`."
HEADER = """\
# {train} training and {val} validation images of {root}; trained as the profile {like}. {by}
# run: bestie profile {name} && dvc repro
"""


@dataclass(frozen=True)
class WrittenProfile:
    """The profile that was written, the content of the folder, and remarks on what is missing or unusual.

    `obstacles` are what a run would stop at.
    """

    name: str
    path: Path
    layout: FolderLayout
    survey: Survey
    remarks: tuple[str, ...]
    obstacles: tuple[str, ...]


def run_init(
    root: Path,
    *,
    profiles: Path,
    like: str,
    name: str | None,
    wsss: Path | None,
    classes: str | None,
    val_fraction: float = 0,
    overwrite: bool,
) -> WrittenProfile:
    """Survey a folder of images, and write a profile for it.

    Args:
        root: the folder with images and `labels.csv` or `labels.parquet`.
        profiles: the folder of the profiles.
        like: the profile whose networks and training are taken.
        name: the name of the profile; None: the folder's name.
        wsss: the folder of WSSS maps; None: `WSSS_maps` in `root`.
        classes: the text of `--classes` (`parse_classes`); None: class names in alphabetical order.
        val_fraction: part of the images that are for validation, if the label table has no column `split`.
        overwrite: replace a profile of that name, if this command wrote it.

    Raises:
        InputError: the folder has no label table or something in it is wrong, there is no profile `like`, or a profile
            `name` exists.
    """
    name = _profile_name(root, name)
    path = profiles / f"{name}.yaml"
    _check_free(path, overwrite=overwrite)
    categories, class_numbers = parse_classes(classes)
    training = _training_sections(profiles, like)
    layout = find_layout(root, wsss)
    survey = survey_folder(layout, categories, class_numbers=class_numbers, val_fraction=val_fraction)
    values = {**_data_sections(name, layout, survey, class_numbers, val_fraction), **training}
    default = read_yaml(profiles / f"{DEFAULT}.yaml")
    params = parse(Params, overlay(default, values), source=f"profile {name}")
    values = overlay(values, _enough_epochs(params, survey.train))
    header = HEADER.format(train=survey.train, val=survey.val, root=root, like=like, by=WRITTEN_BY, name=name)
    with atomic_output(path) as partial:
        text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
        partial.write_text(header + text, encoding="utf-8")
    remarks = _remarks(layout, survey)
    if like == TIMED:
        complete = parse(Params, overlay(default, values), source=path.name)
        minutes = minutes_on_one_core(complete, survey.train, survey.val)
        remarks.append(
            f"a run takes about {minutes} min on one core of a processor with bf16 for images of 350 px; more cores "
            "are faster, and each stage says how long it has left"
        )
    fetched, missing = _fetched_weights(params), missing_first_weights(params)
    obstacles = [*_obstacles(layout, survey), *missing]
    return WrittenProfile(name, path, layout, survey, tuple(remarks + fetched + missing), tuple(obstacles))


def print_init(console: Console, written: WrittenProfile) -> None:
    """Print the content of the folder class by class, what is missing, and what to do next."""
    console.print(_class_table(written.layout, written.survey))
    for line in written.remarks:
        console.print(line, soft_wrap=True)
    when = "before a run: " + "; ".join(written.obstacles) + "; then" if written.obstacles else "now"
    console.print(f"wrote {written.path}; {when}: bestie profile {written.name} && dvc repro", soft_wrap=True)


def init_json(written: WrittenProfile) -> dict[str, Any]:
    """Return the content of `print_init` as JSON values."""
    return {
        "profile": written.name,
        "path": str(written.path),
        **asdict(written.survey),
        "layout": {key: value and str(value) for key, value in asdict(written.layout).items()},
        "remarks": list(written.remarks),
        "obstacles": list(written.obstacles),
    }


def _profile_name(root: Path, name: str | None) -> str:
    wanted = root.resolve().name if name is None else name
    cleaned = re.sub(r"\W+", "_", wanted).strip("_").lower() if name is None else wanted
    if not re.fullmatch(r"\w+", cleaned):
        raise InputError(f"{wanted!r} makes no name for a profile; give --name with letters, digits and _")
    return cleaned


def _check_free(path: Path, *, overwrite: bool) -> None:
    """Raise InputError if the profile exists, unless this command wrote it and may replace it."""
    if not path.exists():
        return
    about = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0] if path.is_file() else ""
    if not about.endswith(WRITTEN_BY):
        raise InputError(f"{path} belongs to the project or was not written by `bestie init`; choose another --name")
    if not overwrite:
        raise InputError(f"{path} exists; choose another --name, or --overwrite to replace it")


def _training_sections(profiles: Path, like: str) -> dict[str, Any]:
    """Return the sections of a profile that say how to train."""
    if like not in profile_names(profiles):
        raise InputError(f"--like: profile {like!r} does not exist; choose one of {', '.join(profile_names(profiles))}")
    values = read_yaml(profiles / f"{like}.yaml")
    return {name: section for name, section in values.items() if name not in DATA_SECTIONS}


def _fetched_weights(params: Params) -> list[str]:
    """Return remarks on first weights that a run has to fetch."""
    backbones = {stage: getattr(params, stage).backbone for stage in TRAININGS}
    return [
        f"{stage}: the weights of {backbone.name} are downloaded by the first run"
        for stage, backbone in backbones.items()
        if backbone.weights == DOWNLOAD
    ]


def _obstacles(layout: FolderLayout, survey: Survey) -> list[str]:
    if layout.wsss is None or not survey.without_wsss:
        return []
    return [f"maps are missing in {layout.wsss}: add them, or rename the folder and run this again for own maps"]


def _enough_epochs(params: Params, images: int) -> dict[str, Any]:
    """Return more epochs for stages with fewer steps than `FEWEST_STEPS`; parts of the epochs keep their share."""
    changed: dict[str, Any] = {}
    for stage, fewest in FEWEST_STEPS.items():
        section: Training = getattr(params, stage)
        steps = section.epochs * max(1, images // section.batch_size)
        if steps < fewest:
            parts = [key for key in EPOCHS if hasattr(section, key)]
            changed[stage] = {key: math.ceil(getattr(section, key) * fewest / steps) for key in parts}
    return changed


def _data_sections(
    name: str, layout: FolderLayout, survey: Survey, class_numbers: dict[str, int] | None, val_fraction: float
) -> dict[str, Any]:
    def below_root(path: Path | None) -> str | None:
        return None if path is None else path.relative_to(layout.root).as_posix()

    return {
        "dataset": {"name": name, "format": "folder", "root": layout.root.as_posix(), "supervision": "image"},
        "prepare": {
            "categories": [found.name for found in survey.classes],
            "folder": {
                "labels": below_root(layout.labels),
                "points": below_root(layout.points),
                "annotations": below_root(layout.annotations),
                **({"val_fraction": val_fraction} if val_fraction else {}),
            },
        },
        "import_wsss": {
            "source": (layout.wsss or OWN_MAPS).as_posix(),
            **({"class_numbers": class_numbers} if class_numbers else {}),
        },
    }


def _class_table(layout: FolderLayout, survey: Survey) -> Table:
    """Return a table with one row per class, and only the columns that the folder has a source for."""
    columns = {
        "train": ("training images", True),
        "val": ("validation images", survey.val > 0),
        "on_wsss_maps": ("on their WSSS map", layout.wsss is not None),
        "points": ("points", layout.points is not None),
        "true_objects": ("true objects", layout.annotations is not None),
    }
    shown = {key: title for key, (title, there) in columns.items() if there}
    table = Table("category_id", "class", *shown.values(), box=None)
    for found in survey.classes:
        table.add_row(str(found.category_id), found.name, *(str(getattr(found, key)) for key in shown))
    return table


def _remarks(layout: FolderLayout, survey: Survey) -> list[str]:
    (low_h, low_w), (high_h, high_w) = survey.smallest_hw, survey.largest_hw
    lines = [
        f"{survey.train} training and {survey.val} validation images, "
        f"{low_h} to {high_h} px high, {low_w} to {high_w} px wide"
    ]
    if not survey.val:
        lines.append(
            "no validation images, so no new image will show what was learned: give about one image in five the split "
            f"val in {layout.labels}, or take --val 0.2"
        )
    if survey.other_splits:
        counts = ", ".join(f"{split} ({count})" for split, count in survey.other_splits.items())
        total = sum(survey.other_splits.values())
        lines.append(f"{total} images are left out, since their split is neither train nor val: {counts}")
    if survey.unread_columns:
        lines.append(f"{layout.labels} has columns that nothing reads: {', '.join(survey.unread_columns)}")
    if survey.without_labels:
        lines.append(f"{survey.without_labels} training images have no label")
    if survey.not_listed:
        lines.append(f"{survey.not_listed} image files are not in {layout.labels} and are left out")
    if layout.wsss is None:
        lines.append(f"no WSSS maps in {layout.root / 'WSSS_maps'}: the pipeline makes its own from the labels")
    elif survey.without_wsss:
        first = _first(survey.without_wsss)
        lines.append(f"{len(survey.without_wsss)} training images have no map in {layout.wsss}: {first}")
    if ids := survey.without_points:
        lines.append(
            f"points in {layout.points} are not enough for `dataset.supervision=point`: {len(ids)} training images "
            f"have a label without a point: {_first(ids)}"
        )
    elif layout.points is not None:
        lines.append(f"points in {layout.points}: `--set dataset.supervision=point` trains with them")
    if files := survey.points_not_listed:
        first = _first(files)
        lines.append(f"points of {len(files)} files that are not in {layout.labels} are left out: {first}")
    if layout.annotations is None:
        lines.append("no annotations.json with true masks: there will be instances, but no scores")
    if max(high_h, high_w) > LARGE_SIDE_PX:
        lines.append(f"images above {LARGE_SIDE_PX} px take much memory and time: scale them down first")
    return lines


def _first(names: Sequence[str]) -> str:
    """Return the first three names as text, with dots if there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
