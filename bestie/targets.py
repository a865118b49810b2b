"""Instances to center and offset maps: the one renderer of labels.

The pseudo-label stage renders one image with `render_targets_numpy`; training, which renders after
augmentation, and refinement render a batch on its own device with `render_targets`. A batch takes a constant
number of kernels whatever the number of instances, and nothing is read back from the device.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Integer
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """What the center and offset heads shall predict for a batch (paper Section 3.2).

    `center` is in [0, 1] with 1 exactly at each center, one channel a category, or a single channel.
    `offset` is center - pixel in px, (dy, dx), 0 where nothing is labelled.
    `guidance` is the labelled region P of Eq. 3 and 4: the pixels of all instances.
    `centers_yx` holds the center of instance i at column i - 1, (-1, -1) where column i - 1 is unused.
    """

    center: Float32[Tensor, "b c h w"]
    offset: Float32[Tensor, "b 2 h w"]
    guidance: Bool[Tensor, "b 1 h w"]
    centers_yx: Integer[Tensor, "b n 2"]


@dataclass(frozen=True)
class TargetArrays:
    """`Targets` of one image as numpy arrays."""

    center: Float32[np.ndarray, "c h w"]
    offset: Float32[np.ndarray, "2 h w"]
    guidance: Bool[np.ndarray, "1 h w"]
    centers_yx: Integer[np.ndarray, "n 2"]


def render_targets(
    instance: Integer[Tensor, "b h w"],
    category: Integer[Tensor, "b n"],
    *,
    num_classes: int,
    sigma_px: float = 6.0,
    centers_yx: Integer[Tensor, "b n 2"] | None = None,
    class_wise: bool = True,
) -> Targets:
    """Render instances as center and offset maps (paper Section 3.3 and Listing 4).

    `instance` is 0 where no instance is, else the id 1..n; `category` holds the category_id 1..num_classes of
    instance i at column i - 1 and 0 in unused columns, whose pixels are not labelled.

    The center of an instance is the integer part of its centroid. `centers_yx` gives other centers, which
    then serve for both maps, also for an instance without any pixel; a negative one marks an unused column.
    With `class_wise` false the center map has one channel, the maximum over all categories.

    An id above n or a category_id above `num_classes` is an index error of torch, on CUDA a device assertion:
    looking here would cost a round trip to the device.
    """
    id_map = instance.long()
    if centers_yx is None:
        centers_yx, present = _centroids_yx(id_map, num_instances=category.shape[1])
    else:
        present = (centers_yx >= 0).all(dim=-1)
    used = present & (category > 0)
    centers_yx = torch.where(used[..., None], centers_yx.long(), -1)
    offset, guidance = _render_offsets(id_map, centers_yx, used)
    center = center_map_from_points(
        centers_yx,
        category,
        height=instance.shape[1],
        width=instance.shape[2],
        num_classes=num_classes,
        sigma_px=sigma_px,
        class_wise=class_wise,
    )
    return Targets(center=center, offset=offset, guidance=guidance, centers_yx=centers_yx)


def center_map_from_points(
    points_yx: Integer[Tensor, "b n 2"],
    category: Integer[Tensor, "b n"],
    *,
    height: int,
    width: int,
    num_classes: int,
    sigma_px: float = 6.0,
    class_wise: bool = True,
) -> Float32[Tensor, "b c h w"]:
    """Encode points as 2D gaussians with a standard deviation of `sigma_px` (paper Section 3.3).

    With point supervision this is the true center map, of all points with or without an instance (Section
    4.3). Each gaussian fills a square that reaches floor(3 sigma) + 1 px to every side and is 0 beyond; where
    several overlap, the largest value counts. Points of category 0 and points outside the map are not drawn.
    """
    batch = points_yx.shape[0]
    channels = num_classes if class_wise else 1
    y, x = points_yx.long().unbind(dim=-1)
    drawn = (category > 0) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    channel = category.long() - 1 if class_wise else torch.zeros_like(y)

    reach = int(3 * sigma_px) + 1
    step = torch.arange(-reach, reach + 1, device=points_yx.device)
    square = step**2
    bell = torch.exp((square[:, None] + square[None, :]) / (-2.0 * sigma_px**2))

    rows = (y[..., None] + step)[..., :, None]
    columns = (x[..., None] + step)[..., None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width) & drawn[..., None, None]
    place = (channel[..., None, None] * height + rows) * width + columns
    # What lies outside writes a 0 to place 0, which no maximum notices.
    place = torch.where(inside, place, 0).flatten(start_dim=1)
    value = torch.where(inside, bell, 0.0).flatten(start_dim=1)
    flat_map = value.new_zeros((batch, channels * height * width))
    flat_map.scatter_reduce_(1, place, value, reduce="amax")
    return flat_map.view(batch, channels, height, width)


def render_targets_numpy(
    instance: Integer[np.ndarray, "h w"],
    category: Integer[np.ndarray, " n"],
    *,
    num_classes: int,
    sigma_px: float = 6.0,
    centers_yx: Integer[np.ndarray, "n 2"] | None = None,
    class_wise: bool = True,
) -> TargetArrays:
    """`render_targets` for one image in numpy arrays.

    Raises ValueError where an instance id has no column in `category`, or a category_id is above
    `num_classes`.
    """
    if int(instance.max(initial=0)) > len(category):
        raise ValueError(f"instance id {instance.max()} in the map, but {len(category)} category ids given")
    if int(category.max(initial=0)) > num_classes:
        raise ValueError(f"category_id {category.max()} is above num_classes ({num_classes})")
    targets = render_targets(
        torch.from_numpy(instance.astype(np.int64))[None],
        torch.from_numpy(category.astype(np.int64))[None],
        num_classes=num_classes,
        sigma_px=sigma_px,
        centers_yx=None if centers_yx is None else torch.from_numpy(centers_yx.astype(np.int64))[None],
        class_wise=class_wise,
    )
    return TargetArrays(
        center=targets.center[0].numpy(),
        offset=targets.offset[0].numpy(),
        guidance=targets.guidance[0].numpy(),
        centers_yx=targets.centers_yx[0].numpy(),
    )


def _centroids_yx(
    id_map: Integer[Tensor, "b h w"], *, num_instances: int
) -> tuple[Integer[Tensor, "b n 2"], Bool[Tensor, "b n"]]:
    """The integer part of each instance's centroid, and which instances have a pixel at all.

    Sums of integers: the same on every device and in every order of addition.
    """
    batch, height, width = id_map.shape
    slots = num_instances + 1
    one = torch.ones((), dtype=torch.int32, device=id_map.device).expand(batch, height, width)
    in_row = torch.zeros((batch, height, slots), dtype=torch.int32, device=id_map.device)
    in_column = torch.zeros((batch, slots, width), dtype=torch.int32, device=id_map.device)
    in_row = in_row.scatter_add_(2, id_map, one)[:, :, 1:]
    in_column = in_column.scatter_add_(1, id_map, one)[:, 1:, :]
    area_px = in_row.sum(dim=1)
    y_sum = (in_row * torch.arange(height, device=id_map.device)[:, None]).sum(dim=1)
    x_sum = (in_column * torch.arange(width, device=id_map.device)).sum(dim=2)
    sums = torch.stack((y_sum, x_sum), dim=-1)
    return sums // area_px.clamp(min=1)[..., None], area_px > 0


def _render_offsets(
    id_map: Integer[Tensor, "b h w"], centers_yx: Integer[Tensor, "b n 2"], used: Bool[Tensor, "b n"]
) -> tuple[Float32[Tensor, "b 2 h w"], Bool[Tensor, "b 1 h w"]]:
    """At each pixel of a used instance the vector to its center, and where that is defined."""
    batch, height, width = id_map.shape
    device = id_map.device
    pixels = id_map.flatten(start_dim=1)
    # Column 0 stands for id 0, which is no instance.
    label = F.pad(used, (1, 0)).gather(1, pixels).view(batch, 1, height, width)
    center_of = F.pad(centers_yx, (0, 0, 1, 0)).transpose(1, 2).float()
    center_at = center_of.gather(2, pixels[:, None, :].expand(batch, 2, height * width))
    offset = center_at.view(batch, 2, height, width)
    offset[:, 0] -= torch.arange(height, device=device)[:, None]
    offset[:, 1] -= torch.arange(width, device=device)
    return offset.masked_fill_(~label, 0.0), label
