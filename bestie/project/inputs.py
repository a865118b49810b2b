"""What a run with some parameters would miss: images, labels, maps and first weights, looked at before it starts."""

from collections.abc import Sequence

from bestie.artifacts.paths import OWN_MAPS
from bestie.datasets.base import DataSet
from bestie.datasets.opening import open_dataset
from bestie.datasets.wsss import find_wsss, map_numbers, read_wsss
from bestie.errors import InputError
from bestie.params.params_yaml import Params
from bestie.params.training import Training
from bestie.training.weight_files import missing_weights

#: The stages that may start from weights.
TRAININGS = ("train_pam", "train_wsss", "train_bestie", "train_mrcnn")


def missing_inputs(params: Params) -> list[str]:
    """Return a remark for everything that a run would stop at and that is quickly found.

    The tables of the data set are read as a whole. Of its images, masks and WSSS maps, the first training image has its
    own read, and the other maps are only looked for; `prepare` and `import_wsss` read all of them.
    """
    return [*missing_first_weights(params), *_wrong_data(params)]


def missing_first_weights(params: Params) -> list[str]:
    """Return a remark for each training whose first weights are not here; a download counts as there."""
    found = []
    for stage in TRAININGS:
        section: Training = getattr(params, stage)
        if missing := missing_weights(section.backbone.weights, section.backbone.name):
            found.append(f"{stage}.{missing}")
    return found


def _wrong_data(params: Params) -> list[str]:
    if params.dataset.format == "shapes" or not params.dataset.image_root.is_dir():
        return []
    try:
        reader = open_dataset(params.dataset, params.prepare)
        samples = reader.samples("train")[: params.prepare.limit_train]
        first = samples[0]
        reader.ground_truth(first)
        if params.dataset.supervision == "point":
            reader.points(first)
        return _wrong_maps(params, reader, samples)
    except InputError as error:
        return [str(error)]


def _wrong_maps(params: Params, reader: DataSet, samples: Sequence[str]) -> list[str]:
    """Return how many training images have no WSSS map. Raises InputError if the first image or map is wrong."""
    source = params.import_wsss.source
    numbers = map_numbers([category.name for category in reader.categories], params.import_wsss.class_numbers)
    record = reader.record(samples[0], row=0, split="train")
    if source == OWN_MAPS or not source.is_dir():
        return []
    without = []
    for image_id in samples:
        try:
            find_wsss(source, image_id)
        except InputError:
            without.append(image_id)
    if without:
        return [f"import_wsss.source: {len(without)} training images have no map in {source}, the first {without[0]}"]
    read_wsss(find_wsss(source, samples[0]), height=record.height, width=record.width, numbers=numbers)
    return []
