"""Centers of instances: local maxima of the center map (Section 3.2) and clusters of the offset map (Figure 9).

Both are searched for within a region, so that neither another class (the class-wise center map of the appendix) nor
another component has an influence. On a CPU, OpenCV works through the regions one by one; on other devices all
regions are processed at once, with the same result.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bestie.method.regions import Regions, count_index, region_crops

CLUSTER_OFFSET_PX = 2.5
CLUSTER_AREA_PX = (18, 24)  # exclusive: a disc of radius 2.5 has 21 px, and 3 px more or less are allowed
CLUSTER_MIN_SCORE = 0.05
CLUSTER_DISTANCE_PX = 100.0
MAX_CENTERS_PER_REGION = 512
_LAYERS_AT_ONCE = 8


@dataclass(frozen=True)
class Centers:
    """Centers as flat indices into (b, h, w), each with its region, sorted by region.

    Entries whose region is the number of regions are not centers: see `_keep`.
    """

    pixel: Int[Tensor, " k"]
    region: Int[Tensor, " k"]


def find_centers(score: Float[Tensor, "b h w"], regions: Regions, *, threshold: float, window_px: int) -> Centers:
    """Find the pixels above `threshold` that no pixel of their region within the window exceeds.

    These are the pixels that equal the max-pooled center map (Section 3.2). Of each region at most
    `MAX_CENTERS_PER_REGION` are kept, in reading order: a bound for maps that are constant in places.

    Args:
        score: the center map of each pixel's own class, as `center_of_class` returns it.
        regions: the regions to search.
        threshold: lower limit of the score, exclusive.
        window_px: side of the square window, odd.

    Raises:
        ValueError: `window_px` is even.
    """
    if window_px % 2 == 0:
        raise ValueError(f"window_px is {window_px}, but only an odd window has a center")
    find = _find_centers_by_crop if score.device.type == "cpu" else _find_centers_in_layers
    peak = find(score, regions, threshold=threshold, window_px=window_px)
    return _sorted_centers(peak, regions)


def cluster_centers(offset: Float[Tensor, "b 2 h w"], score: Float[Tensor, "b h w"], regions: Regions) -> Centers:
    """Find centers in the offset map (center clustering, appendix and Figure 9).

    Around a point that the offsets agree on, offsets shorter than 2.5 px fill a disc of about 21 px. The integer
    part of the centroid of each 4-connected group of 19 to 23 such pixels is a center, unless it lies outside its
    region or has a center score of 0.05 or less.

    Args:
        offset: (dy, dx) in px.
        score: the center map of each pixel's own class, as `center_of_class` returns it.
        regions: the regions to search.
    """
    short = (offset.square().sum(dim=1).sqrt() < CLUSTER_OFFSET_PX) & (regions.id_map > 0)
    cluster = _cluster_by_crop if offset.device.type == "cpu" else _cluster_by_propagation
    pixel, region = cluster(short, regions)
    accepted = (regions.id_map.flatten()[pixel] == region + 1) & (score.flatten()[pixel] > CLUSTER_MIN_SCORE)
    return _keep(accepted, Centers(pixel, region), regions)


def most_centers(regions: Regions, *found: Centers) -> int:
    """Return how many centers there are in the region with the most, at least 1."""
    region = torch.cat([each.region for each in found])
    counts = count_index(region, len(regions.category) + 1)[:-1]
    return max(1, int(counts.max())) if len(regions.category) else 1


def add_centers(
    centers: Centers, more: Centers, regions: Regions, *, columns: int, distance_px: float = CLUSTER_DISTANCE_PX
) -> tuple[Centers, Centers]:
    """Add those of `more` that are farther than `distance_px` from each of `centers` in their region.

    In a region without centers all of `more` are added. Returns all centers, and those that were added; `columns` is
    that of `center_table`.
    """
    height, width = regions.id_map.shape[1:]
    centers_yx, valid = center_table(centers, regions, columns=columns)
    row = more.region.clamp(max=len(valid) - 1)
    own_yx = torch.stack((more.pixel // width % height, more.pixel % width), dim=-1)
    away_px = (centers_yx[row] - own_yx[:, None]).square().sum(dim=-1).sqrt()
    away_px.masked_fill_(~valid[row], torch.inf)
    added = _keep((away_px.amin(dim=1) > distance_px) & (more.region < len(valid)), more, regions)
    region, order = torch.cat((centers.region, added.region)).sort(stable=True)
    return Centers(torch.cat((centers.pixel, added.pixel))[order], region), added


def center_table(
    centers: Centers, regions: Regions, *, columns: int
) -> tuple[Float[Tensor, "r k 2"], Bool[Tensor, "r k"]]:
    """Return the centers as a table, a row per region: (y, x) in px, and which entries are centers.

    The table has `columns` columns, at least as many as `most_centers`.
    """
    height, width = regions.id_map.shape[1:]
    counts = count_index(centers.region, len(regions.category) + 1)  # the last one counts entries that are not centers
    first = counts.cumsum(0) - counts
    column = torch.arange(len(centers.region), device=counts.device) - first[centers.region]
    own_yx = torch.stack((centers.pixel // width % height, centers.pixel % width), dim=-1)
    centers_yx = torch.zeros((len(counts), columns, 2), device=counts.device)
    centers_yx[centers.region, column.clamp(max=columns - 1)] = own_yx.float()
    return centers_yx[:-1], torch.arange(columns, device=counts.device) < counts[:-1, None]


def _sorted_centers(pixel: Int[Tensor, " k"], regions: Regions) -> Centers:
    region, order = (regions.id_map.flatten()[pixel] - 1).sort(stable=True)
    rank = torch.arange(len(region), device=region.device) - torch.searchsorted(region, region)
    return _keep(rank < MAX_CENTERS_PER_REGION, Centers(pixel[order], region), regions)


def _keep(kept: Bool[Tensor, " k"], centers: Centers, regions: Regions) -> Centers:
    """Return the centers that are kept.

    On a GPU, where the host would wait for their number, all entries stay, and those that are not kept get a region
    that does not exist: the number of regions.
    """
    if kept.device.type == "cpu":
        chosen = kept.nonzero().squeeze(1)
        return Centers(centers.pixel[chosen], centers.region[chosen])
    region, order = torch.where(kept, centers.region, len(regions.category)).sort(stable=True)
    return Centers(centers.pixel[order], region)


def _find_centers_by_crop(
    score: Float[Tensor, "b h w"], regions: Regions, *, threshold: float, window_px: int
) -> Int[Tensor, " k"]:
    window = np.ones((window_px, window_px), np.uint8)
    height, width = score.shape[1:]
    found = [np.zeros(0, np.int64)]
    scores = score.numpy()
    for image, _, rows, columns, mask in region_crops(regions):
        inside = np.where(mask, scores[image, rows, columns], -np.inf).astype(np.float32)
        if inside.max() <= threshold:
            continue
        y, x = np.nonzero((inside == cv2.dilate(inside, window)) & (inside > threshold))
        found.append((image * height + y + rows.start) * width + x + columns.start)
    return torch.from_numpy(np.concatenate(found))


def _find_centers_in_layers(
    score: Float[Tensor, "b h w"], regions: Regions, *, threshold: float, window_px: int
) -> Int[Tensor, " k"]:
    """Max-pool with each region of an image in its own layer, a few layers at a time.

    The ids of one image are consecutive, so modulo `max_per_image` tells its regions apart.
    """
    count = max(1, regions.max_per_image)
    layer = torch.where(regions.id_map > 0, regions.id_map % count, -1)[:, None]
    peak = torch.zeros_like(score, dtype=torch.bool)
    for start in range(0, count, _LAYERS_AT_ONCE):
        layers = torch.arange(start, min(start + _LAYERS_AT_ONCE, count), device=score.device)
        inside = torch.where(layer == layers[:, None, None], score[:, None], -torch.inf)
        peak |= ((inside == _window_max(inside, window_px)) & (inside > threshold)).any(dim=1)
    return peak.flatten().nonzero().squeeze(1)


def _window_max(values: Float[Tensor, "b l h w"], window_px: int) -> Float[Tensor, "b l h w"]:
    for size in ((window_px, 1), (1, window_px)):
        padding = (size[0] // 2, size[1] // 2)
        values = torch.nn.functional.max_pool2d(values, size, stride=1, padding=padding)
    return values


def _cluster_by_crop(short: Bool[Tensor, "b h w"], regions: Regions) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
    height, width = short.shape[1:]
    found = [np.zeros((0, 2), np.int64)]
    low, high = CLUSTER_AREA_PX
    for image, region, rows, columns, mask in region_crops(regions):
        group = (short.numpy()[image, rows, columns] & mask).view(np.uint8)
        _, _, stats, centroids_xy = cv2.connectedComponentsWithStats(group, connectivity=4)
        area_px = stats[1:, cv2.CC_STAT_AREA]
        x, y = centroids_xy[1:][(area_px > low) & (area_px < high)].T.astype(np.int64)
        place = (image * height + y + rows.start) * width + x + columns.start
        found.append(np.stack((place, np.full_like(place, region)), axis=1))
    pixel, region_of = torch.from_numpy(np.concatenate(found)).unbind(dim=1)
    return pixel, region_of


def _cluster_by_propagation(
    short: Bool[Tensor, "b h w"], regions: Regions
) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
    """Label groups by passing the smallest pixel number on to neighbors, as often as the largest accepted group needs.

    A path inside a group of fewer than 24 px has at most 22 steps, so such a group has one label after 22 rounds.
    If no pixel of a label has a neighbor with another label, the label covers a whole group; in a larger group some
    pixel still has such a neighbor.
    """
    low, high = CLUSTER_AREA_PX
    height, width = short.shape[1:]
    pixel = short.flatten().nonzero().squeeze(1)
    position = torch.full((short.numel(),), -1, device=pixel.device).index_copy_(
        0, pixel, torch.arange(len(pixel), device=pixel.device)
    )
    region = regions.id_map.flatten()[pixel] - 1
    neighbor = _same_region_neighbors(pixel, position, region, height=height, width=width)
    label = torch.arange(len(pixel), device=pixel.device)
    for _ in range(high - 2):
        label = torch.minimum(label, label[neighbor].amin(dim=1))
    settled = (label[neighbor] == label[:, None]).all(dim=1)
    size = len(pixel)
    area_px = count_index(label, size)
    whole = label.new_ones(size).scatter_reduce_(0, label, settled.long(), "amin")
    # There cannot be more groups than this; for their exact number, the host would have to wait.
    most = size // (low + 1)
    is_root = (area_px > low) & (area_px < high) & (whole > 0)
    root = torch.nonzero_static(is_root, size=most, fill_value=-1).squeeze(1)
    zero = label.new_zeros(size)
    group_px = area_px[root].clamp(min=1)
    y = zero.scatter_add(0, label, pixel // width)[root] // group_px
    x = zero.scatter_add(0, label, pixel % width)[root] // group_px
    found = _keep(root >= 0, Centers(y * width + x, region[root]), regions)
    region, order = found.region.sort(stable=True)
    return found.pixel[order], region


def _same_region_neighbors(
    pixel: Int[Tensor, " p"],
    position: Int[Tensor, " all"],
    region: Int[Tensor, " p"],
    *,
    height: int,
    width: int,
) -> Int[Tensor, "p 4"]:
    """Return where in the list the 4-neighbors of each pixel are; its own place for a neighbor outside its group."""
    own = torch.arange(len(pixel), device=pixel.device)
    y, x = pixel // width % height, pixel % width
    links = []
    for step, inside in ((-width, y > 0), (width, y < height - 1), (-1, x > 0), (1, x < width - 1)):
        there = position[torch.where(inside, pixel + step, pixel)]
        links.append(torch.where((there >= 0) & (region[there] == region), there, own))
    return torch.stack(links, dim=1)
