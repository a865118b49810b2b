"""Instance grouping: each pixel goes to the center that its offset points at (Eq. 1, Listing 5).

Pixels are assigned within a region: a center never attracts a pixel of another class (the class-wise center map of
the appendix) or of another component.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bestie.method.centers import (
    CLUSTER_DISTANCE_PX,
    Centers,
    add_centers,
    center_table,
    cluster_centers,
    find_centers,
    most_centers,
)
from bestie.method.regions import Regions, class_probability, count_index

_DISTANCES_AT_ONCE = 1 << 24


def group_pixels(
    offset: Float[Tensor, "b 2 h w"],
    pixel: Int[Tensor, " p"],
    of_pixel: Int[Tensor, " p"],
    centers_yx: Float[Tensor, "r k 2"],
    valid: Bool[Tensor, "r k"],
) -> Int[Tensor, " p"]:
    """Find for each listed pixel, among the centers of its region, the one nearest to pixel + offset (Eq. 1).

    Args:
        offset: (dy, dx) in px.
        pixel: flat indices into (b, h, w).
        of_pixel: the region (row of the tables below) of each listed pixel.
        centers_yx: k centers per region in px, padded.
        valid: which entries of `centers_yx` are centers.

    Returns:
        For each listed pixel the column 0..k-1 of its center, the first if several are equally near; 0 if its region
        has no center.
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
    """The instances of a batch, numbered 0..n-1 region after region, and their pixels.

    `pixel` holds flat indices into (b, h, w), and `of_pixel` the instance of each of these pixels. `region` is the
    region of an instance, and `column` the place of its center among the centers of that region. `peak` is the pixel
    with the largest center score inside the instance, and `peak_score` that score, 1 at a clustered center. A `used`
    instance has at least one pixel; its peak need not be the center that its pixels were grouped by. Instances that are
    not used stay in the tables, because a GPU's host would have to wait for the number of the others.
    """

    pixel: Int[Tensor, " p"]
    of_pixel: Int[Tensor, " p"]
    region: Int[Tensor, " n"]
    column: Int[Tensor, " n"]
    peak: Int[Tensor, " n"]
    peak_score: Float[Tensor, " n"]
    used: Bool[Tensor, " n"]

    def compact(self) -> "Split":
        """Return the used instances alone, without the pixels of the others."""
        kept = self.used[self.of_pixel].nonzero().squeeze(1)
        number = self.used.cumsum(0) - 1
        columns = (each[self.used] for each in (self.region, self.column, self.peak, self.peak_score, self.used))
        return Split(self.pixel[kept], number[self.of_pixel[kept]], *columns)


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
    """Split each region into the instances of its centers (Listing 5, `instance_grouping`).

    Args:
        score: the center map of each pixel's own class, as `center_of_class` returns it.
        offset: (dy, dx) in px.
        regions: the regions to split.
        threshold: a center has a score above this.
        window_px: a center is a maximum of a square window with this side, odd.
        cluster: whether to add centers found in the offset map (`cluster_centers`).
        cluster_distance_px: how far an added center must be from all other centers of its region.
        keep_whole: whether a region without any center is one instance; otherwise it has none.

    Raises:
        ValueError: `window_px` is even.
    """
    centers = find_centers(score, regions, threshold=threshold, window_px=window_px)
    marked = score.flatten()
    if cluster:
        clustered = cluster_centers(offset, score, regions)
        columns = most_centers(regions, centers, clustered)
        centers, added = add_centers(centers, clustered, regions, columns=columns, distance_px=cluster_distance_px)
        marked = _mark(marked, added, regions)
    else:
        columns = most_centers(regions, centers)
    centers_yx, valid = center_table(centers, regions, columns=columns)
    has_center = valid.any(dim=1) | keep_whole
    pixel = regions.pixel
    of_pixel = regions.of_pixel * columns + group_pixels(offset, pixel, regions.of_pixel, centers_yx, valid)
    number = torch.arange(len(valid) * columns, device=pixel.device)
    region, column = number // columns, number % columns
    used = (count_index(of_pixel, len(number)) > 0) & has_center[region]
    value = marked[pixel]
    peak_score = value.new_full((len(number),), -torch.inf).scatter_reduce_(0, of_pixel, value, "amax")
    # If scores are equal, the first pixel in reading order is the peak.
    place = torch.where(value == peak_score[of_pixel], pixel, marked.numel())
    peak = pixel.new_full((len(number),), marked.numel()).scatter_reduce_(0, of_pixel, place, "amin")
    return Split(pixel, of_pixel, region, column, torch.where(used, peak, 0), peak_score, used)


def _mark(score: Float[Tensor, " all"], added: Centers, regions: Regions) -> Float[Tensor, " all"]:
    """Give the added centers the score 1."""
    is_added = torch.zeros_like(score, dtype=torch.int32)
    is_added.scatter_reduce_(0, added.pixel, (added.region < len(regions.category)).int(), "amax")
    return torch.where(is_added > 0, 1.0, score)


def mean_probability(
    semantic_logits: Float[Tensor, "b classes h w"], split: Split, regions: Regions
) -> Float[Tensor, " n"]:
    """Average the probability of each instance's class, in [0, 1], over the instance's pixels.

    The sums are sums of integers (steps of 2^-32), so the result does not depend on the order of addition.
    """
    category = regions.category[split.region][split.of_pixel]
    steps = (class_probability(semantic_logits, split.pixel, category).double() * 2.0**32).long()
    total = torch.zeros_like(split.region).scatter_add_(0, split.of_pixel, steps)
    area_px = count_index(split.of_pixel, len(split.region)).clamp(min=1)
    return (total.double() / 2.0**32 / area_px).float()
