"""Connected components of semantic maps (Section 3.3) as regions of a batch, and the values of maps at their pixels.

A region is a connected component of one class in one image. The foreground of a batch is one list of pixels, so work is
done for the whole batch on the device of the maps, and grows with the foreground, not with the number of classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy import ndimage
from torch import Tensor

MIN_REGION_PX = 50


@dataclass(frozen=True)
class Regions:
    """The regions of a batch, numbered 0..r-1 through all images, and their pixels.

    `id_map` is region + 1 at each pixel of a region and 0 elsewhere. `pixel` holds flat indices into (b, h, w) in
    ascending order, and `of_pixel` the region of each of these pixels. `category` is the category_id of each region; a
    region that was left out keeps its number, but has no pixels and the category 0. No image has more regions than
    `max_per_image`.
    """

    id_map: Int[Tensor, "b h w"]
    pixel: Int[Tensor, " p"]
    of_pixel: Int[Tensor, " p"]
    category: Int[Tensor, " r"]
    max_per_image: int


def label_components(semantic: UInt8[np.ndarray, "h w"]) -> Int[np.ndarray, "h w"]:
    """Number the 8-connected components 1..n, class after class; background (0) and void (255) become 0."""
    components = np.zeros(semantic.shape, np.int32)
    first = 0
    for category_id in np.flatnonzero(np.bincount(semantic.ravel(), minlength=256)[:255]):
        if category_id == 0:
            continue
        mask = (semantic == category_id).view(np.uint8)
        count, labels = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)
        np.copyto(components, labels + first, where=labels > 0)
        first += count - 1
    return components


class Components(NamedTuple):
    """The components that are regions, with the numbers that the host would otherwise wait for.

    `id_map` is region + 1 at each pixel of a region and 0 elsewhere, with `num_regions` regions through all images, at
    most `max_per_image` in one, and `pixels` pixels in all regions.
    """

    id_map: Int[Tensor, "b h w"]
    num_regions: int
    max_per_image: int
    pixels: int

    @classmethod
    def stack(cls, maps: Sequence[Int[np.ndarray, "h w"]], counts: Sequence[int] | None = None) -> "Components":
        """Join maps that are numbered 1..n each; `counts` holds each n if the last numbers have no pixels."""
        counts = [int(each.max(initial=0)) for each in maps] if counts is None else counts
        first = np.cumsum(counts) - counts
        joined = np.stack([np.where(each > 0, each + start, 0) for each, start in zip(maps, first, strict=True)])
        id_map = torch.from_numpy(joined.astype(np.int32))
        return cls(id_map, int(sum(counts)), max(counts), int(np.count_nonzero(joined)))

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "Components":
        """Return the same on `device`."""
        return self._replace(id_map=self.id_map.to(device, non_blocking=non_blocking))


def label_regions(
    semantic: UInt8[np.ndarray, "h w"],
    image_labels: Float[np.ndarray, " c"] | Bool[np.ndarray, " c"] | None = None,
    *,
    min_area_px: int = MIN_REGION_PX,
) -> Int[np.ndarray, "h w"]:
    """Number the components that `find_regions` would list 1..n, class after class; all other pixels become 0."""
    components = label_components(semantic)
    listed = _is_listed(components, semantic, image_labels, min_area_px)
    return np.where(listed, listed.cumsum(), 0).astype(np.int32)[components]


def find_regions(
    semantic: UInt8[Tensor, "b h w"],
    *,
    image_labels: Float[Tensor, "b c"] | Bool[Tensor, "b c"] | None = None,
    components: Components | None = None,
    min_area_px: int = MIN_REGION_PX,
) -> Regions:
    """List the components of at least `min_area_px` whose class occurs in the image.

    Args:
        semantic: 0 background, category_id, or 255 void.
        image_labels: above 0 for the categories of an image; None allows all.
        components: these components (`label_regions` of each map in `semantic`); the two arguments around this one then
            change nothing. Without them the maps are copied to the host.
        min_area_px: components with fewer pixels are left out.
    """
    if components is None:
        components = _label_on_host(semantic, image_labels, min_area_px)
    ids = components.id_map.long().contiguous()
    # The number of pixels is known: on a GPU, the host waits for the result of `nonzero`, but not for this one.
    pixel = torch.nonzero_static(ids.flatten(), size=components.pixels).squeeze(1)
    of_pixel = ids.flatten()[pixel] - 1
    category = ids.new_zeros(components.num_regions)
    category.scatter_reduce_(0, of_pixel, semantic.flatten()[pixel].long(), "amax")
    return Regions(ids, pixel, of_pixel, category, components.max_per_image)


def _label_on_host(
    semantic: UInt8[Tensor, "b h w"],
    image_labels: Float[Tensor, "b c"] | Bool[Tensor, "b c"] | None,
    min_area_px: int,
) -> Components:
    """Label each map; components that are left out keep their number."""
    labels = [None] * len(semantic) if image_labels is None else image_labels.cpu().numpy()
    maps, counts = [], []
    for each, own_labels in zip(semantic.cpu().numpy(), labels, strict=True):
        components = label_components(each)
        counts.append(int(components.max(initial=0)))
        maps.append(np.where(_is_listed(components, each, own_labels, min_area_px)[components], components, 0))
    return Components.stack(maps, counts).to(semantic.device)


def _is_listed(
    components: Int[np.ndarray, "h w"],
    semantic: UInt8[np.ndarray, "h w"],
    image_labels: Float[np.ndarray, " c"] | Bool[np.ndarray, " c"] | None,
    min_area_px: int,
) -> Bool[np.ndarray, " n"]:
    """Return for each number of a component, from 0 on, whether `find_regions` lists it."""
    listed = np.bincount(components.ravel()) >= min_area_px
    if image_labels is not None:
        allowed = np.zeros(256, bool)
        allowed[1 : 1 + len(image_labels)] = image_labels > 0
        category_id = np.zeros(len(listed), np.uint8)
        category_id[components] = semantic
        listed &= allowed[category_id]
    listed[0] = False
    return listed


def centroid_pixel(regions: Regions) -> Int[Tensor, " r"]:
    """Return the integer part of each region's centroid as a flat index into (b, h, w); 0 if it has no pixels."""
    _, height, width = regions.id_map.shape
    image, y, x = _coordinates(regions.pixel, height=height, width=width)
    zero = torch.zeros_like(regions.category)
    area_px = count_index(regions.of_pixel, len(zero)).clamp(min=1)
    y_mean = zero.scatter_add(0, regions.of_pixel, y) // area_px
    x_mean = zero.scatter_add(0, regions.of_pixel, x) // area_px
    first_row = zero.scatter_reduce(0, regions.of_pixel, image * height, "amax")
    return (first_row + y_mean) * width + x_mean


