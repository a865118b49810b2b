"""The training objective (Eq. 3 to 6) with instance-aware guidance (Section 3.4, Listing 6)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from bestie.method.resizing import resized_square_sum
from bestie.method.targets import Targets
from bestie.records import VOID


def center_loss(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    guidance: Bool[Tensor, "b 1 h w"] | None,
    weight: Float[Tensor, "b 1 h w"] | None = None,
    absent: Float[Tensor, "b a y x"] | None = None,
) -> Float[Tensor, ""]:
    """Return the squared error of the center map, one of the two terms of Eq. 3.

    With `guidance` (the labeled region P) the error is summed over the channels, multiplied by the `weight` W of Eq. 2
    and averaged over the pixels of P; if P is empty, it is 0 with zero gradients. With `guidance=None` it is the mean
    over all channels and all pixels, and `weight` must be None, because W is defined only inside P.

    `absent` are maps of any smaller size, one a class, that count as further channels with a target of 0 after they are
    resized. Then `pred` has the classes of the image alone, and `absent`, with 0 in their place, all others.

    Raises:
        ValueError: a weight without guidance.
    """
    error = F.mse_loss(pred, target, reduction="none")
    if absent is None:
        return _guided_mean(error, guidance=guidance, weight=weight)
    if guidance is None:
        _check_no_weight(weight)
        everywhere = torch.ones_like(error[:, :1])
        return (error.sum() + resized_square_sum(absent, everywhere)) / (everywhere.numel() * absent.shape[1])
    counted = _counted(guidance, weight)
    total = (error.sum(1, keepdim=True) * counted).sum() + resized_square_sum(absent, counted)
    return total / guidance.sum().clamp(min=1)


def offset_loss(
    pred: Float[Tensor, "b 2 h w"],
    target: Float[Tensor, "b 2 h w"],
    *,
    guidance: Bool[Tensor, "b 1 h w"] | None,
    weight: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, ""]:
    """Return the absolute error of the offset map in px, one of the two terms of Eq. 4.

    Arguments, averaging and errors are those of `center_loss`.
    """
    return _guided_mean(F.l1_loss(pred, target, reduction="none"), guidance=guidance, weight=weight)


def class_weights(
    pixels: Integer[Tensor, " k"], *, background_weight: float = 1.0, balance: float = 0.0
) -> Float[Tensor, " k"]:
    """Return how much a pixel of each class counts in the semantic loss, background first.

    A class with `pixels` labeled pixels in the training set has the weight (pixels / mean of the classes) ** -balance.
    With a `balance` of 0 all pixels count alike, with 1 all classes do. A class without pixels has the weight 1, the
    background has `background_weight`.
    """
    labeled = pixels > 0
    mean = pixels[1:][labeled[1:]].double().mean()
    weights = (pixels / mean).pow(-balance).where(labeled, 1.0)
    weights[0] = background_weight
    return weights.float()


def semantic_loss(
    logits: Float[Tensor, "b k h w"],
    target: Integer[Tensor, "b h w"],
    *,
    top_fraction: float = 1.0,
    weights: Float[Tensor, " k"] | None = None,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the semantic map (Eq. 5).

    Args:
        logits: channel 0 is the background, channel c is category_id c.
        target: 0 for background, a category_id, or 255 for void; void pixels have no loss.
        top_fraction: in (0, 1]. 1 gives the weighted mean over the labeled pixels; less gives the mean over the
            hardest floor(top_fraction * b * h * w) pixels of the batch, void pixels among them with a loss of 0.
        weights: how much a pixel of each class counts; None: all count alike.

    Raises:
        ValueError: `top_fraction` is outside (0, 1].
    """
    if not 0.0 < top_fraction <= 1.0:
        raise ValueError(f"top_fraction must be in (0, 1], not {top_fraction}")
    target = target.long()
    if weights is None:
        weights = logits.new_ones(logits.shape[1], dtype=torch.float32)
    pixel_loss = F.cross_entropy(logits.float(), target, weight=weights, ignore_index=VOID, reduction="none")
    if top_fraction == 1.0:
        counted = weights[target.clamp(max=len(weights) - 1)] * (target != VOID)
        total = counted.sum()
        return pixel_loss.sum() / torch.where(total > 0, total, 1.0)
    hardest = max(1, int(top_fraction * pixel_loss.numel()))
    return pixel_loss.flatten().topk(hardest, sorted=False).values.mean()


@dataclass(frozen=True)
class Losses:
    """The total of Eq. 6 and its terms with their weights applied; the refined terms are 0 without refined labels."""

    total: Float[Tensor, ""]
    semantic: Float[Tensor, ""]
    center_pseudo: Float[Tensor, ""]
    center_refined: Float[Tensor, ""]
    offset_pseudo: Float[Tensor, ""]
    offset_refined: Float[Tensor, ""]


