"""Images through one network: padded to a canvas, cut back, and averaged with their mirror images."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from bestie.artifacts.instances import decode_mask
from bestie.method.backbones import create_backbone
from bestie.method.detector import build_detector
from bestie.method.network import BestieNetwork, Outputs
from bestie.method.pixel_adaptive import refine_masks
from bestie.params.evaluate import Evaluate
from bestie.params.map_reading import MapReading
from bestie.prediction.detector_predictor import DetectorPredictor
from bestie.prediction.network_maps import predict_maps
from bestie.prediction.network_predictor import NetworkPredictor
from bestie.prediction.padded_image import padded_image
from bestie.records import ImageRecord, hash_file
from bestie.training.augment import MEAN_RGB
from bestie.training.samples import image_tensor

CPU = torch.device("cpu")
SIZES = [(40, 50), (64, 33), (20, 70)]


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    found = []
    for row, (height, width) in enumerate(SIZES):
        path = tmp_path / f"{row}.png"
        pixels = np.random.default_rng(row).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        found.append(ImageRecord(row, str(row), "val", path.name, height, width, hash_file(path), ()))
    return found


@pytest.fixture
def network() -> BestieNetwork:
    torch.manual_seed(0)
    network = BestieNetwork(create_backbone("test_resnet"), num_classes=3, width=16)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # as if trained: without its statistics the maps would hardly depend on the image
    with torch.no_grad():
        network(torch.randint(0, 255, (8, 3, 64, 64), dtype=torch.uint8))
    return network.eval()


def predictor(network: BestieNetwork) -> NetworkPredictor:
    return NetworkPredictor(network, MapReading(precision="fp32", flip=True), num_classes=3, device=CPU)


def test_an_image_is_at_the_top_left_of_its_own_canvas(records: list[ImageRecord], tmp_path: Path):
    canvases = [padded_image(tmp_path, record) for record in records]
    assert [canvas.shape for canvas in canvases] == [(1, 3, 64, 64), (1, 3, 64, 64), (1, 3, 32, 96)]
    first = canvases[0][0]
    pixels = np.asarray(Image.open(tmp_path / "0.png"))
    np.testing.assert_array_equal(first[:, :40, :50].permute(1, 2, 0), pixels)
    assert {tuple(pixel) for pixel in first[:, 40:].flatten(1).T.tolist()} == {MEAN_RGB}
    assert {tuple(pixel) for pixel in first[:, :, 50:].flatten(1).T.tolist()} == {MEAN_RGB}


def test_an_images_maps_do_not_depend_on_the_others(records: list[ImageRecord], network: BestieNetwork, tmp_path: Path):
    def maps(chosen: list[ImageRecord]) -> list[Outputs]:
        found = predictor(network).maps(chosen, tmp_path)
        return [outputs for _, outputs in found]

    alone = maps(records[:1])[0]
    beside_larger_ones = maps(records)[0]
    for one, other in zip(alone, beside_larger_ones, strict=True):
        assert torch.equal(one, other)


def test_outputs_have_the_size_of_their_image(records: list[ImageRecord], network: BestieNetwork, tmp_path: Path):
    found = list(predictor(network).maps(records, tmp_path))
    assert [record.row for record, _ in found] == [0, 1, 2]
    for (record, outputs), size in zip(found, SIZES, strict=True):
        assert (record.height, record.width) == size
        assert outputs.semantic.shape == (1, 4, *size)
        assert outputs.center.shape == (1, 3, *size)
        assert outputs.offset.shape == (1, 2, *size)


def test_a_refined_semantic_map_follows_the_edges_of_its_image(network: BestieNetwork, tmp_path: Path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 37:] = 200
    Image.fromarray(pixels).save(tmp_path / "edge.png")
    record = ImageRecord(0, "edge", "val", "edge.png", 64, 64, hash_file(tmp_path / "edge.png"), ())
    probability = torch.full((4, 64, 64), 0.01)
    probability[0] += 0.9  # class 3 is nowhere, and the edge of class 1 is 5 px off
    probability[[0, 1], :, 42:] = probability[[1, 0], :, 42:]

    class Fixed(BestieNetwork):
        def forward(self, images: torch.Tensor, *, full_size: bool = True) -> Outputs:
            return network(images, full_size=full_size)._replace(
                semantic=probability.log().expand(len(images), -1, -1, -1)
            )

    fixed = Fixed(network.backbone, num_classes=3, width=16)
    reading = MapReading(precision="fp32", flip=False, color_steps=10, refined_side_px=64)
    refined = next(NetworkPredictor(fixed, reading, num_classes=3, device=CPU).maps([record], tmp_path))[1].semantic
    unrefined = MapReading(precision="fp32", flip=False)
    plain = next(NetworkPredictor(fixed, unrefined, num_classes=3, device=CPU).maps([record], tmp_path))[1].semantic

    true = (torch.from_numpy(pixels[..., 0]) > 0).long()
    assert (plain[0].argmax(0) != true).float().mean() > 0.07
    assert (refined[0].argmax(0) != true).float().mean() < 0.02
    torch.testing.assert_close(refined.softmax(1), refined.exp(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(refined[0, 3].exp(), probability[3], atol=1e-3, rtol=0)


def test_a_network_that_is_sure_of_no_class_is_read_as_it_is(records: list[ImageRecord], tmp_path: Path):
    torch.manual_seed(0)
    unsure = BestieNetwork(create_backbone("test_resnet"), num_classes=30, width=16)

    def semantic(**options: int) -> torch.Tensor:
        reading = MapReading(precision="fp32", **options)
        return next(NetworkPredictor(unsure, reading, num_classes=30, device=CPU).maps(records, tmp_path))[1].semantic

    assert semantic().softmax(1).max() < 0.1
    assert torch.equal(semantic(color_steps=5), semantic())


@pytest.mark.parametrize("steps", [0, 4])
def test_masks_of_mask_rcnn_are_refined_by_color_if_wanted(steps: int, records: list[ImageRecord], tmp_path: Path):
    torch.manual_seed(0)
    sizes = {"width": 16, "min_side_px": 64, "max_side_px": 80, "anchor_sizes_px": (8, 16, 32)}
    detector = build_detector(create_backbone("test_resnet"), num_classes=3, **sizes).eval()
    reading = Evaluate(precision="fp32", mrcnn_color_steps=steps, refined_side_px=40)

    for record, rows in DetectorPredictor(detector, reading, num_classes=3, device=CPU).find(records, tmp_path):
        image = image_tensor(tmp_path, record).float() / 255
        with torch.no_grad():
            output = detector([image])[0]
        probability = output["masks"][output["scores"] >= 0.05, 0]
        expected = refine_masks(probability, image, steps=steps, longest_px=40) if steps else probability >= 0.5
        expected = expected[expected.flatten(1).any(1)]
        assert len(rows) == len(expected) > 0
        for row, mask in zip(rows, expected, strict=True):
            np.testing.assert_array_equal(decode_mask(row["rle"], record.height, record.width), mask)


def test_a_mirrored_image_has_the_mirrored_prediction(network: BestieNetwork):
    images = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)
    plain = predict_maps(network, images, device=CPU, precision="fp32", flip=True)
    mirrored = predict_maps(network, images.flip(-1), device=CPU, precision="fp32", flip=True)
    torch.testing.assert_close(mirrored.semantic.softmax(1), plain.semantic.softmax(1).flip(-1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mirrored.center, plain.center.flip(-1), atol=1e-4, rtol=1e-4)
    sign = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(mirrored.offset, plain.offset.flip(-1) * sign, atol=1e-3, rtol=1e-4)


def test_instances_are_also_read_from_smaller_images(network: BestieNetwork):
    images = torch.randint(0, 255, (1, 3, 64, 128), dtype=torch.uint8)
    half = F.interpolate(images.float(), size=(32, 64), mode="bilinear", align_corners=False, antialias=True)
    plain = predict_maps(network, images, device=CPU, precision="fp32", flip=False)
    with torch.no_grad():
        small = [F.interpolate(each, size=(64, 128), mode="bilinear") for each in network(half)]

    outputs = predict_maps(network, images, device=CPU, precision="fp32", flip=False, instance_scales=(0.5, 1.0))

    torch.testing.assert_close(outputs.semantic, plain.semantic, atol=0, rtol=0)
    torch.testing.assert_close(outputs.center, (plain.center + small[1]) / 2)
    torch.testing.assert_close(outputs.offset, (plain.offset + 2 * small[2]) / 2)  # px of the image as it is
    assert not torch.allclose(outputs.center, plain.center, atol=1e-3)


def test_the_semantic_map_is_the_mean_over_several_sizes(network: BestieNetwork):
    images = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)
    large = F.interpolate(images.float(), size=(128, 192), mode="bilinear", align_corners=False, antialias=True)
    plain = predict_maps(network, images, device=CPU, precision="fp32", flip=False)
    with torch.no_grad():
        more = F.interpolate(network(large).semantic, size=(64, 96), mode="bilinear")

    outputs = predict_maps(network, images, device=CPU, precision="fp32", flip=False, semantic_scales=(1.0, 2.0))

    torch.testing.assert_close(outputs.semantic, (plain.semantic + more) / 2)
    assert torch.equal(outputs.center, plain.center)
    assert torch.equal(outputs.offset, plain.offset)
    assert not torch.allclose(outputs.semantic, plain.semantic, atol=1e-3)


def test_a_side_that_is_shrunk_more_than_the_other_keeps_its_pixels(network: BestieNetwork):
    images = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)  # half of 96 is no multiple of 32
    squeezed = F.interpolate(images.float(), size=(32, 64), mode="bilinear", align_corners=False, antialias=True)
    with torch.no_grad():
        small = F.interpolate(network(squeezed).offset, size=(64, 96), mode="bilinear")

    offset = predict_maps(network, images, device=CPU, precision="fp32", flip=False, instance_scales=(0.5,)).offset

    torch.testing.assert_close(offset, small * torch.tensor([2.0, 1.5])[:, None, None])


def test_prediction_leaves_no_gradient_and_ends_in_evaluation_mode(network: BestieNetwork):
    network.train()
    outputs = predict_maps(
        network, torch.zeros(1, 3, 64, 64, dtype=torch.uint8), device=CPU, precision="bf16", flip=False
    )
    assert not outputs.center.requires_grad
    assert not network.training


def test_the_maps_of_bf16_are_not_rounded_to_it(network: BestieNetwork):
    images = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = network(images, full_size=False)
    for each in outputs:
        assert each.dtype == torch.float32
        assert (each != each.bfloat16().float()).float().mean() > 0.9
