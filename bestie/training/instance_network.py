"""Training of the network: Listing 1 of the paper, with guidance and online refinement (Sections 3.4, 3.5)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from bestie.backbones import normalize
from bestie.distributed import replicate
from bestie.losses import BestieLoss, class_weights
from bestie.network import BestieNetwork, Outputs
from bestie.params import TrainBestie
from bestie.refinement import Refined, refine
from bestie.settings import Settings
from bestie.targets import Targets, center_map_from_points, render_targets
from bestie.training.checkpoints import Checkpoints
from bestie.training.device import autocast
from bestie.training.loop import Clock, EpochEnd, train
from bestie.training.samples import InstanceBatch, InstanceImages


@dataclass(kw_only=True)
class InstanceStep:
    """One step of Listing 1: forward, pseudo labels rendered, refined labels made, loss."""

    network: nn.Module
    params: TrainBestie
    num_classes: int
    device: torch.device
    class_weights: Tensor | None = None

    def __call__(self, batch: InstanceBatch, clock: Clock) -> dict[str, Tensor]:
        """Losses of a batch (`total` is minimised), and how the centre head and refinement are doing."""
        batch = batch.to(self.device)
        images = normalize(batch.images).contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.params.precision):
            outputs = self.network(images)
        pseudo = self.render(batch)
        refined = self.refine(outputs, batch) if self.refines(clock) else None
        losses = self.loss(clock)(
            semantic_logits=outputs.semantic,
            center=outputs.center,
            offset=outputs.offset,
            semantic=batch.semantic,
            pseudo=pseudo,
            refined=None if refined is None else refined.targets,
            refined_weight=None if refined is None else refined.weight,
        )
        return {**vars(losses), **self.health(outputs, batch, refined)}

    def refines(self, clock: Clock) -> bool:
        """Whether this step uses refined labels: they are empty until the centre head has learned something."""
        refinement = self.params.refinement
        return refinement.enabled and clock.fraction >= refinement.start_fraction

    def loss(self, clock: Clock) -> BestieLoss:
        """Eq. 6. Hard pixels alone count only after a while: from the first step they keep the loss at ln C."""
        params = self.params
        return BestieLoss(
            center_weight=params.lambda_center,
            offset_weight=params.lambda_offset,
            semantic_weight=params.lambda_semantic,
            top_fraction=params.hard_pixel_fraction if clock.fraction >= params.hard_pixel_start else 1.0,
            class_weights=self.class_weights,
            refined_average=params.refinement.average,
            instance_aware_guidance=params.instance_aware_guidance,
        )

    def render(self, batch: InstanceBatch) -> Targets:
        """Centre and offset maps of the pseudo labels; with points, the centre map of all points."""
        targets = render_targets(
            batch.instance,
            batch.category,
            num_classes=self.num_classes,
            sigma_px=self.params.sigma_px,
            class_wise=self.params.class_wise,
        )
        if batch.points_yx is None or batch.points_category is None:
            return targets
        center = center_map_from_points(
            batch.points_yx,
            batch.points_category,
            height=batch.instance.shape[1],
            width=batch.instance.shape[2],
            num_classes=self.num_classes,
            sigma_px=self.params.sigma_px,
            class_wise=self.params.class_wise,
        )
        return Targets(center, targets.offset, targets.guidance, targets.centers_yx)

    def refine(self, outputs: Outputs, batch: InstanceBatch) -> Refined:
        """Refined labels from the network's own output on this batch."""
        refinement = self.params.refinement
        return refine(
            outputs.center.detach(),
            outputs.offset.detach(),
            semantic_logits=outputs.semantic.detach() if refinement.confidence == "release" else None,
            image_labels=batch.labels,
            wsss=batch.semantic,
            components=batch.components,
            points_yx=batch.points_yx,
            points_category=batch.points_category,
            threshold=refinement.threshold,
            window_px=refinement.window_px,
            sigma_px=self.params.sigma_px,
            cluster=refinement.cluster,
            cluster_distance_px=refinement.cluster_distance_px,
            confidence=refinement.confidence,
            max_per_component=refinement.max_per_component,
        )

    @torch.no_grad()
    def health(self, outputs: Outputs, batch: InstanceBatch, refined: Refined | None) -> dict[str, Tensor]:
        """The 90th percentile of the centre maxima of present classes, and refined instances an image."""
        maxima = outputs.center.detach()[:, :, ::4, ::4].amax(dim=(2, 3))  # the head itself has a quarter of the pixels
        present = batch.labels > 0 if self.params.class_wise else torch.ones_like(maxima, dtype=torch.bool)
        kept = torch.where(present, maxima, torch.nan).flatten()
        count = maxima.new_zeros(()) if refined is None else (refined.category > 0).sum() / len(batch.images)
        return {
            "center_max_p90": torch.nanquantile(kept, 0.9).nan_to_num(),
            "refined_per_image": count.float(),
        }


def train_network(
    network: BestieNetwork,
    samples: InstanceImages,
    params: TrainBestie,
    settings: Settings,
    device: torch.device,
    *,
    num_classes: int,
    class_pixels: Int[np.ndarray, " k"],
    checkpoints: Checkpoints | None = None,
    epoch_end: EpochEnd | None = None,
    description: str = "train_bestie",
) -> list[dict[str, float]]:
    """Train to the end and return the history, one row an epoch.

    Args:
        class_pixels: labelled pixels of each class in the training set, background first, for `class_weights`.

    Raises:
        InputError: no samples, or a loss that is not finite.
    """
    weights = class_weights(
        torch.from_numpy(class_pixels), background_weight=params.background_weight, balance=params.class_balance
    )
    step = InstanceStep(
        network=replicate(network),
        params=params,
        num_classes=num_classes,
        device=device,
        class_weights=weights.to(device),
    )
    if settings.compile:
        network.compile()
    return train(
        network,
        samples,
        step,
        params,
        settings,
        description=description,
        pin_memory=device.type == "cuda",
        checkpoints=checkpoints,
        epoch_end=epoch_end,
    )
