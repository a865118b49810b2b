"""Training samples: images with everything that earlier stages know about them, augmented together."""

from pathlib import Path

import numpy as np
import torch

from bestie.artifacts.image_index import read_images
from bestie.artifacts.maps import MapReader
from bestie.artifacts.paths import GENERATED_ROOT
from bestie.artifacts.tables import read_instance_categories, read_points
from bestie.method.regions import label_regions
from bestie.params.training import Augmentation
from bestie.training.samples import InstanceImages, LabeledImages

STILL = Augmentation(crop_px=96, scale=(1, 1), flip=False, jitter=0)


def instance_images(augmentation: Augmentation = STILL, *, points: bool = False) -> InstanceImages:
    labels = Path("data/make_pseudo_labels")
    return InstanceImages(
        read_images(Path("data/prepare/images.parquet"), "train"),
        GENERATED_ROOT,
        6,
        augmentation,
        semantic=MapReader(Path("data/import_wsss/maps.zarr")),
        instance=MapReader(labels / "maps.zarr"),
        categories=read_instance_categories(labels / "instances.parquet"),
        points=read_points(Path("data/prepare/points.parquet")) if points else None,
    )


def test_labels_are_those_of_the_index(finished_run: Path):
    records = read_images(Path("data/prepare/images.parquet"), "train")
    samples = LabeledImages(records, GENERATED_ROOT, 6, STILL)
    batch = samples.collate([samples(index, np.random.default_rng(index)) for index in range(4)])
    assert batch.images.shape == (4, 3, 96, 96)
    for record, labels in zip(records, batch.labels, strict=False):
        assert tuple((labels.nonzero().flatten() + 1).tolist()) == record.labels


def test_maps_of_a_sample_are_the_stored_ones(finished_run: Path):
    samples = instance_images()
    for index in range(len(samples.records)):
        sample, record = samples(index, np.random.default_rng(0)), samples.records[index]
        size = (record.height, record.width)
        inside = sample["semantic"] != 255
        stored = samples.semantic.read(record.row, "semantic", *size)
        assert int(inside.sum()) == int((stored != 255).sum())
        stored_ids = samples.instance.read(record.row, "instance", *size)
        assert np.bincount(stored_ids.ravel()).tolist()[1:] == torch.bincount(sample["instance"].flatten()).tolist()[1:]
        np.testing.assert_array_equal(
            sample["components"], label_regions(sample["semantic"].numpy(), sample["labels"].numpy())
        )


def test_tables_of_a_batch_are_filled_up(finished_run: Path):
    samples = instance_images(points=True)
    batch = samples.collate([samples(index, np.random.default_rng(0)) for index in range(8)])
    counts = [len(samples.categories.get(record.row, ())) for record in samples.records[:8]]
    assert batch.category.shape == (8, max(counts))
    assert [(row > 0).sum().item() for row in batch.category] == counts
    assert batch.points_yx is not None
    assert batch.points_category is not None
    assert ((batch.points_yx == -1).all(-1) == (batch.points_category == 0)).all()


def test_points_stay_on_their_pixels_when_an_image_is_mirrored_and_scaled(finished_run: Path):
    samples = instance_images(Augmentation(crop_px=128, scale=(0.7, 1.4), flip=True, jitter=0.0), points=True)
    truth = MapReader(Path("data/prepare/ground_truth.zarr"))
    samples = InstanceImages(**{**vars(samples), "semantic": truth})
    checked = 0
    for index in range(len(samples.records)):
        sample = samples(index, np.random.default_rng(index))
        for (y, x), category in zip(sample["points_yx"].tolist(), sample["points_category"].tolist(), strict=True):
            around = sample["semantic"][max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
            assert (around == category).any(), (index, y, x)
            checked += 1
    assert checked > 30


def test_without_points_a_batch_has_none(finished_run: Path):
    samples = instance_images()
    batch = samples.collate([samples(0, np.random.default_rng(0))])
    assert batch.points_yx is None
    assert batch.points_category is None
