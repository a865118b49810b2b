"""A check for missing inputs of a plan, before its first run starts."""

from collections.abc import Iterator, Mapping
from typing import Any

from bestie.errors import InputError
from bestie.project.profiles import INPUT_FOLDERS, missing_folders
from bestie.tables.plan import Plan
from bestie.training.weight_files import PACKAGE, find_package, is_file_name, weight_path


def check_inputs(plan: Plan, *, with_mrcnn: bool) -> None:
    """Check that all folders and weight files that the runs read exist.

    Args:
        plan: the runs.
        with_mrcnn: whether Mask R-CNN is trained too, from its initial weights.

    Raises:
        InputError: some are missing; the message names the keys of all of them.
    """
    trained = ("train_pam", "train_wsss", "train_bestie", *(["train_mrcnn"] if with_mrcnn else []))
    found: dict[str, None] = {}
    for run in plan.runs:
        written = "import_wsss.source" if run.true_maps else None  # the run writes it itself
        found |= dict.fromkeys(missing_folders(run.params, [key for key in INPUT_FOLDERS if key != written]))
        found |= dict.fromkeys(remark for stage in trained for remark in _missing_weights(stage, run.params[stage]))
    if found:
        raise InputError(f"{'; '.join(found)}; put it there, or name another with --set KEY=PATH")


def _missing_weights(stage: str, section: Mapping[str, Any]) -> Iterator[str]:
    """Yield a remark if a finished model, or otherwise the file or package of the backbone's weights, is missing."""
    finished = section.get("trained")
    key, name = ("trained", finished) if finished else ("backbone.weights", section["backbone"]["weights"])
    if is_file_name(name) and not weight_path(name).exists():
        yield f"{stage}.{key}: there is no file {weight_path(name)} yet (BESTIE_WEIGHTS names a folder to look in)"
    if name == PACKAGE and not finished:
        try:
            find_package(section["backbone"]["name"])
        except InputError as error:
            yield f"{stage}.{error}"