def center_of_class(center: Float[Tensor, "b k h w"], regions: Regions) -> Float32[Tensor, "b h w"]:
    """Return the center map of each pixel's own class, 0 outside all regions and instead of NaN.

    A single channel serves all classes (the class-agnostic center map of the appendix).
    """
    _, channels, height, width = center.shape
    image, y, x = _coordinates(regions.pixel, height=height, width=width)
    channel = regions.category[regions.of_pixel] - 1 if channels > 1 else torch.zeros_like(image)
    value = center[image, channel, y, x].float().nan_to_num(nan=0.0, posinf=1.0, neginf=0.0)
    score = torch.zeros((len(center), height, width), device=center.device)
    score.view(-1)[regions.pixel] = value
    return score


def class_probability(
    semantic_logits: Float[Tensor, "b classes h w"], pixel: Int[Tensor, " p"], category: Int[Tensor, " p"]
) -> Float32[Tensor, " p"]:
    """Return the softmax probability, in [0, 1], of the given category_id at each listed pixel.

    Channel 0 of the logits is the background; `pixel` holds flat indices into (b, h, w).
    """
    height, width = semantic_logits.shape[2:]
    image, y, x = _coordinates(pixel, height=height, width=width)
    own = semantic_logits[image, category, y, x].float()
    # One image at a time is twice as fast on a CPU, because temporary memory stays in its cache.
    total = torch.stack([each.float().logsumexp(dim=0) for each in semantic_logits]).flatten()[pixel]
    return (own - total).exp().nan_to_num(nan=0.0)


def region_crops(
    regions: Regions,
) -> Iterator[tuple[int, int, slice, slice, Bool[np.ndarray, "rows columns"]]]:
    """Yield image, region, rows, columns and the mask inside this bounding box for each region that has pixels."""
    for image, id_map in enumerate(regions.id_map.numpy()):
        for region, box in enumerate(ndimage.find_objects(id_map)):
            if box is not None:
                yield image, region, box[0], box[1], id_map[box] == region + 1


def count_index(index: Int[Tensor, " p"], size: int) -> Int[Tensor, " size"]:
    """Count how often each of 0..size-1 occurs."""
    return index.new_zeros(size).scatter_add_(0, index, torch.ones_like(index))


def _coordinates(
    pixel: Int[Tensor, " p"], *, height: int, width: int
) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"], Int[Tensor, " p"]]:
    return pixel // (height * width), pixel // width % height, pixel % width
