"""Training of the network: Listing 1 of the paper, with guidance and online refinement (Sections 3.4 and 3.5)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from bestie.method.decoders import resize_like
from bestie.method.losses import BestieLoss, class_weights
from bestie.method.network import BestieNetwork, Outputs
from bestie.method.own_classes import OwnClasses
from bestie.method.refinement import Refined, refine
from bestie.method.targets import Targets, center_map_from_points, render_targets
from bestie.params.train_bestie import TrainBestie
from bestie.runtime.device import autocast
from bestie.runtime.distributed import replicate
from bestie.runtime.settings import Settings
from bestie.training.checkpoints import Checkpoints
from bestie.training.loop import Clock, EpochEnd
from bestie.training.samples import InstanceBatch, InstanceImages
from bestie.training.train import train


@dataclass(kw_only=True)
class InstanceStep:
    """One step of Listing 1: forward pass, pseudo labels, refined labels, losses.

    With class-wise center maps, the center maps, targets and refined labels have one channel for each class of an image
    (`OwnClasses`); the center maps of all other classes are in the loss with the size that the network gives them.
    """

    network: nn.Module
    params: TrainBestie
    device: torch.device
    class_weights: Tensor | None = None

    def __call__(self, batch: InstanceBatch, clock: Clock) -> dict[str, Tensor]:
        """Return the losses of a batch (`total` is minimized), and the values of `health`."""
        batch = batch.to(self.device)
        own = OwnClasses(batch.own_classes)
        with autocast(self.device, self.params.precision):
            maps = self.network(batch.images, full_size=False)
        outputs = self.resize(maps, batch, own)
        pseudo = self.render(batch, own)
        refined = self.refine(outputs, batch, own) if self.refines(clock) else None
        losses = self.loss(clock)(
            semantic_logits=outputs.semantic,
            center=outputs.center,
            offset=outputs.offset,
            semantic=batch.semantic,
            pseudo=pseudo,
            refined=None if refined is None else refined.targets,
            refined_weight=None if refined is None else refined.weight,
            absent=own.other_channels(maps.center) if self.params.class_wise else None,
        )
        return {**vars(losses), **self.health(outputs, batch, own, refined)}

    def refines(self, clock: Clock) -> bool:
        """Return whether this step uses refined labels, which are empty until the center head has learned something."""
        refinement = self.params.refinement
        return refinement.enabled and clock.fraction >= refinement.start_fraction

    def loss(self, clock: Clock) -> BestieLoss:
        """Return the loss of Eq. 6.

        It is restricted to the hardest pixels only from `hard_pixel_start` on: with them from the first step, the
        semantic loss stays at that of a uniform guess.
        """
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

    def resize(self, maps: Outputs, batch: InstanceBatch, own: OwnClasses) -> Outputs:
        """Return the network's maps in the size of the images, with the center maps of the own classes alone."""
        center = own.channels(maps.center) if self.params.class_wise else maps.center
        return Outputs(*(resize_like(each, batch.images) for each in (maps.semantic, center, maps.offset)))

    def render(self, batch: InstanceBatch, own: OwnClasses) -> Targets:
        """Return center and offset maps of the pseudo labels; with point supervision, the center map of all points."""
        targets = render_targets(
            batch.instance,
            own.number(batch.category),
            num_classes=own.category_id.shape[1],
            sigma_px=self.params.sigma_px,
            class_wise=self.params.class_wise,
        )
        if batch.points_yx is None or batch.points_category is None:
            return targets
        center = center_map_from_points(
            batch.points_yx,
            own.number(batch.points_category),
            height=batch.instance.shape[1],
            width=batch.instance.shape[2],
            num_classes=own.category_id.shape[1],
            sigma_px=self.params.sigma_px,
            class_wise=self.params.class_wise,
        )
        return Targets(center, targets.offset, targets.guidance, targets.centers_yx)

    def refine(self, outputs: Outputs, batch: InstanceBatch, own: OwnClasses) -> Refined:
        """Return refined labels, made from the network's own output on this batch (Listing 5)."""
        refinement = self.params.refinement
        return refine(
            outputs.center.detach(),
            outputs.offset.detach(),
            semantic_logits=own.logits(outputs.semantic.detach()) if refinement.confidence == "release" else None,
            image_labels=own.labels(batch.labels),
            wsss=own.number(batch.semantic),
            components=batch.components,
            points_yx=batch.points_yx,
            points_category=None if batch.points_category is None else own.number(batch.points_category),
            threshold=refinement.threshold,
            window_px=refinement.window_px,
            sigma_px=self.params.sigma_px,
            cluster=refinement.cluster,
            cluster_distance_px=refinement.cluster_distance_px,
            confidence=refinement.confidence,
            max_per_component=refinement.max_per_component,
        )

    @torch.no_grad()
    def health(
        self, outputs: Outputs, batch: InstanceBatch, own: OwnClasses, refined: Refined | None
    ) -> dict[str, Tensor]:
        """Return the 90th percentile of the center maxima of the classes present, and refined instances per image."""
        maxima = outputs.center.detach()[:, :, ::4, ::4].amax(dim=(2, 3))  # the head's own resolution is a quarter
        present = own.labels(batch.labels) > 0 if self.params.class_wise else torch.ones_like(maxima, dtype=torch.bool)
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
    class_pixels: Int[np.ndarray, " k"],
    checkpoints: Checkpoints | None = None,
    epoch_end: EpochEnd | None = None,
    description: str = "train_bestie",
) -> list[dict[str, float]]:
    """Train to the end and return the history, one row per epoch.

    Args:
        network: the network on `device`; its weights are changed in place.
        samples: the training images.
        params: the section `train_bestie`.
        settings: workers, progress, and whether the network is compiled.
        device: where to train.
        class_pixels: labeled pixels of each class in the training set, background first, for `class_weights`.
        checkpoints: see `train`.
        epoch_end: see `Loop`.
        description: see `train`.

    Raises:
        InputError: see `Loop.run`.
        StoppedError: see `Loop.run`.
    """
    weights = class_weights(
        torch.from_numpy(class_pixels), background_weight=params.background_weight, balance=params.class_balance
    )
    step = InstanceStep(
        network=replicate(network),
        params=params,
        device=device,
        class_weights=weights.to(device),
    )
    return train(
        network,
        samples,
        step,
        params,
        settings,
        description=description,
        device=device,
        checkpoints=checkpoints,
        epoch_end=epoch_end,
    )
