"""From the network's output to scored instances (Section 3.2), and the baseline that does not split components."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, UInt8
from torch import Tensor

from bestie.method.grouping import Split, mean_probability, split_regions
from bestie.method.regions import MIN_REGION_PX, Regions, center_of_class, count_index, find_regions, label_components

Confidence = Literal["center", "product", "probability", "release"]
Maps = tuple[Float[Tensor, "b classes h w"], Float[Tensor, "b k h w"], Float[Tensor, "b 2 h w"]]


@dataclass(frozen=True)
class Instances:
    """The instances of one image, as numpy arrays.

    `instance` is the id 1..n of the instance at each pixel and 0 elsewhere; instances do not overlap. Element i - 1 of
    `category_id`, `score` (at most 1) and `center_yx` (px) belongs to instance i. Instances are ordered by category,
    component and center. `semantic` is the map that they were cut out of.
    """

    category_id: Int32[np.ndarray, " n"]
    score: Float32[np.ndarray, " n"]
    center_yx: Float32[np.ndarray, "n 2"]
    instance: Int32[np.ndarray, "h w"]
    semantic: UInt8[np.ndarray, "h w"]

    @property
    def masks(self) -> Bool[np.ndarray, "n h w"]:
        """One dense mask per instance, computed anew at each access."""
        return self.instance == np.arange(1, len(self.category_id) + 1)[:, None, None]


@torch.no_grad()
def predict_instances(
    semantic_logits: Float[Tensor, "b classes h w"],
    center: Float[Tensor, "b k h w"],
    offset: Float[Tensor, "b 2 h w"],
    *,
    image_labels: Float[Tensor, "b c"] | Bool[Tensor, "b c"] | None = None,
    semantic: UInt8[Tensor, "b h w"] | None = None,
    threshold: float = 0.1,
    window_px: int = 41,
    cluster: bool = False,
    min_area_px: int = MIN_REGION_PX,
    drop_components_without_center: bool = False,
    confidence: Confidence = "product",
) -> list[Instances]:
    """Cut each component of the semantic map into the instances of its centers (Section 3.2, Eq. 1).

    All maps have the size of the image.

    Args:
        semantic_logits: channel 0 is the background, channel c is category_id c.
        center: one channel per category (class-wise) or a single one.
        offset: (dy, dx) in px.
        image_labels: 0 for the categories that cannot occur, known for training images; None allows all.
        semantic: a map (0 background, 255 void) to use in place of the most probable classes. With the true map one
            sees what centers and offsets achieve.
        threshold: a center has a value above this.
        window_px: a center is a maximum of a square window with this side, odd.
        cluster: whether to add centers found in the offset map (`cluster_centers`).
        min_area_px: components with fewer pixels are left out.
        drop_components_without_center: whether a component without a center gives nothing; otherwise it is one
            instance.
        confidence: the score of an instance. "center" is its largest center value, at most 1; "probability" is its
            mean class probability; "product" multiplies the two; "release" does the same, but squares the probability
            if the center value is 1 or more, as the authors' release does (1 is its mark of clustered centers).

    Returns:
        The instances of each image.

    Raises:
        ValueError: `window_px` is even.
    """
    if semantic is None:
        semantic = _most_probable(semantic_logits, image_labels)
    regions = find_regions(semantic, image_labels=image_labels, min_area_px=min_area_px)
    score = center_of_class(center, regions)
    split = split_regions(
        score,
        offset.float(),
        regions,
        threshold=threshold,
        window_px=window_px,
        cluster=cluster,
        keep_whole=not drop_components_without_center,
    ).compact()
    trust = score.flatten()[split.peak].clamp(max=1)
    if confidence != "center":
        probability = mean_probability(semantic_logits, split, regions)
        if confidence == "release":
            trust = torch.where(split.peak_score >= 1, probability, split.peak_score)
        trust = probability if confidence == "probability" else trust * probability
    return _to_host(split, regions, trust, semantic)


def average_with_flip(outputs: Maps, flipped: Maps) -> Maps:
    """Average the network's outputs (semantic, center, offset) for images and for their mirror images.

    `flipped` is the output for the images flipped left to right; it is flipped back, and the x component of its
    offsets changes sign. The first of the returned maps is the logarithm of the averaged class probabilities.
    """
    semantic, center, offset = outputs
    other_semantic, other_center, other_offset = (each.flip(-1) for each in flipped)
    both = torch.stack((semantic.log_softmax(dim=1), other_semantic.log_softmax(dim=1)))
    mirrored = torch.stack((other_offset[:, 0], -other_offset[:, 1]), dim=1)
    return (
        both.logsumexp(dim=0) - float(np.log(2)),
        (center + other_center) / 2,
        (offset + mirrored) / 2,
    )


def components_as_instances(
    semantic: UInt8[np.ndarray, "h w"],
    *,
    probability: Float[np.ndarray, "h w"] | None = None,
    min_area_px: int = MIN_REGION_PX,
) -> Instances:
    """Take each 8-connected component of a semantic map as one instance: the baseline that splits nothing.

    Args:
        semantic: 0 background, category_id, or 255 void.
        probability: in [0, 1]; its mean over a component is the score, which is 1 if it is None.
        min_area_px: components with fewer pixels are left out.

    Returns:
        The instances; their centers are the centroids.
    """
    components = label_components(semantic)
    area_px = np.bincount(components.ravel())
    kept = np.flatnonzero(area_px[1:] >= min_area_px) + 1
    number = np.zeros(len(area_px), np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    y, x = np.indices(semantic.shape)
    value = np.ones(semantic.shape) if probability is None else probability
    means = [np.bincount(components.ravel(), each.ravel())[kept] / area_px[kept] for each in (y, x, value)]
    category_id = np.zeros(len(area_px), np.int32)
    category_id[components] = semantic
    return Instances(
        category_id=category_id[kept],
        score=means[2].astype(np.float32),
        center_yx=np.stack(means[:2], axis=1).astype(np.float32),
        instance=number[components],
        semantic=semantic,
    )


def _most_probable(
    semantic_logits: Float[Tensor, "b classes h w"],
    image_labels: Float[Tensor, "b c"] | Bool[Tensor, "b c"] | None,
) -> UInt8[Tensor, "b h w"]:
    if image_labels is not None:
        absent = torch.nn.functional.pad(image_labels <= 0, (1, 0))[:, :, None, None]
        semantic_logits = torch.where(absent, -torch.inf, semantic_logits)  # masked_fill is several times as slow
    return semantic_logits.max(dim=1).indices.to(torch.uint8)


def _to_host(
    split: Split, regions: Regions, score: Float[Tensor, " n"], semantic: UInt8[Tensor, "b h w"]
) -> list[Instances]:
    """Number the instances of each image, copy the results of the batch to the host, and split them by image."""
    batch, height, width = semantic.shape
    counts = count_index(split.peak // (height * width), batch)
    first = counts.cumsum(0) - counts
    instance = torch.zeros_like(regions.id_map)
    instance.view(-1)[split.pixel] = split.of_pixel + 1 - first[split.pixel // (height * width)]
    center_yx = torch.stack((split.peak // width % height, split.peak % width), dim=-1)
    columns = (regions.category[split.region].int(), score.float(), center_yx.float())
    ends = first.cpu().numpy()[1:]
    dealt = (np.split(column.cpu().numpy(), ends) for column in columns)
    maps = instance.int().cpu().numpy(), semantic.cpu().numpy()
    return [Instances(*parts) for parts in zip(*dealt, *maps, strict=True)]
