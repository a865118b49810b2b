"""A check for missing inputs of a plan, before its first run starts."""

from collections.abc import Iterator, Mapping
from typing import Any

from bestie.errors import InputError
from bestie.project.profiles import INPUT_FOLDERS, missing_folders
from bestie.tables.plan import Plan
from bestie.training.weight_files import missing_file, missing_weights, weight_path


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
    backbone = section["backbone"]
    if finished := section.get("trained"):
        missing = None if weight_path(finished).exists() else f"trained: {missing_file(finished)}"
    else:
        missing = missing_weights(backbone["weights"], backbone["name"])
    if missing:
        yield f"{stage}.{missing}"
