"""Network output to scored instances (paper Section 3.2), and the baseline that does not split components."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, UInt8
from torch import Tensor

from bestie.grouping import Split, mean_probability, split_regions
from bestie.regions import (
    MIN_REGION_PX,
    Regions,
    center_of_class,
    count_index,
    find_regions,
    label_components,
)

Confidence = Literal["center", "product", "release"]
Maps = tuple[Float[Tensor, "b classes h w"], Float[Tensor, "b k h w"], Float[Tensor, "b 2 h w"]]


@dataclass(frozen=True)
class Instances:
    """The instances of one image, on the host.

    `instance` is 0 or the id 1..n, since instances do not overlap; element i - 1 of the other arrays is
    instance i: its category_id, its score (at most 1), and its center in px. They are
    ordered by category, component and center. `semantic` is the map that they were cut out of.
    """

    category_id: Int32[np.ndarray, " n"]
    score: Float32[np.ndarray, " n"]
    center_yx: Float32[np.ndarray, "n 2"]
    instance: Int32[np.ndarray, "h w"]
    semantic: UInt8[np.ndarray, "h w"]

    @property
    def masks(self) -> Bool[np.ndarray, "n h w"]:
        """One dense mask an instance; made anew at each call."""
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
    """Cut each component of the semantic map into the instances of its centers, by Eq. 1.

    Channel 0 of `semantic_logits` is the background; `center` has a channel a category or a single one; all
    maps have the size of the image. `image_labels`, known for training images, is 0 for the categories that
    cannot occur. `semantic` (0 background, 255 void) takes the place of the logits' argmax, for instance the
    true map, to see what centers and offsets alone achieve.

    A component below `min_area_px` gives nothing. One without a center above `threshold` is one instance, or
    none with `drop_components_without_center`. `cluster` adds centers found in the offset map.

    The score is the largest center value in the instance, at most 1 ("center"), which the default multiplies
    with the mean class probability ("product"). "release" multiplies too, but squares the probability where the
    center value is 1 or more, its mark of clustered centers.
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
    )
    trust = score.flatten()[split.peak].clamp(max=1)
    if confidence != "center":
        probability = mean_probability(semantic_logits, split, regions)
        if confidence == "release":
            trust = torch.where(split.peak_score >= 1, probability, split.peak_score)
        trust = trust * probability
    return _to_host(split, regions, trust, semantic)


def average_with_flip(outputs: Maps, flipped: Maps) -> Maps:
    """Average what the network says of images and of their mirror images: (semantic, center, offset).

    `flipped` is the network's output for the images flipped left to right; it is flipped back, and the x
    component of its offsets changes sign. Class probabilities are averaged, and returned as their logarithm.
    """
    semantic, center, offset = outputs
    other_semantic, other_center, other_offset = (each.flip(-1) for each in flipped)
    both = torch.stack((semantic.log_softmax(dim=1), other_semantic.log_softmax(dim=1)))
    mirror = offset.new_tensor((1.0, -1.0))[:, None, None]
    return (
        both.logsumexp(dim=0) - float(np.log(2)),
        (center + other_center) / 2,
        (offset + other_offset * mirror) / 2,
    )


def components_as_instances(
    semantic: UInt8[np.ndarray, "h w"],
    *,
    probability: Float[np.ndarray, "h w"] | None = None,
    min_area_px: int = MIN_REGION_PX,
) -> Instances:
    """Take each 8-connected component of a semantic map as one instance: what labels give without splitting.

    The score is the mean of `probability` over the component, 1 without it; the center is the centroid.
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
    """Number the instances of each image, fetch the flat results of the batch, and deal them out."""
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
