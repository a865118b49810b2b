"""Train the classifier with the peak attention module on image-level labels: `python -m stages.train_pam`."""

import sys

import numpy as np
import torch
from torch.nn import functional as F

from bestie.artifacts.image_index import read_images
from bestie.artifacts.metrics_json import write_history, write_json
from bestie.artifacts.tables import read_categories
from bestie.method.pam import Classifier
from bestie.metrics.class_scores import classification_map
from bestie.params.dataset import Dataset
from bestie.params.train_pam import TrainPam
from bestie.prediction.padded_image import padded_image
from bestie.runtime.device import autocast, pick_device, prepare_process
from bestie.runtime.distributed import replicate, spread
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.ranks import end_helpers
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.training.checkpoints import Checkpoints
from bestie.training.classifier_model import create_classifier
from bestie.training.loop import Clock
from bestie.training.samples import LabeledBatch, LabeledImages
from bestie.training.saved_models import save_model
from bestie.training.train import train


def main(dataset: Dataset, params: TrainPam, settings: Settings) -> None:
    """Train the classifier, score it on the validation images, and write it with its history and scores."""
    prepare_process(params.seed)
    device = pick_device(settings.device)
    index = folder("prepare") / "images.parquet"
    categories = read_categories(folder("prepare") / "categories.parquet")
    classifier, origin = create_classifier(params, num_classes=len(categories))
    classifier.to(device).to(memory_format=torch.channels_last)
    samples = LabeledImages(read_images(index, "train"), dataset.image_root, len(categories), params.augmentation)
    name = fingerprint("train_pam", [index], dataset=dataset, params=params, origin=origin)
    checkpoints = Checkpoints(settings.state / "train_pam", name, minutes=settings.checkpoint_minutes)
    history: list[dict[str, float]] = []
    if not params.trained:
        history = train_classifier(classifier, samples, params, settings, device, checkpoints)
    end_helpers()

    val_map, val_ap = score_classifier(classifier, dataset, params, device, len(categories))
    out = folder("train_pam")
    save_model(
        out / "classifier.zarr", classifier, params, num_classes=len(categories), origin=origin, categories=categories
    )
    write_history(out / "history.parquet", out / "history.json", history)
    write_json(out / "metrics.json", {} if val_map is None else {"val_map": val_map})
    write_json(out / "val_ap.json", val_ap)
    checkpoints.remove()


def train_classifier(
    classifier: Classifier,
    samples: LabeledImages,
    params: TrainPam,
    settings: Settings,
    device: torch.device,
    checkpoints: Checkpoints,
) -> list[dict[str, float]]:
    """Train with binary cross-entropy, the first `plain_epochs` without peak attention; return the history."""
    replica = replicate(classifier)

    def step(batch: LabeledBatch, clock: Clock) -> dict[str, torch.Tensor]:
        classifier.attend(clock.epoch >= params.plain_epochs)
        with autocast(device, params.precision):
            logits = replica(batch.images.to(device, non_blocking=True))
        labels = batch.labels.to(device, non_blocking=True)
        return {"total": F.binary_cross_entropy_with_logits(logits.float(), labels)}

    return train(
        classifier,
        samples,
        step,
        params,
        settings,
        description="train_pam",
        device=device,
        checkpoints=checkpoints,
    )


@torch.no_grad()
def score_classifier(
    classifier: Classifier, dataset: Dataset, params: TrainPam, device: torch.device, num_classes: int
) -> tuple[float | None, dict[int, float]]:
    """Return the multi-label mAP and the AP by category_id on the validation images, from their labels only.

    Without validation images, they are None and empty.
    """
    records = read_images(folder("prepare") / "images.parquet", "val")
    if not records:
        return None, {}
    classifier.eval()
    classifier.attend(True)
    probabilities = []
    for record in records:
        image = padded_image(dataset.image_root, record)
        with autocast(device, params.precision):
            logits = classifier(image.to(device))
        probabilities.append(logits.float().sigmoid().cpu())
    labels = np.stack([record.label_vector(num_classes) for record in records]) > 0
    result = classification_map(torch.cat(probabilities).numpy(), labels)
    return result.mean, dict(enumerate(result.ap.tolist(), start=1))


if __name__ == "__main__":
    run_stage("train_pam", TrainPam, spread(main), sys.argv[1:])
