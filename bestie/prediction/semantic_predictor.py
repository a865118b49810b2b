"""Semantic maps of images whose labels are known, by discriminants or by a network, refined by color."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from bestie.errors import InputError
from bestie.method.affinity import walk
from bestie.method.discriminants import scaled_to_one
from bestie.method.pixel_adaptive import refine_scaled
from bestie.method.semantic_network import SemanticNetwork
from bestie.params.make_wsss import MakeWsss
from bestie.records import VOID, ImageRecord
from bestie.runtime.device import autocast
from bestie.training.samples import image_tensor


class SemanticPredictor:
    """A model of `train_wsss`, as the stages use it.

    Args:
        network: the network with its discriminants, on `device`.
        params: how maps are made.
        by_network: whether the network was trained; otherwise the discriminants alone make the maps.
        background: the score of background beside the maps of the discriminants.
        device: where to compute.

    Raises:
        InputError: there is a walk, but the network has not learned boundaries.
    """

    def __init__(
        self,
        network: SemanticNetwork,
        params: MakeWsss,
        *,
        by_network: bool,
        background: float,
        device: torch.device,
    ) -> None:
        if params.walk_steps and network.boundary is None:
            raise InputError(
                f"walk_steps is {params.walk_steps}, but the network of train_wsss knows no boundaries. Set "
                "train_wsss.boundary_epochs, for example to 3, or walk_steps to 0."
            )
        self._network, self._params, self._device = network, params, device
        self._by_network, self._background = by_network, background

    @torch.no_grad()
    def find(self, record: ImageRecord, root: Path, *, doubt: float = 0.0) -> UInt8[np.ndarray, "h w"]:
        """Return the map of an image: 0 for background, or the category_id of one of its labels.

        A pixel is void (255) if the best score of its labels and that of background differ by less than the part
        `doubt` of the latter.

        Raises:
            InputError: see `read_image`.
        """
        categories = list(record.labels)
        if not categories:
            return np.zeros((record.height, record.width), np.uint8)
        self._network.eval()
        image = image_tensor(root, record)[None].to(self._device).float()
        scores, boundary = self._scores(image, categories)
        if self._params.flip:
            mirrored, mirrored_boundary = self._scores(image.flip(-1), categories)
            scores, boundary = (scores + mirrored.flip(-1)) / 2, (boundary + mirrored_boundary.flip(-1)) / 2
        if self._params.walk_steps:
            walked = walk(scores[1:], boundary, steps=self._params.walk_steps)
            if not self._by_network:
                walked = scaled_to_one(walked.flatten(1)).unflatten(1, walked.shape[1:])
            scores[1:] = walked
        scores[0] *= self._params.background_factor
        full = self._refined(scores, image)
        names = torch.tensor([0, *categories], dtype=torch.uint8, device=self._device)
        found = names[full.argmax(0)]
        if doubt:
            found[(full[1:].amax(0) - full[0]).abs() < doubt * full[0]] = VOID
        return found.cpu().numpy()

    def _scores(
        self, image: Float[Tensor, "1 3 h w"], categories: list[int]
    ) -> tuple[Float[Tensor, "n i j"], Float[Tensor, "i j"]]:
        """Return scores of background and the classes of the image, and boundaries, or 0 if there is no walk.

        The scores add up to 1 if a network gives them.
        """
        with autocast(self._device, self._params.precision):
            maps = self._network.pyramid(image)
            logits = self._network.classify(torch.cat(maps, dim=1))[0] if self._by_network else None
            head = self._network.boundary if self._params.walk_steps else None
            boundary = torch.zeros_like(maps[0][0, 0], dtype=torch.float) if head is None else head(maps)[0]
        if logits is not None:
            return logits[[0, *categories]].softmax(0), boundary
        found = self._network.discriminants(self._network.signature(maps)[0], categories)
        return torch.cat([torch.full_like(found[:1], self._background), found]), boundary

    def _refined(self, scores: Float[Tensor, "n i j"], image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "n y x"]:
        if not self._params.color_steps:
            return F.interpolate(scores[None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0]
        steps, longest_px = self._params.color_steps, self._params.refined_side_px
        return refine_scaled(scores, image[0], steps=steps, longest_px=longest_px)
