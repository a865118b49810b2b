"""The terms of the objective and their sum, also against plain loops."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bestie.method.losses import BestieLoss, center_loss, class_weights, offset_loss, semantic_loss
from bestie.method.targets import Targets, render_targets

BATCH, CLASSES, HEIGHT, WIDTH = 2, 3, 8, 9


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def random_semantic(seed: int = 0) -> Tensor:
    values = np.random.default_rng(seed).choice([0, 1, 2, 3, 255], size=(BATCH, HEIGHT, WIDTH))
    return torch.from_numpy(values)


def random_targets(seed: int = 0) -> Targets:
    instance = torch.zeros((BATCH, HEIGHT, WIDTH), dtype=torch.int64)
    top, left = np.random.default_rng(seed).integers(0, 4, size=2)
    instance[0, top : top + 4, left : left + 5] = 1
    instance[1, :3, :3] = 2
    return render_targets(instance, torch.tensor([[1, 0], [0, 3]]), num_classes=CLASSES)


def no_targets() -> Targets:
    return render_targets(
        torch.zeros((BATCH, HEIGHT, WIDTH), dtype=torch.int64),
        torch.zeros((BATCH, 2), dtype=torch.int64),
        num_classes=CLASSES,
    )


def outputs() -> dict[str, Tensor]:
    return {
        "semantic_logits": random_tensor(BATCH, CLASSES + 1, HEIGHT, WIDTH, seed=1),
        "center": random_tensor(BATCH, CLASSES, HEIGHT, WIDTH, seed=2),
        "offset": random_tensor(BATCH, 2, HEIGHT, WIDTH, seed=3),
    }


@pytest.mark.parametrize(
    ("loss", "error", "channels"),
    [(center_loss, lambda difference: difference**2, CLASSES), (offset_loss, abs, 2)],
)
def test_a_guided_loss_sums_channels_and_averages_labeled_pixels(loss, error, channels: int):
    pred, target = (random_tensor(BATCH, channels, HEIGHT, WIDTH, seed=seed) for seed in (1, 2))
    guidance = random_tensor(BATCH, 1, HEIGHT, WIDTH, seed=3) > 0
    weight = random_tensor(BATCH, 1, HEIGHT, WIDTH, seed=4).abs()
    total, pixels = 0.0, 0
    for image, y, x in np.ndindex(BATCH, HEIGHT, WIDTH):
        if guidance[image, 0, y, x]:
            pixels += 1
            for channel in range(channels):
                difference = float(pred[image, channel, y, x] - target[image, channel, y, x])
                total += float(weight[image, 0, y, x]) * error(difference)
    guided = loss(pred, target, guidance=guidance, weight=weight)
    assert guided.item() == pytest.approx(total / pixels, rel=1e-5)


@pytest.mark.parametrize("loss", [center_loss, offset_loss])
def test_the_unlabeled_region_gets_no_gradient(loss):
    pred = random_tensor(BATCH, 2, HEIGHT, WIDTH).requires_grad_()
    guidance = random_tensor(BATCH, 1, HEIGHT, WIDTH, seed=3) > 0
    loss(pred, torch.zeros_like(pred), guidance=guidance).backward()
    assert torch.equal((pred.grad != 0).any(dim=1, keepdim=True), guidance)


@pytest.mark.parametrize("loss", [center_loss, offset_loss])
def test_without_guidance_the_whole_map_counts(loss):
    pred = random_tensor(BATCH, 2, HEIGHT, WIDTH).requires_grad_()
    loss(pred, torch.zeros_like(pred), guidance=None).backward()
    assert (pred.grad != 0).all()


@pytest.mark.parametrize("loss", [center_loss, offset_loss])
def test_nothing_labeled_is_loss_zero_with_zero_gradients(loss):
    pred = random_tensor(BATCH, 2, HEIGHT, WIDTH).requires_grad_()
    nowhere = torch.zeros((BATCH, 1, HEIGHT, WIDTH), dtype=torch.bool)
    value = loss(pred, torch.zeros_like(pred), guidance=nowhere, weight=nowhere.float())
    value.backward()
    assert value.item() == 0
    assert torch.equal(pred.grad, torch.zeros_like(pred))


def test_a_weight_without_guidance_is_refused():
    pred = random_tensor(BATCH, 2, HEIGHT, WIDTH)
    with pytest.raises(ValueError, match="needs a guidance region"):
        center_loss(pred, pred, guidance=None, weight=pred[:, :1])


def cross_entropies_by_loops(logits: Tensor, target: Tensor) -> list[float]:
    """The cross-entropy of each pixel, 0 where void."""
    losses = []
    for image, y, x in np.ndindex(*target.shape):
        category = int(target[image, y, x])
        scores = logits[image, :, y, x].tolist()
        normaliser = math.log(sum(math.exp(score) for score in scores))
        losses.append(0.0 if category == 255 else normaliser - scores[category])
    return losses


def test_the_semantic_loss_averages_labeled_pixels():
    logits, target = outputs()["semantic_logits"], random_semantic()
    expected = sum(cross_entropies_by_loops(logits, target)) / int((target != 255).sum())
    assert semantic_loss(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_the_semantic_loss_counts_classes_by_their_weights():
    logits = torch.randn(1, 4, 2, 2)
    target = torch.tensor([[[0, 0], [2, 255]]])
    each = -logits.log_softmax(1)[0]
    expected = (0.3 * (each[0, 0, 0] + each[0, 0, 1]) + 2 * each[2, 1, 0]) / 2.6
    weights = torch.tensor([0.3, 1.0, 2.0, 5.0])
    assert semantic_loss(logits, target, weights=weights).item() == pytest.approx(expected.item(), rel=1e-5)


def test_one_light_pixel_counts_as_much_as_one_heavy_one():
    logits, target = torch.randn(1, 2, 1, 3), torch.tensor([[[255, 1, 255]]])
    light, heavy = (semantic_loss(logits, target, weights=torch.tensor([1.0, weight])) for weight in (0.25, 4.0))
    assert light.item() == pytest.approx(heavy.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("balance", "expected"),
    [(0.0, [0.3, 1, 1, 1, 1]), (0.5, [0.3, 0.5**0.5, 1, 2**0.5, 2**0.5]), (1.0, [0.3, 0.5, 1, 2, 2])],
)
def test_balanced_classes_count_by_their_share_of_the_pixels(balance: float, expected: list[float]):
    pixels = torch.tensor([9999, 400, 0, 100, 100])
    found = class_weights(pixels, background_weight=0.3, balance=balance)
    assert found.tolist() == pytest.approx(expected)


def test_without_any_labeled_pixel_classes_count_alike():
    assert class_weights(torch.tensor([9, 0, 0]), balance=0.5).tolist() == [1, 1, 1]


def test_the_semantic_loss_can_take_the_hardest_pixels_alone():
    logits, target = outputs()["semantic_logits"], random_semantic()
    hardest = sorted(cross_entropies_by_loops(logits, target), reverse=True)[: int(0.3 * target.numel())]
    loss = semantic_loss(logits, target, top_fraction=0.3)
    assert loss.item() == pytest.approx(sum(hardest) / len(hardest), rel=1e-5)


@pytest.mark.parametrize("top_fraction", [1.0, 0.2, 1e-6])
def test_an_image_of_void_is_loss_zero_with_zero_gradients(top_fraction: float):
    logits = outputs()["semantic_logits"].requires_grad_()
    target = torch.full((BATCH, HEIGHT, WIDTH), 255, dtype=torch.uint8)
    loss = semantic_loss(logits, target, top_fraction=top_fraction)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("top_fraction", [0.0, -0.1, 1.5])
def test_a_fraction_outside_zero_to_one_is_refused(top_fraction: float):
    with pytest.raises(ValueError, match="top_fraction"):
        semantic_loss(outputs()["semantic_logits"], random_semantic(), top_fraction=top_fraction)


def test_half_precision_predictions_train():
    pred = random_tensor(BATCH, 2, HEIGHT, WIDTH).bfloat16().requires_grad_()
    guidance = torch.ones((BATCH, 1, HEIGHT, WIDTH), dtype=torch.bool)
    loss = center_loss(pred, torch.zeros((BATCH, 2, HEIGHT, WIDTH)), guidance=guidance)
    loss.backward()
    assert loss.dtype == torch.float32
    assert (pred.grad != 0).all()

    logits = outputs()["semantic_logits"].bfloat16().requires_grad_()
    semantic = semantic_loss(logits, random_semantic())
    semantic.backward()
    assert semantic.dtype == torch.float32
    assert logits.grad.any()


def test_the_total_is_the_weighted_sum_of_equation_6():
    heads, semantic = outputs(), random_semantic()
    pseudo, refined = random_targets(seed=1), random_targets(seed=2)
    weight = random_tensor(BATCH, 1, HEIGHT, WIDTH, seed=5).abs()
    losses = BestieLoss()(**heads, semantic=semantic, pseudo=pseudo, refined=refined, refined_weight=weight)
    center = center_loss(heads["center"], pseudo.center, guidance=pseudo.guidance) + center_loss(
        heads["center"], refined.center, guidance=refined.guidance, weight=weight
    )
    offset = offset_loss(heads["offset"], pseudo.offset, guidance=pseudo.guidance) + offset_loss(
        heads["offset"], refined.offset, guidance=refined.guidance, weight=weight
    )
    expected = 200 * center + 0.01 * offset + semantic_loss(heads["semantic_logits"], semantic)
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)
    terms = (losses.semantic, losses.center_pseudo, losses.center_refined)
    terms += (losses.offset_pseudo, losses.offset_refined)
    assert sum(term.item() for term in terms) == pytest.approx(losses.total.item(), rel=1e-5)


def test_averaging_halves_the_instance_terms_only_where_there_are_refined_labels():
    heads, semantic, pseudo = outputs(), random_semantic(), random_targets()
    summed, averaged = BestieLoss(), BestieLoss(refined_average=True)
    both = {"semantic": semantic, "pseudo": pseudo, "refined": random_targets(seed=2)}
    alone = {"semantic": semantic, "pseudo": pseudo}
    for name in ("center_pseudo", "center_refined", "offset_pseudo", "offset_refined"):
        half, whole = getattr(averaged(**heads, **both), name), getattr(summed(**heads, **both), name)
        assert half.item() == pytest.approx(0.5 * whole.item(), rel=1e-6)
    assert averaged(**heads, **both).semantic == summed(**heads, **both).semantic
    assert averaged(**heads, **alone).total == summed(**heads, **alone).total


def test_without_instance_aware_guidance_the_background_counts():
    heads, semantic, pseudo = outputs(), random_semantic(), random_targets()
    losses = BestieLoss(instance_aware_guidance=False)(
        **heads, semantic=semantic, pseudo=pseudo, refined=pseudo, refined_weight=pseudo.guidance.float()
    )
    expected = 200 * (heads["center"] - pseudo.center).square().mean()
    assert losses.center_pseudo.item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.center_refined == losses.center_pseudo


def test_a_batch_without_any_label_trains_without_change():
    heads = {name: head.requires_grad_() for name, head in outputs().items()}
    void = torch.full((BATCH, HEIGHT, WIDTH), 255)
    losses = BestieLoss(top_fraction=0.2)(
        **heads, semantic=void, pseudo=no_targets(), refined=no_targets(), refined_weight=None
    )
    losses.total.backward()
    assert losses.total.item() == 0
    assert all(torch.equal(head.grad, torch.zeros_like(head)) for head in heads.values())
