"""What the runs of a plan read and is not there, said before the first of them starts."""

from collections.abc import Iterator, Mapping
from typing import Any

from bestie.errors import InputError
from bestie.profiles import INPUT_FOLDERS, missing_folders
from bestie.tables.plan import Plan
from bestie.training.weight_files import is_file_name, weight_path


def check_inputs(plan: Plan, *, with_mrcnn: bool) -> None:
    """InputError, naming the keys of all folders and weight files of the runs that are not there.

    Args:
        plan: the runs.
        with_mrcnn: Mask R-CNN is trained, too, and reads its first weights.
    """
    trained = ("train_pam", "train_bestie", *(["train_mrcnn"] if with_mrcnn else []))
    found: dict[str, None] = {}
    for run in plan.runs:
        written = "import_wsss.source" if run.true_maps else None  # by the run itself
        found |= dict.fromkeys(missing_folders(run.params, [key for key in INPUT_FOLDERS if key != written]))
        found |= dict.fromkeys(remark for stage in trained for remark in _missing_weights(stage, run.params[stage]))
    if found:
        raise InputError(f"{'; '.join(found)}; put it there, or name another with --set KEY=PATH")


def _missing_weights(stage: str, section: Mapping[str, Any]) -> Iterator[str]:
    """A remark where a finished model, or else the backbone's first weights, is a file that is not there."""
    finished = section.get("trained")
    key, name = ("trained", finished) if finished else ("backbone.weights", section["backbone"]["weights"])
    if is_file_name(name) and not weight_path(name).exists():
        yield f"{stage}.{key}: there is no file {weight_path(name)} yet (BESTIE_WEIGHTS names a folder to look in)"
