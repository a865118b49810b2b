"""From instances to center and offset maps (Section 3.3, Listing 4): the one renderer of labels.

Training, which renders after augmentation, and refinement render a batch on its own device with `render_targets`. A
batch takes a constant number of kernels, however many instances it has, and nothing is read back from the device.
Pictures of labels are drawn from `render_class_agnostic`.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Integer
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """What the center and offset heads should predict for a batch (Section 3.2).

    `center` is in [0, 1], exactly 1 at each center, with one channel per category or a single channel.
    `offset` is center - pixel in px, (dy, dx), and 0 outside all instances.
    `guidance` is the labeled region P of Eq. 3 and 4: the pixels of all instances.
    `centers_yx` holds the center of instance i in column i - 1, in px, and (-1, -1) in unused columns.
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
    """Render instances as center and offset maps (Section 3.3, Listing 4).

    An id above n or a category_id above `num_classes` is an index error of torch, on CUDA a device assertion: checking
    here would cost a round trip to the device.

    Args:
        instance: the id 1..n of the instance at each pixel, 0 elsewhere.
        category: column i - 1 holds the category_id 1..num_classes of instance i, or 0 if it is unused; pixels of an
            unused column are not labeled.
        num_classes: C, without background.
        sigma_px: standard deviation of the gaussians in the center map.
        centers_yx: centers for both maps, also of instances without any pixel; negative in unused columns. None takes
            the integer part of each centroid.
        class_wise: whether the center map has one channel per category; otherwise it has one channel, the maximum over
            all categories.
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
    """Encode points (y, x), in px, as 2D gaussians with a standard deviation of `sigma_px` (Section 3.3).

    With point supervision this is the true center map of all points, with or without an instance (Section 4.3). Each
    gaussian fills a square that reaches floor(3 sigma) + 1 px to every side and is 0 beyond it; where several overlap,
    the largest value counts. Points with category 0 and points outside the map are not drawn. With `class_wise` false
    all points share one channel. Values are in [0, 1].
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
    # Values outside the map write a 0 to place 0, which does not change the maximum there.
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
    """Render the instances of one image, as `render_targets` does, in numpy arrays.

    Raises:
        ValueError: an instance id has no column in `category`, or a category_id is above `num_classes`.
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


def render_class_agnostic(instance: Integer[np.ndarray, "h w"], *, sigma_px: float = 6.0) -> TargetArrays:
    """Return the targets of an instance map with one center map for all classes, for pictures."""
    category = np.ones(int(instance.max(initial=0)), np.int64)
    return render_targets_numpy(instance, category, num_classes=1, sigma_px=sigma_px, class_wise=False)


def _centroids_yx(
    id_map: Integer[Tensor, "b h w"], *, num_instances: int
) -> tuple[Integer[Tensor, "b n 2"], Bool[Tensor, "b n"]]:
    """Return the integer part of each instance's centroid, and which instances have any pixel.

    The sums are sums of integers, so they are the same on every device and in every order of addition.
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
    """Return at each pixel of a used instance the vector to its center, and where it is defined."""
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
