"""Train Mask R-CNN on the exported labels: `python -m stages.train_mrcnn`."""

import sys

from bestie.artifacts.image_index import read_images
from bestie.artifacts.metrics_json import write_history
from bestie.artifacts.tables import read_categories
from bestie.errors import InputError
from bestie.evaluation.shown_score import find_shown_score
from bestie.params.dataset import Dataset
from bestie.params.train_mrcnn import TrainMrcnn
from bestie.runtime.device import pick_device, prepare_process
from bestie.runtime.distributed import spread
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.ranks import end_helpers
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.training.checkpoints import Checkpoints
from bestie.training.detector_model import create_detector
from bestie.training.detector_training import read_detector_images, train_detector
from bestie.training.saved_models import save_model


def main(dataset: Dataset, params: TrainMrcnn, settings: Settings) -> None:
    """Train the detector; write it with its history.

    Raises:
        InputError: the exported labels hold no instance.
    """
    prepare_process(params.seed)
    device = pick_device(settings.device)
    categories = read_categories(folder("prepare") / "categories.parquet")
    num_classes = len(categories)
    records = read_images(folder("prepare") / "images.parquet", "train")
    labels = folder("export_mrcnn") / "instances.parquet"
    samples = read_detector_images(labels, records, dataset.image_root, jitter=params.jitter)
    if not samples.records:
        raise InputError(
            f"{labels} holds no instance: the network's semantic map is background everywhere. "
            "Train longer (train_bestie.epochs), or look at the WSSS maps in data/import_wsss"
        )
    previous = folder("train_bestie") / "network.zarr"
    detector, origin = create_detector(params, num_classes=num_classes, previous=previous)
    detector.to(device)
    inputs = [folder("prepare") / "images.parquet", labels, previous]
    name = fingerprint("train_mrcnn", inputs, dataset=dataset, params=params, origin=origin)
    checkpoints = Checkpoints(settings.state / "train_mrcnn", name, minutes=settings.checkpoint_minutes)
    history = train_detector(detector, samples, params, settings, device, checkpoints=checkpoints)
    end_helpers()
    out = folder("train_mrcnn")
    save_model(
        out / "detector.zarr",
        detector,
        params,
        num_classes=num_classes,
        origin=origin,
        categories=categories,
        shown_score=find_shown_score(detector, samples, device, params.precision),
    )
    write_history(out / "history.parquet", out / "history.json", history)
    checkpoints.remove()


if __name__ == "__main__":
    run_stage("train_mrcnn", TrainMrcnn, spread(main), sys.argv[1:])
