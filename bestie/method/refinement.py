"""Self-refinement: the network's output becomes a label of the same training step (Section 3.5, Listing 5).

Each component of the weakly supervised semantic map is split by the network's own centers and offsets, and the
instances are rendered as center and offset maps for the second terms of Eq. 3 and 4, weighted by Eq. 2.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Integer, UInt8
from torch import Tensor

from bestie.method.centers import CLUSTER_DISTANCE_PX
from bestie.method.grouping import Split, group_pixels, mean_probability, split_regions
from bestie.method.regions import (
    MIN_REGION_PX,
    Components,
    Regions,
    center_of_class,
    centroid_pixel,
    find_regions,
)
from bestie.method.targets import Targets, render_targets

MAX_PER_COMPONENT = 5


@dataclass(frozen=True)
class Refined:
    """The refined labels of a batch.

    `targets` holds their center and offset maps. `weight` is W of Eq. 2, in [0, 1], and 0 outside all instances.
    `instance` is the id 1..n of the instance at each pixel, counted within its image, and 0 elsewhere. Column i - 1 of
    `category` (category_id, 0 in unused columns) and `scores` (in [0, 1]) belongs to instance i.
    """

    targets: Targets
    weight: Float[Tensor, "b 1 h w"]
    instance: Int[Tensor, "b h w"]
    category: Int[Tensor, "b n"]
    scores: Float[Tensor, "b n"]


@torch.no_grad()
def refine(
    center: Float[Tensor, "b k h w"],
    offset: Float[Tensor, "b 2 h w"],
    *,
    semantic_logits: Float[Tensor, "b classes h w"] | None = None,
    image_labels: Float[Tensor, "b c"] | Bool[Tensor, "b c"],
    wsss: UInt8[Tensor, "b h w"],
    components: Components | None = None,
    points_yx: Integer[Tensor, "b m 2"] | None = None,
    points_category: Integer[Tensor, "b m"] | None = None,
    threshold: float = 0.3,
    window_px: int = 41,
    sigma_px: float = 6.0,
    cluster: bool = True,
    cluster_distance_px: float = CLUSTER_DISTANCE_PX,
    confidence: Literal["center", "release"] = "center",
    max_per_component: int = MAX_PER_COMPONENT,
    min_area_px: int = MIN_REGION_PX,
) -> Refined:
    """Turn the network's output into refined labels (Listing 5).

    The center of an instance is its pixel with the largest center value or, if that value is below `threshold`, the
    centroid of its component. With points (Section 4.3) the points are the centers: pixels of a class go to its nearest
    point, the weight is 1, and every point appears in the center map.

    Args:
        center: one channel per category (class-wise, as in the paper) or a single one; the targets have as many.
        offset: (dy, dx) in px.
        semantic_logits: channel 0 is the background; only the confidence "release" needs them.
        image_labels: above 0 for the categories of an image; components of other categories are not refined.
        wsss: the weakly supervised semantic maps, 0 background, category_id, or 255 void.
        components: the components that are refined, to save computing them (`bestie.method.regions.label_regions` of
            each map in `wsss`); then `image_labels` and `min_area_px` choose none.
        points_yx: points in px, in the order (y, x).
        points_category: the category_id of each point, 0 in unused columns.
        threshold: a center has a value above this.
        window_px: a center is a maximum of a square window with this side, odd.
        sigma_px: standard deviation of the gaussians in the center map.
        cluster: whether to add centers found in the offset map (`cluster_centers`).
        cluster_distance_px: how far an added center must be from all other centers of its component.
        confidence: the weight of an instance. "center" is Eq. 2, the value of the center map at the instance's center.
            "release" multiplies it by the instance's mean class probability, takes 1 as the value of a clustered
            center, and uses only the probability if the center is the component's centroid.
        max_per_component: components that split into more instances are not refined.
        min_area_px: components with fewer pixels are not refined.

    Raises:
        ValueError: only one of `points_yx` and `points_category` is given, the confidence "release" has no
            `semantic_logits`, or `window_px` is even.
    """
    if (points_yx is None) != (points_category is None):
        raise ValueError("points_yx and points_category go together: give both or none")
    if points_yx is not None and points_category is not None:
        instance = _assign_to_points(offset, wsss, points_yx, points_category, image_labels=image_labels)
        found = _Found(instance, points_category.long(), points_yx, (points_category > 0).float())
    else:
        if confidence == "release" and semantic_logits is None:
            raise ValueError('confidence "release" needs semantic_logits')
        regions = find_regions(wsss, image_labels=image_labels, components=components, min_area_px=min_area_px)
        score = center_of_class(center, regions)
        split = split_regions(
            score,
            offset.float(),
            regions,
            threshold=threshold,
            window_px=window_px,
            cluster=cluster,
            cluster_distance_px=cluster_distance_px,
        )
        logits = semantic_logits if confidence == "release" else None
        chosen, trust = _trusted_centers(score, split, regions, logits, threshold=threshold)
        found = _collect(split, regions, chosen, trust, max_per_component=max_per_component)
    targets = render_targets(
        found.instance,
        found.category,
        num_classes=image_labels.shape[1],
        sigma_px=sigma_px,
        centers_yx=found.centers_yx,
        class_wise=center.shape[1] == image_labels.shape[1],
    )
    weight = torch.nn.functional.pad(found.scores, (1, 0)).gather(1, found.instance.flatten(1))
    weight = weight.view_as(targets.guidance) * targets.guidance
    return Refined(targets, weight, found.instance, found.category, found.scores)


@dataclass(frozen=True)
class _Found:
    instance: Int[Tensor, "b h w"]
    category: Int[Tensor, "b n"]
    centers_yx: Integer[Tensor, "b n 2"]
    scores: Float[Tensor, "b n"]


def _trusted_centers(
    score: Float[Tensor, "b h w"],
    split: Split,
    regions: Regions,
    semantic_logits: Float[Tensor, "b classes h w"] | None,
    *,
    threshold: float,
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return each instance's center as a flat index, and its weight W: Eq. 2 or, with logits, the release's."""
    unsure = split.peak_score < threshold
    chosen = torch.where(unsure, centroid_pixel(regions)[split.region], split.peak)
    trust = score.flatten()[chosen]
    if semantic_logits is not None:
        probability = mean_probability(semantic_logits, split, regions)
        trust = torch.where(unsure, probability, split.peak_score * probability)
    return chosen, trust.clamp(0, 1)