@dataclass(frozen=True)
class BestieLoss:
    """Eq. 6: the weighted sum of the semantic, center and offset losses against pseudo and refined labels.

    Attributes:
        center_weight: lambda_center.
        offset_weight: lambda_offset.
        semantic_weight: lambda_sem.
        top_fraction: that of `semantic_loss`.
        class_weights: the `weights` of `semantic_loss`.
        refined_average: whether to halve the sum of the pseudo and the refined term of Eq. 3 and 4, as the authors'
            release does; the paper adds the two. Without refined labels the pseudo term is never halved.
        instance_aware_guidance: whether only labeled regions count (Section 3.4). If not, the whole map counts,
            background included (Section 4.5), and the weights W are not used, as in the release.
    """

    center_weight: float = 200.0
    offset_weight: float = 0.01
    semantic_weight: float = 1.0
    top_fraction: float = 1.0
    class_weights: Float[Tensor, " k"] | None = None
    refined_average: bool = False
    instance_aware_guidance: bool = True

    def __call__(
        self,
        *,
        semantic_logits: Float[Tensor, "b k h w"],
        center: Float[Tensor, "b c h w"],
        offset: Float[Tensor, "b 2 h w"],
        semantic: Integer[Tensor, "b h w"],
        pseudo: Targets,
        refined: Targets | None = None,
        refined_weight: Float[Tensor, "b 1 h w"] | None = None,
        absent: Float[Tensor, "b a y x"] | None = None,
    ) -> Losses:
        """Compare a network's output with the semantic map, the pseudo labels and, if given, the refined labels.

        `refined_weight` is W of Eq. 2, 1 everywhere if it is None; `absent` is that of `center_loss`. With point
        supervision (Section 4.3) the caller passes the true center map as both `pseudo.center` and `refined.center`.
        """
        semantic_term = self.semantic_weight * semantic_loss(
            semantic_logits, semantic, top_fraction=self.top_fraction, weights=self.class_weights
        )
        to_centers = partial(center_loss, absent=absent)
        share = 0.5 if refined is not None and self.refined_average else 1.0
        center_scale, offset_scale = share * self.center_weight, share * self.offset_weight
        center_pseudo = center_scale * self._term(to_centers, center, pseudo.center, pseudo.guidance)
        offset_pseudo = offset_scale * self._term(offset_loss, offset, pseudo.offset, pseudo.guidance)
        center_refined, offset_refined = torch.zeros_like(center_pseudo), torch.zeros_like(offset_pseudo)
        if refined is not None:
            region, weight = refined.guidance, refined_weight
            center_refined = center_scale * self._term(to_centers, center, refined.center, region, weight)
            offset_refined = offset_scale * self._term(offset_loss, offset, refined.offset, region, weight)
        return Losses(
            total=semantic_term + center_pseudo + center_refined + offset_pseudo + offset_refined,
            semantic=semantic_term,
            center_pseudo=center_pseudo,
            center_refined=center_refined,
            offset_pseudo=offset_pseudo,
            offset_refined=offset_refined,
        )

    def _term(
        self,
        loss: Callable[..., Tensor],
        pred: Float[Tensor, "b d h w"],
        target: Float[Tensor, "b d h w"],
        guidance: Bool[Tensor, "b 1 h w"],
        weight: Float[Tensor, "b 1 h w"] | None = None,
    ) -> Float[Tensor, ""]:
        if not self.instance_aware_guidance:
            return loss(pred, target, guidance=None)
        return loss(pred, target, guidance=guidance, weight=weight)


def _guided_mean(
    error: Float[Tensor, "b d h w"],
    *,
    guidance: Bool[Tensor, "b 1 h w"] | None,
    weight: Float[Tensor, "b 1 h w"] | None,
) -> Float[Tensor, ""]:
    """Return the error of the guided region divided by its pixel count, or the plain mean without a region."""
    if guidance is None:
        _check_no_weight(weight)
        return error.mean()
    return (error.sum(1, keepdim=True) * _counted(guidance, weight)).sum() / guidance.sum().clamp(min=1)


def _counted(guidance: Bool[Tensor, "b 1 h w"], weight: Float[Tensor, "b 1 h w"] | None) -> Float[Tensor, "b 1 h w"]:
    return guidance.float() if weight is None else guidance * weight


def _check_no_weight(weight: Tensor | None) -> None:
    if weight is not None:
        raise ValueError("a weight needs a guidance region: without one the whole map counts alike")
