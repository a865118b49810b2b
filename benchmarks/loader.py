"""The data loader without a network: `python -m benchmarks.loader [--images FOLDER]`.

The images are the JPEG files of the folder, or drawn ones; the maps are drawn. It prints how many samples per second
two workers load, and where the time of one process goes.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.common import line, measure, start
from benchmarks.scenes import draw_scene
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.datasets.image_reading import image_size
from bestie.method.targets import render_targets
from bestie.params.training import Augmentation
from bestie.records import ImageRecord, hash_file
from bestie.training import samples as samples_module
from bestie.training.loop import EpochSamples, epoch_batches
from bestie.training.samples import InstanceImages

IMAGES, CROP_PX, CLASSES, BATCH_SIZE, WORKERS = 128, 416, 20, 16, 2
#: The parts of the work on one sample: name -> the function of `bestie.training.samples` that is timed.
PARTS = {
    "read and decode the image, check its hash": "image_tensor",
    "scale, crop and flip image and maps": "crop_and_flip",
    "color jitter": "jitter_colors",
    "label the components": "label_components",
}


def draw_images(folder: Path) -> None:
    """Write JPEG files of 375 x 500 px with as much detail as photographs (about 100 kB)."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = rng.integers(0, 256, (47, 63, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC).astype(np.int32)
        image += rng.integers(-14, 15, image.shape)
        cv2.imwrite(str(folder / f"{number:04}.jpg"), np.clip(image, 0, 255).astype(np.uint8))


def make_samples(images: Path, scratch: Path) -> InstanceImages:
    """Return samples for the network's training: the first images of a folder, with drawn maps."""
    rng = np.random.default_rng(0)
    records, categories = [], {}
    for row, path in enumerate(sorted(images.glob("*.jpg"))[:IMAGES]):
        height, width = image_size(path)
        labels = tuple(sorted(rng.choice(np.arange(1, CLASSES + 1), 2, replace=False).tolist()))
        records.append(ImageRecord(row, path.stem, "train", path.name, height, width, hash_file(path), labels))
    canvas_hw = (max(r.height for r in records), max(r.width for r in records))
    arrays = {"semantic": ("uint8", 255), "instance": ("uint16", 0)}
    with MapWriter(scratch / "maps.zarr", arrays, len(records), canvas_hw) as maps:
        for record in records:
            size = {"height": record.height, "width": record.width}
            scene = draw_scene(rng, **size, classes=list(record.labels), objects=3)
            maps.write(record.row, "semantic", scene.semantic)
            maps.write(record.row, "instance", scene.instance.astype(np.uint16))
            categories[record.row] = scene.category_id
    reader = MapReader(scratch / "maps.zarr", keep=True)
    augmentation = Augmentation(crop_px=CROP_PX, scale=(0.7, 1.3))
    return InstanceImages(
        records, images, CLASSES, augmentation, semantic=reader, instance=reader, categories=categories
    )


def loader(samples: InstanceImages, *, workers: int, epoch: int) -> DataLoader:
    """Return a loader of one epoch, as the training loop makes it."""
    batches = epoch_batches(len(samples.records), batch_size=BATCH_SIZE, seed=0, epoch=epoch)
    return DataLoader(
        EpochSamples(samples, seed=0),
        batch_sampler=[[(epoch, index) for index in batch] for batch in batches],
        collate_fn=samples.collate,
        num_workers=workers,
        persistent_workers=False,
    )


def timed_parts(samples: InstanceImages) -> dict[str, float]:
    """Return the processor time per sample in milliseconds, of each of `PARTS` and of everything (`all`)."""
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            began = time.process_time()
            result = function(*arguments, **options)
            spent[name] += time.process_time() - began
            return result

        return call

    originals = {function: getattr(samples_module, function) for function in PARTS.values()}
    try:
        for name, function in PARTS.items():
            setattr(samples_module, function, timed(name, originals[function]))
        began = time.process_time()
        for index in range(len(samples.records)):
            samples(index, np.random.default_rng(index))
        spent["all"] = time.process_time() - began
    finally:
        for function, original in originals.items():
            setattr(samples_module, function, original)
    return {name: 1e3 * seconds / len(samples.records) for name, seconds in spent.items()}


def run(images: Path, scratch: Path, repeats: int) -> None:
    """Measure the loader, and print the results."""
    samples = make_samples(images, scratch)
    count = len(samples.records)
    for index in range(count):  # maps are kept in memory from the second epoch on
        samples(index, np.random.default_rng(index))
    for name, milliseconds in timed_parts(samples).items():
        line(name if name != "all" else "one sample in one process", f"CPU {milliseconds:.2f} ms")
    batch = next(iter(loader(samples, workers=0, epoch=0)))
    rendered = measure(lambda: render_targets(batch.instance, batch.category, num_classes=CLASSES), repeats=repeats)
    line("render center and offset maps, an image", rendered.per(BATCH_SIZE))
    epochs = measure(lambda: [None for _ in loader(samples, workers=WORKERS, epoch=1)], repeats=repeats)
    whole = count // BATCH_SIZE * BATCH_SIZE
    line(
        f"{WORKERS} workers, {whole} samples an epoch, workers started", f"{whole / epochs.median:.0f} images a second"
    )
    line("wanted, on two cores", "at least 150 images a second")


def main() -> None:
    """Draw images if no folder is given, measure, and remove all files."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--images", type=Path)
    given, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    options = start(
        f"Loader: crops of {CROP_PX} px from {IMAGES} images, batches of {BATCH_SIZE}, {WORKERS} workers", threads=1
    )
    with TemporaryDirectory() as scratch:
        images = given.images or Path(scratch)
        if given.images is None:
            draw_images(images)
        torch.set_num_threads(options.threads)
        run(images, Path(scratch), options.repeats)


if __name__ == "__main__":
    main()