def _collect(
    split: Split,
    regions: Regions,
    chosen: Int[Tensor, " n"],
    trust: Float[Tensor, " n"],
    *,
    max_per_component: int,
) -> _Found:
    """Number the instances of each image and put them in columns, without those of crowded components."""
    batch, height, width = regions.id_map.shape
    # As in the release, centers that no pixel chose count too if they come before one that some pixel chose.
    last = torch.zeros_like(regions.category)
    last.scatter_reduce_(0, split.region, torch.where(split.used, split.column + 1, 0), "amax")
    is_kept = split.used & (last[split.region] <= max_per_component)
    image = split.peak // (height * width)
    counts = image.new_zeros(batch).scatter_add_(0, image, is_kept.long())
    before = counts.cumsum(0) - counts
    # Dropped instances share the number of the kept one before them; they are cleared below.
    number = is_kept.cumsum(0) - before[image]
    instance = torch.zeros_like(regions.id_map)
    instance.view(-1)[split.pixel] = torch.where(is_kept, number, 0)[split.of_pixel]

    # On a GPU, the host would wait for the largest number.
    on_cpu = counts.device.type == "cpu"
    columns = int(counts.max()) if on_cpu else max_per_component * regions.max_per_image
    place = (image, torch.where(is_kept, number - 1, columns))  # dropped instances go to a column that is cut off
    category = counts.new_zeros((batch, columns + 1))
    category[place] = regions.category[split.region]
    centers_yx = counts.new_full((batch, columns + 1, 2), -1)
    centers_yx[place] = torch.stack((chosen // width % height, chosen % width), dim=-1)
    scores = trust.new_zeros((batch, columns + 1))
    scores[place] = trust
    return _Found(instance, category[:, :-1], centers_yx[:, :-1], scores[:, :-1])


def _assign_to_points(
    offset: Float[Tensor, "b 2 h w"],
    wsss: UInt8[Tensor, "b h w"],
    points_yx: Integer[Tensor, "b m 2"],
    points_category: Integer[Tensor, "b m"],
    *,
    image_labels: Float[Tensor, "b c"] | Bool[Tensor, "b c"],
) -> Int[Tensor, "b h w"]:
    """Assign each pixel of a class to the nearest point of that class (Eq. 1); 0 if the class has no point."""
    batch, num_classes = image_labels.shape
    columns = points_yx.shape[1]
    classes = torch.arange(1, num_classes + 1, device=wsss.device)
    usable = (points_yx >= 0).all(dim=-1)[:, None, :] & (image_labels > 0)[:, :, None]
    valid = (points_category[:, None, :] == classes[:, None]) & usable
    category = wsss.long().contiguous()
    row = (torch.arange(batch, device=wsss.device)[:, None, None] * num_classes + category - 1).flatten()
    valid = valid.reshape(batch * num_classes, columns)
    row = torch.where(((category > 0) & (category <= num_classes)).flatten(), row, len(valid))
    has_point = torch.nn.functional.pad(valid.any(dim=1), (0, 1))
    pixel = has_point[row].nonzero().squeeze(1)
    centers_yx = points_yx[:, None].expand(batch, num_classes, columns, 2).reshape(len(valid), columns, 2)
    nearest = group_pixels(offset.float(), pixel, row[pixel], centers_yx.float(), valid)
    instance = torch.zeros_like(category)
    instance.view(-1)[pixel] = nearest + 1
    return instance
