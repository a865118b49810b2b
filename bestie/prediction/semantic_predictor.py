"""Semantic maps of images whose labels are known, by discriminants or by a network, refined by color."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from bestie.method.pixel_adaptive import refine_scaled
from bestie.method.semantic_network import SemanticNetwork
from bestie.params.make_wsss import MakeWsss
from bestie.records import ImageRecord
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
        self._network, self._params, self._device = network, params, device
        self._by_network, self._background = by_network, background

    @torch.no_grad()
    def find(self, record: ImageRecord, root: Path) -> UInt8[np.ndarray, "h w"]:
        """Return the map of an image: 0 for background, or the category_id of one of its labels.

        Raises:
            InputError: see `read_image`.
        """
        categories = list(record.labels)
        if not categories:
            return np.zeros((record.height, record.width), np.uint8)
        self._network.eval()
        image = image_tensor(root, record)[None].to(self._device).float()
        scores = self._scores(image, categories)
        if self._params.flip:
            scores = (scores + self._scores(image.flip(-1), categories).flip(-1)) / 2
        scores[0] *= self._params.background_factor if self._by_network else 1
        full = self._refined(scores, image)
        names = torch.tensor([0, *categories], dtype=torch.uint8, device=self._device)
        return names[full.argmax(0)].cpu().numpy()

    def _scores(self, image: Float[Tensor, "1 3 h w"], categories: list[int]) -> Float[Tensor, "n i j"]:
        """Return scores of background and the classes of the image, which add up to 1 if a network gives them."""
        with autocast(self._device, self._params.precision):
            maps = self._network.pyramid(image)
            if self._by_network:
                logits = self._network.classify(torch.cat(maps, dim=1))[0]
                return logits[[0, *categories]].softmax(0)
        found = self._network.discriminants(self._network.signature(maps)[0], categories)
        return torch.cat([torch.full_like(found[:1], self._background), found])

    def _refined(self, scores: Float[Tensor, "n i j"], image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "n y x"]:
        if not self._params.color_steps:
            return F.interpolate(scores[None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0]
        steps, longest_px = self._params.color_steps, self._params.refined_side_px
        return refine_scaled(scores, image[0], steps=steps, longest_px=longest_px)
