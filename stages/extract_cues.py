"""Extract instance cues from activation maps: `python -m stages.extract_cues`.

With point supervision (Section 4.3) the labeled points are the cues; the maps are still written, for inspection.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import cue_rows
from bestie.artifacts.map_layout import layout_of
from bestie.artifacts.maps import MapWriter
from bestie.artifacts.schemas import CUES
from bestie.artifacts.tables import TableWriter, count_categories, read_categories, read_points
from bestie.method.cues import find_cues, smooth
from bestie.method.pam import Classifier, normalize_activation
from bestie.params.dataset import Dataset
from bestie.params.extract_cues import ExtractCues
from bestie.prediction.padded_image import padded_image
from bestie.records import Category, ImageRecord, Point, images_by_label
from bestie.runtime.device import autocast, pick_device, prepare_process
from bestie.runtime.distributed import spread
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.health import HealthWarning, missing_cues, write_warnings
from bestie.runtime.parts import own_rows, written_together
from bestie.runtime.processes import in_processes
from bestie.runtime.progress import Progress
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.training.classifier_model import load_classifier

#: Stride of the stored activation maps, in px. The maps are smooth, and the cues are found at full size.
STORED_STRIDE_PX = 8
CLASSIFIER = folder("train_pam") / "classifier.zarr"
POINTS = folder("prepare") / "points.parquet"


def main(dataset: Dataset, params: ExtractCues, settings: Settings) -> None:
    """Run the classifier over the training images and write maps and cues."""
    prepare_process(0)
    device = pick_device(settings.device)
    index = folder("prepare") / "images.parquet"
    categories = read_categories(folder("prepare") / "categories.parquet")
    num_classes = len(categories)
    every = read_images(index)
    records = every.of_split("train")
    classifier = load_classifier(CLASSIFIER).to(device)
    points = read_points(POINTS) if dataset.supervision == "point" else None

    out = folder("extract_cues")
    layout = layout_of(-(-every.sizes_hw // STORED_STRIDE_PX))
    mine = records.within(own_rows(records.rows, settings))
    progress = Progress("extract_cues", len(mine), unit="image", as_json=settings.json_progress)
    spec = {"activation": ("uint8", 0, num_classes)}
    attributes = {"stride_px": STORED_STRIDE_PX, "scale": 255}
    inputs = [index, CLASSIFIER, *([] if points is None else [POINTS])]
    made_from = partial(fingerprint, "extract_cues", inputs, dataset=dataset, params=params)

    def find(record: ImageRecord) -> tuple[np.ndarray, list[dict[str, Any]]]:
        image = padded_image(dataset.image_root, record)
        activation = activation_maps(classifier, image, record, params, device, num_classes)
        given = None if points is None else points.get(record.row, np.zeros((0, 3)))
        return shrink(activation), cue_rows(record, cues_of(record, activation, params, given))

    with (
        written_together(
            out, settings, made_from, map_names=["activations.zarr"], tables={"cues.parquet": CUES}
        ) as share,
        MapWriter(share.place / "activations.zarr", spec, len(every), layout, attributes) as maps,
        TableWriter(share.place / "cues.parquet", CUES) as table,
    ):
        found = in_processes(find, mine, len(mine), device=device, settings=settings)
        for record, (activation, cues) in zip(mine, found, strict=True):
            maps.write(record.row, "activation", activation)
            table.append_rows(cues)
            progress.advance()
    progress.close()
    write_warnings(out, cue_warnings(records, categories, out / "cues.parquet", given=points is not None))


def cue_warnings(
    records: Sequence[ImageRecord], categories: list[Category], table: Path, *, given: bool
) -> list[HealthWarning]:
    """Return the warnings about classes that have no cue in the table of cues."""
    images = images_by_label(records)
    cues = count_categories(table, CUES)
    return missing_cues(
        {each.name: images[each.category_id] for each in categories},
        {each.name: cues[each.category_id] for each in categories},
        given=given,
    )


@torch.no_grad()
def activation_maps(
    classifier: Classifier,
    image: UInt8[Tensor, "1 3 h w"],
    record: ImageRecord,
    params: ExtractCues,
    device: torch.device,
    num_classes: int,
) -> Float[Tensor, "c h w"]:
    """Return activation maps at the size of the image without padding, summed over scales and flips, in [0, 1]."""
    inputs = image.to(device).float()
    size = inputs.shape[-2:]
    total = torch.zeros((1, num_classes, *size), device=device)
    for scale in params.scales:
        scaled = inputs if scale == 1 else F.interpolate(inputs, scale_factor=scale, mode="bilinear")
        for flipped in (False, True) if params.flip else (False,):
            with autocast(device, params.precision):
                maps = classifier.activation_maps(scaled.flip(-1) if flipped else scaled)
            maps = maps.flip(-1) if flipped else maps
            total += F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)
    labels = torch.from_numpy(record.label_vector(num_classes)).to(device)
    return normalize_activation(total[:, :, : record.height, : record.width], labels[None])[0].cpu()


def shrink(activation: Float[Tensor, "c h w"]) -> np.ndarray:
    """Return the maps at the stored stride, as uint8 with 255 for 1."""
    height, width = (-(-side // STORED_STRIDE_PX) for side in activation.shape[-2:])
    small = F.adaptive_avg_pool2d(activation, (height, width))
    return (small * 255).round().to(torch.uint8).numpy()


def cues_of(
    record: ImageRecord, activation: Float[Tensor, "c h w"], params: ExtractCues, given: np.ndarray | None
) -> list[Point]:
    """Return the cues of one image: the `given` points (x, y, category_id), or local maxima of its classes' maps."""
    if given is not None:
        return [Point(int(category), float(y), float(x)) for x, y, category in given]
    channels = [label - 1 for label in record.labels]
    found = find_cues(
        smooth(activation.numpy()[channels]),
        window_px=params.window_px,
        threshold=params.threshold,
        max_per_class=params.max_per_class,
    )
    rows = zip(found.channel, found.y, found.x, found.score, strict=True)
    return [Point(channels[channel] + 1, float(y), float(x), float(score)) for channel, y, x, score in rows]


if __name__ == "__main__":
    run_stage("extract_cues", ExtractCues, spread(main, images=True), sys.argv[1:], in_parts=True)
