"""How long a run will take on a CPU, from times that were measured with the profile `voc_subset`."""

from bestie.artifacts.paths import OWN_MAPS
from bestie.params.params_yaml import Params
from bestie.params.training import Training

#: The profile that was timed, on photographs of at most 352 px.
TIMED = "voc_subset"
#: Seconds of one core (bf16, 2026-11-29) for a training image in one epoch, and for a training image in one pass.
AN_EPOCH = {"train_pam": 0.042, "train_wsss": 0.34, "train_bestie": 0.09, "train_mrcnn": 0.125}
A_PASS = {"extract_cues": 0.14, "export_mrcnn": 0.6}
#: The same for the maps that a round of `train_wsss` and `make_wsss` make, and for a validation image of `evaluate`.
OWN_MAP, SCORED_IMAGE = 0.45, 0.9
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
            rounds = params.train_wsss.rounds
            seconds += (each * section.epochs * rounds + OWN_MAP * (rounds + 1)) * train
    return max(1, round(seconds / 60))
