"""Warnings about the health of a run: what went wrong without an error, the likely cause, and what to look at.

The stages that can detect such problems write `data/<stage>/warnings.json`, an empty list if all is well. The summary,
the report and the Prefect UI show these warnings.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from bestie.artifacts.metrics_json import read_json, write_json
from bestie.errors import InputError

WARNINGS = "warnings.json"
#: A class that more of its maps lack, or that fills more of them, is named.
SUSPICIOUS_PART = 0.2
#: The stages that write warnings, in the order in which they run.
WATCHED = (*("prepare", "extract_cues", "make_wsss", "make_pseudo_labels", "train_bestie", "export_mrcnn", "evaluate"),)


@dataclass(frozen=True)
class HealthWarning:
    """One problem.

    Attributes:
        what: what was found, with numbers.
        cause: the most common cause.
        look_at: parameters and files to look at, the most likely first.
    """

    what: str
    cause: str
    look_at: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what}. Likely cause: {self.cause}. Look at: {', '.join(self.look_at)}"


def write_warnings(folder: Path, warnings: Sequence[HealthWarning]) -> None:
    """Print the warnings of the stage that writes to `folder` on standard error, and store them in the folder."""
    for warning in warnings:
        print(f"{folder.name}: warning: {warning}", file=sys.stderr)
    write_json(folder / WARNINGS, [asdict(warning) for warning in warnings])


def read_warnings(data: Path) -> list[tuple[str, HealthWarning]]:
    """Return (stage, warning) for all warnings of a run, in the order of the stages that have run so far.

    Args:
        data: the folder that holds the output folders of the stages.

    Raises:
        InputError: a file is malformed.
    """
    found = []
    for stage in WATCHED:
        path = data / stage / WARNINGS
        if path.is_file():
            found += [(stage, warning) for warning in _parse(path)]
    return found


def skipped_samples(skipped: int, total: int) -> list[HealthWarning]:
    """Return a warning if `prepare` set samples aside."""
    if not skipped:
        return []
    return [
        HealthWarning(
            f"{skipped} of {total} samples are set aside, and no stage sees them",
            "damaged or contradictory files, each with its reason in data/prepare/skipped.parquet",
            ("data/prepare/skipped.parquet", "prepare.on_error"),
        )
    ]


def missing_cues(images: Mapping[str, int], cues: Mapping[str, int], *, given: bool) -> list[HealthWarning]:
    """Return warnings about classes without any cue, whose objects no later stage can learn to find.

    Args:
        images: class name -> number of training images that show it.
        cues: class name -> number of its cues.
        given: whether the cues are labeled points.
    """
    found = []
    if unseen := [name for name, count in images.items() if not count]:
        found.append(
            HealthWarning(
                f"no training image shows {_listed(unseen)}",
                "the image list leaves the class out, or its labels have another name",
                ("prepare.train_list", "prepare.limit_train", "prepare.categories"),
            )
        )
    without = [name for name, count in images.items() if count and not cues.get(name)]
    if not without:
        return found
    shown = _listed([f"{name} (in {images[name]} training images)" for name in without])
    look_at: tuple[str, ...]
    if given:
        cause, look_at = "the images have no point of the class", ("data/prepare/points.parquet",)
    elif len(without) == sum(count > 0 for count in images.values()):
        cause = "the classifier has not learned, so that its activations stay below the threshold"
        look_at = ("data/train_pam/metrics.json", "train_pam.epochs", "train_pam.optimizer.learning_rate")
    else:
        cause = "the classifier does not recognize the class: too few images, or too short a training"
        look_at = ("data/train_pam/metrics.json", "train_pam.epochs", "extract_cues.threshold")
    return [*found, HealthWarning(f"no cue for {shown}", cause, look_at)]


def unlikely_maps(names: Sequence[str], counts: Mapping[str, Integer[np.ndarray, " k"]]) -> list[HealthWarning]:
    """Return warnings about classes that own semantic maps often lack, or that often fill them.

    Args:
        names: the classes, in the order of their category_id.
        counts: by category_id, from 0: "labeled" images with the class, of which "absent" have no pixel of it on their
            map, and "everywhere" have hardly anything else.
    """
    found = []
    causes = {
        "absent": (
            "no pixel of their map shows the class in",
            "the class has too few images, or is always seen with another one that takes its place",
            ("data/train_pam/metrics.json", "train_wsss.background", "make_wsss.background_factor"),
        ),
        "everywhere": (
            "nearly every pixel of their map shows the class in",
            "the surroundings of the class are as typical of it as the class itself",
            ("train_wsss.background", "make_wsss.background_factor", "train_wsss.context_threshold"),
        ),
    }
    for kind, (what, cause, look_at) in causes.items():
        shown = [
            f"{name} ({counts[kind][number]} of {counts['labeled'][number]})"
            for number, name in enumerate(names, start=1)
            if counts[kind][number] > SUSPICIOUS_PART * counts["labeled"][number]
        ]
        if shown:
            found.append(HealthWarning(f"{what} images of {_listed(shown)}", cause, look_at))
    return found


def missing_labels(
    labels: Mapping[str, int], components: Mapping[str, Counter[str]], images: Mapping[str, int]
) -> list[HealthWarning]:
    """Return warnings about classes without any pseudo label.

    Args:
        labels: class name -> number of its pseudo instances.
        components: class name -> number of its components on the WSSS maps by verdict (`Status`).
        images: class name -> number of training images that show it.
    """
    known = [name for name, count in images.items() if count]
    without = [name for name in known if not labels.get(name)]
    groups: dict[str, list[str]] = {}
    for name in without:
        counts = components.get(name, Counter())
        verdict = max(sorted(counts), key=lambda status: counts[status]) if counts else "absent"
        detail = ", ".join(f"{counts[status]} {status}" for status in sorted(counts)) or "no component"
        groups.setdefault(verdict, []).append(f"{name} ({detail})")
    whole = len(without) == len(known)
    return [
        HealthWarning(
            f"{'the pseudo labels are empty' if whole else 'no pseudo label'} for {_listed(names)}",
            *_CAUSES[verdict],
        )
        for verdict, names in sorted(groups.items())
    ]


def unused_corrections(image_ids: Sequence[str]) -> list[HealthWarning]:
    """Return a warning about corrected images that are no training images."""
    if not image_ids:
        return []
    return [
        HealthWarning(
            f"corrections of {_listed(list(image_ids[:3]))}{' and others' if len(image_ids) > 3 else ''} are not used: "
            "no training image has this name",
            "the data set changed after its labels were corrected",
            ("data/raw/corrections", "dataset.root"),
        )
    ]


def missing_exports(exported: Mapping[str, int], images: Mapping[str, int]) -> list[HealthWarning]:
    """Return a warning about classes without any exported label, which Mask R-CNN cannot learn.

    Args:
        exported: class name -> number of its exported labels.
        images: class name -> number of training images that show it.
    """
    without = [
        f"{name} (in {count} training images)" for name, count in images.items() if count and not exported.get(name)
    ]
    if not without:
        return []
    return [
        HealthWarning(
            f"no exported label for {_listed(without)}",
            "the network does not find the class: it had too few pseudo labels, or its training was too short",
            (
                "data/make_pseudo_labels/warnings.json",
                "export_mrcnn.min_score",
                "export_mrcnn.pseudo_labels",
                "train_bestie.epochs",
            ),
        )
    ]


def unfound_classes(found: Mapping[str, Mapping[str, int]], images: Mapping[str, int]) -> list[HealthWarning]:
    """Return a warning for each model that finds a class in none of the validation images labeled with it.

    Args:
        found: name of a model -> class name -> number of the labeled images in which it finds the class.
        images: class name -> number of validation images that are labeled with it.
    """
    warnings = []
    for model, counts in found.items():
        without = [f"{name} ({count})" for name, count in images.items() if count and not counts.get(name)]
        if without:
            warnings.append(
                HealthWarning(
                    f"{model} finds in none of the validation images that are labeled with it: {_listed(without)}",
                    "too few labels of the class, labels with another class's objects, or too short a training",
                    ("bestie summary", "data/export_mrcnn/warnings.json", "train_bestie.epochs", "train_mrcnn.epochs"),
                )
            )
    return warnings


def collapsed_centers(history: Sequence[Mapping[str, float]], threshold: float) -> list[HealthWarning]:
    """Return a warning if the center map has no clear maxima after training, so that neighboring objects merge.

    Args:
        history: the rows of the training history; empty if nothing was trained.
        threshold: the least center score, 0 to 1, that counts as a center.
    """
    if not history or history[-1]["center_max_p90"] >= threshold:
        return []
    last = history[-1]
    return [
        HealthWarning(
            f"the center map has collapsed: 90 % of its maxima are below {last['center_max_p90']:.3g} at the end, and "
            f"centers count from {threshold:g}; {last['refined_per_image']:.3g} refined instances an image",
            "too few pseudo labels or steps, too small a weight of the center loss, or a loss over the whole image",
            (
                "data/make_pseudo_labels/warnings.json",
                "train_bestie.epochs",
                "train_bestie.lambda_center",
                "train_bestie.instance_aware_guidance",
            ),
        )
    ]


_CAUSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "absent": (
        "the WSSS maps do not show the class where images are labeled with it, often by another numbering",
        ("import_wsss.source", "prepare.categories", "data/import_wsss/summary.parquet"),
    ),
    "no_cue": (
        "most components have no cue",
        ("extract_cues.threshold", "data/extract_cues/warnings.json", "train_pam.epochs"),
    ),
    "several_cues": (
        "most components hold more than one cue",
        ("extract_cues.window_px", "extract_cues.threshold", "extract_cues.max_per_class"),
    ),
    "too_small": ("most components are smaller than the least area", ("make_pseudo_labels.min_area_px",)),
}

MAX_LISTED = 20


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _parse(path: Path) -> list[HealthWarning]:
    try:
        return [HealthWarning(e["what"], e["cause"], tuple(e["look_at"])) for e in read_json(path)]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} holds no warnings. Run the stage that writes it again.") from error
