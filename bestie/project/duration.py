"""How long a run will take on a CPU, from times that were measured with the profile `voc_subset`."""

from bestie.artifacts.paths import OWN_MAPS
from bestie.params.params_yaml import Params
from bestie.params.training import Training

#: The profile that was timed, on photographs of at most 352 px.
TIMED = "voc_subset"
#: Seconds of one core (bf16, 2026-11-29) for a training image in one epoch, and for a training image in one pass.
AN_EPOCH = {"train_pam": 0.042, "train_wsss": 0.34, "train_bestie": 0.09, "train_mrcnn": 0.125}
A_PASS = {"extract_cues": 0.14, "export_mrcnn": 0.6}
#: The same for `train_wsss`: an epoch of boundaries, cells for the discriminants, and a set of maps.
BOUNDARIES, CELLS, OWN_MAP = 0.21, 0.28, 0.45
#: Seconds for a validation image of `evaluate`.
SCORED_IMAGE = 0.9
#: Seconds that starting, reading and writing take in all stages together.
FIXED = 90


def minutes_on_one_core(params: Params, train: int, val: int) -> int:
    """Return the estimated minutes of a whole run with networks and image sizes like those of the profile `TIMED`.

    Args:
        params: the parameters.
        train: number of training images.
        val: number of validation images.
    """
    own = params.import_wsss.source == OWN_MAPS
    seconds = FIXED + SCORED_IMAGE * val + sum(A_PASS.values()) * train
    for stage, each in AN_EPOCH.items():
        section: Training = getattr(params, stage)
        if stage != "train_wsss":
            seconds += each * section.epochs * train
        elif own:
            wsss = params.train_wsss
            sets_of_maps = wsss.rounds + (wsss.boundary_epochs > 0) + 1
            learned = each * wsss.epochs * wsss.rounds + BOUNDARIES * wsss.boundary_epochs
            seconds += (CELLS + learned + OWN_MAP * sets_of_maps) * train
    return max(1, round(seconds / 60))
