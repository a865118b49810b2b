"""Pixels to instances: each goes to the center that its offset points at (paper Eq. 1).

Pixels are assigned within a region: a center never attracts a pixel of another class (the class-wise center map of
the appendix) or of a component that does not touch its own.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bestie.centers import CLUSTER_DISTANCE_PX, add_centers, center_table, cluster_centers, find_centers
from bestie.regions import Regions, class_probability, count_index

_DISTANCES_AT_ONCE = 1 << 24


def group_pixels(
    offset: Float[Tensor, "b 2 h w"],
    pixel: Int[Tensor, " p"],
    of_pixel: Int[Tensor, " p"],
    centers_yx: Float[Tensor, "r k 2"],
    valid: Bool[Tensor, "r k"],
) -> Int[Tensor, " p"]:
    """Give each listed pixel the nearest center to pixel + offset among those of its region (Eq. 1).

    `centers_yx` and `valid` are padded to k centers a region. The answer is a column 0..k-1, the first of
    equally near ones, and 0 where a region has no center.
    """
    batch, _, height, width = offset.shape
    padded_yx = torch.where(valid[..., None], centers_yx, torch.inf)
    plane_dy, plane_dx = (offset[:, axis].reshape(batch * height * width) for axis in (0, 1))
    rows_at_once = max(1, _DISTANCES_AT_ONCE // max(1, valid.shape[1]))
    nearest = torch.zeros_like(pixel)
    for start in range(0, len(pixel), rows_at_once):
        part = slice(start, start + rows_at_once)
        where = pixel[part]
        y = (where // width % height) + plane_dy[where]
        x = (where % width) + plane_dx[where]
        candidates_yx = padded_yx[of_pixel[part]]
        dy, dx = candidates_yx[..., 0] - y[:, None], candidates_yx[..., 1] - x[:, None]
        nearest[part] = (dy.square() + dx.square()).argmin(dim=1)
    return nearest


@dataclass(frozen=True)
class Split:
    """The instances of a batch, numbered 0..n-1 region after region, and the pixels of each.

    `pixel` indexes the flattened maps and `of_pixel` gives its instance. `column` is the place of an
    instance's center among those of its region. `peak` is the pixel with the largest center score inside the
    instance, and `peak_score` that score, 1 at a clustered center. An instance has at least one pixel; its
    peak may lie elsewhere than the center that it was grouped by.
    """

    pixel: Int[Tensor, " p"]
    of_pixel: Int[Tensor, " p"]
    region: Int[Tensor, " n"]
    column: Int[Tensor, " n"]
    peak: Int[Tensor, " n"]
    peak_score: Float[Tensor, " n"]


def split_regions(
    score: Float[Tensor, "b h w"],
    offset: Float[Tensor, "b 2 h w"],
    regions: Regions,
    *,
    threshold: float,
    window_px: int,
    cluster: bool,
    cluster_distance_px: float = CLUSTER_DISTANCE_PX,
    keep_whole: bool = False,
) -> Split:
    """Split each region into the instances of its centers.

    `cluster` adds the centers of the offset map that are farther than `cluster_distance_px` from all others.
    `keep_whole` makes a region without any center one instance; otherwise it has none.
    """
    centers = find_centers(score, regions, threshold=threshold, window_px=window_px)
    marked = score.flatten()
    if cluster:
        clustered = cluster_centers(offset, score, regions)
        centers, added = add_centers(centers, clustered, regions, distance_px=cluster_distance_px)
        marked = marked.index_fill(0, added.pixel, 1.0)
    centers_yx, valid = center_table(centers, regions)
    pixel, region = regions.pixel, regions.of_pixel
    if not keep_whole:
        has_center = valid.any(dim=1)[region]
        pixel, region = pixel[has_center], region[has_center]
    column = group_pixels(offset, pixel, region, centers_yx, valid)
    columns = valid.shape[1]
    slot = region * columns + column
    occupied = count_index(slot, len(valid) * columns) > 0
    used = occupied.nonzero().squeeze(1)
    of_pixel = (occupied.cumsum(0) - 1)[slot]
    value = marked[pixel]
    peak_score = value.new_full((len(used),), -torch.inf).scatter_reduce_(0, of_pixel, value, "amax")
    # Of equal scores the first in reading order is the peak.
    place = torch.where(value == peak_score[of_pixel], pixel, marked.numel())
    peak = pixel.new_full((len(used),), marked.numel()).scatter_reduce_(0, of_pixel, place, "amin")
    return Split(pixel, of_pixel, used // columns, used % columns, peak, peak_score)


def mean_probability(
    semantic_logits: Float[Tensor, "b classes h w"], split: Split, regions: Regions
) -> Float[Tensor, " n"]:
    """Average the probability of an instance's class over its pixels.

    Sums of integers (2^-32 steps): the same bytes in whatever order a device adds them.
    """
    category = regions.category[split.region][split.of_pixel]
    steps = (class_probability(semantic_logits, split.pixel, category).double() * 2.0**32).long()
    total = torch.zeros_like(split.region).scatter_add_(0, split.of_pixel, steps)
    area_px = count_index(split.of_pixel, len(split.region))
    return (total.double() / 2.0**32 / area_px).float()
