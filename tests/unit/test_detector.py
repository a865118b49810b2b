"""Mask R-CNN: what it learns from, what it detects, and the strides of its features."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.detection import MaskRCNN

from bestie.method.backbones import create_backbone
from bestie.method.detector import (
    SharedBoxes,
    SharedMasks,
    build_detector,
    build_standard_detector,
    detect,
    detector_targets,
)


def make_detector(**options: object):
    torch.manual_seed(0)
    sizes = {"width": 16, "min_side_px": 64, "max_side_px": 80, "anchor_sizes_px": (8, 16, 32)}
    return build_detector(create_backbone("test_resnet"), num_classes=3, **{**sizes, **options})


def test_boxes_enclose_their_masks():
    masks = torch.zeros(3, 20, 30, dtype=torch.uint8)
    masks[0, 4:9, 7:12] = 1
    masks[1, 0, 0] = 1
    masks[2, 19, 5] = masks[2, 3, 29] = 1
    targets = detector_targets(masks, torch.tensor([1, 2, 3]))
    assert targets["boxes"].tolist() == [[7, 4, 12, 9], [0, 0, 1, 1], [5, 3, 30, 20]]
    assert targets["labels"].tolist() == [1, 2, 3]
    assert targets["masks"] is masks


@pytest.mark.parametrize("side_px", [64, 65, 67, 71, 80])
def test_features_are_pooled_at_their_true_strides(side_px: int):
    detector = make_detector(min_side_px=side_px, max_side_px=side_px).eval()
    pools = [detector.roi_heads.box_roi_pool, detector.roi_heads.mask_roi_pool]
    with torch.no_grad():
        detector([torch.rand(3, side_px, side_px)])
    assert [pool.scales for pool in pools] == [[1 / 4, 1 / 8, 1 / 16]] * 2


def test_an_image_alone_has_the_detections_that_it_has_after_another():
    images = [torch.rand(3, 80, 64), torch.rand(3, 67, 65)]
    first, second = make_detector().eval(), make_detector().eval()
    with torch.no_grad():
        first([images[0]])
        after = first([images[1]])[0]
        alone = second([images[1]])[0]
    torch.testing.assert_close(after["boxes"], alone["boxes"])
    torch.testing.assert_close(after["masks"], alone["masks"])


def test_it_learns_a_square():
    detector = make_detector().train()
    image = torch.zeros(3, 64, 64)
    image[:, 16:40, 24:48] = 1
    masks = (image[:1] > 0).to(torch.uint8)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    for _ in range(100):
        losses = sum(detector([image, image], [detector_targets(masks, torch.tensor([2]))] * 2).values())
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
    found = detect(detector, [image])[0]
    assert found["category_id"][0] == 2
    overlap = found["masks"][0] & masks[0].bool().numpy()
    assert overlap.sum() / (found["masks"][0] | masks[0].bool().numpy()).sum() > 0.5


def test_all_classes_share_one_box_and_one_mask():
    torch.manual_seed(0)
    scores, boxes = SharedBoxes(8, 4)(torch.rand(5, 8))
    assert scores.shape == (5, 4)
    assert boxes.shape == (5, 16)
    assert all(torch.equal(each, boxes[:, :4]) for each in boxes.split(4, dim=1))
    masks = SharedMasks(8, 6, 4)(torch.rand(5, 8, 14, 14))
    assert masks.shape == (5, 4, 28, 28)
    assert all(torch.equal(each, masks[:, 0]) for each in masks.unbind(1))
    assert not torch.equal(masks[0], masks[1])


def standard_detector():
    torch.manual_seed(0)
    return build_standard_detector(num_classes=3, pretrained=False, min_side_px=32, max_side_px=448)


@pytest.mark.parametrize("make", [lambda: make_detector(min_side_px=32, max_side_px=448), standard_detector])
def test_boxes_are_not_rounded_to_bf16(make: Callable[[], MaskRCNN]):
    detector, seen = make().train(), []
    masks = torch.zeros(1, 32, 448, dtype=torch.uint8)
    masks[0, 5:27, 17:431] = 1

    def keep_few(_module: Any, _inputs: Any, outputs: tuple[list[torch.Tensor], Any]) -> tuple[list[torch.Tensor], Any]:
        seen.extend(outputs[0])
        return [boxes[:4] for boxes in outputs[0]], outputs[1]

    # A processor without bf16 takes minutes for features and all boxes.
    detector.backbone.forward = torch.autocast("cpu", enabled=False)(detector.backbone.forward)
    detector.rpn.register_forward_hook(keep_few)
    with torch.autocast("cpu", torch.bfloat16):
        losses = detector([torch.rand(3, 32, 448)], [detector_targets(masks, torch.tensor([2]))])
        found = detector.eval()([torch.rand(3, 32, 448)])[0]["boxes"]
    assert all(torch.isfinite(loss) for loss in losses.values())
    for boxes in (*seen, found):
        assert boxes.dtype == torch.float32
        assert (boxes != boxes.bfloat16().float()).float().mean() > 0.3


def test_masks_are_made_from_the_probabilities_and_the_image():
    images, seen = [torch.rand(3, 64, 80), torch.rand(3, 72, 64)], []

    def upper_half(probability: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        seen.append((probability, image))
        masks = torch.ones_like(probability, dtype=torch.bool)
        masks[:, 30:], masks[0] = False, False
        return masks

    detector = make_detector().eval()
    with torch.no_grad():
        raw = detector(images)
    found = detect(detector, images, min_score=0.0, to_masks=upper_half)

    for each, output, (probability, image), given in zip(found, raw, seen, images, strict=True):
        torch.testing.assert_close(probability, output["masks"][:, 0])
        assert image is given
        np.testing.assert_allclose(each["score"], output["scores"][1:].numpy())  # the first mask is empty
        assert each["masks"][:, :30].all()
        assert not each["masks"][:, 30:].any()


def test_detections_are_sorted_and_none_is_empty():
    found = detect(make_detector(), [torch.rand(3, 64, 80), torch.rand(3, 72, 64)], min_score=0.0)
    assert [each["masks"].shape[1:] for each in found] == [(64, 80), (72, 64)]
    for each in found:
        assert len(each["masks"]) == len(each["category_id"]) == len(each["score"])
        assert (np.diff(each["score"]) <= 0).all()
        assert each["masks"].any(axis=(1, 2)).all()


def test_a_pyramid_needs_an_anchor_size_for_each_map():
    with pytest.raises(ValueError, match="3 feature maps need 3 anchor sizes, not 2"):
        make_detector(anchor_sizes_px=(8, 16))


def test_the_standard_recipe_is_that_of_torchvision():
    detector = build_standard_detector(num_classes=20, pretrained=False)
    assert detector.roi_heads.box_predictor.cls_score.out_features == 21
    assert detector.roi_heads.mask_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert (detector.transform.min_size, detector.transform.max_size) == ((800,), 1333)
