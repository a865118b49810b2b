"""The network as a predictor: from images to maps, to instances, to rows of an instance table."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from bestie.artifacts.instances import instance_rows
from bestie.method.inference import Confidence, Instances, predict_instances
from bestie.method.network import BestieNetwork, Outputs
from bestie.method.pixel_adaptive import refine_scaled
from bestie.params.map_reading import MapReading
from bestie.prediction.network_maps import predict_maps
from bestie.prediction.padded_image import pad
from bestie.records import ImageRecord
from bestie.training.samples import image_tensor

#: Classes whose probability is below this everywhere in an image are not refined.
LEAST_PROBABILITY = 0.1
TINY = 1e-8


class NetworkPredictor:
    """A trained network and how its maps are read, as the stages and the `bestie` command use it.

    Args:
        network: the network, on `device`.
        reading: precision, mirror image and sizes of the prediction, whether its semantic map is refined by color,
            and how instances are found on the maps.
        num_classes: C, without background.
        device: where to compute.
        confidence: what the score of an instance is; see `predict_instances`.
        use_image_labels: leave out classes that the image is not labeled with.
    """

    kind = "BESTIE"
    shown_score: float | None = None

    def __init__(
        self,
        network: BestieNetwork,
        reading: MapReading,
        *,
        num_classes: int,
        device: torch.device,
        confidence: Confidence = "product",
        use_image_labels: bool = False,
    ) -> None:
        self.network, self._reading, self.num_classes = network, reading, num_classes
        self._device, self._confidence, self._use_image_labels = device, confidence, use_image_labels

    def maps(
        self, records: Iterable[ImageRecord], root: Path, *, rows: Collection[int] | None = None
    ) -> Iterator[tuple[ImageRecord, Outputs]]:
        """Yield each image with its full-size maps, a batch of one on the device.

        Args:
            records: the images.
            root: the folder that the images' paths are relative to.
            rows: the rows of the images to keep; None keeps all.

        Raises:
            InputError: see `read_image`.
        """
        for record in records:
            if rows is None or record.row in rows:
                yield record, self.maps_of(record, root)

    def maps_of(self, record: ImageRecord, root: Path) -> Outputs:
        """Return the full-size maps of an image, a batch of one on the device. Raises InputError like `read_image`."""
        return self._maps_of(image_tensor(root, record))

    def _maps_of(self, image: UInt8[Tensor, "3 h w"]) -> Outputs:
        """Return the full-size maps of an image (RGB, 0..255), a batch of one on the device."""
        reading = self._reading
        outputs = predict_maps(
            self.network,
            pad(image),
            device=self._device,
            precision=reading.precision,
            flip=reading.flip,
            semantic_scales=reading.semantic_scales,
            instance_scales=reading.instance_scales,
        )
        height, width = image.shape[1:]
        maps = Outputs(*(each[:, :, :height, :width] for each in outputs))
        if reading.color_steps:
            maps = maps._replace(semantic=self._refined(maps.semantic, image))
        return maps

    def _refined(
        self, logits: Float[Tensor, "1 classes h w"], image: UInt8[Tensor, "3 h w"]
    ) -> Float[Tensor, "1 classes h w"]:
        """Return logarithms of the class probabilities, those of the classes in the image refined by color."""
        probability = logits[0].float().softmax(0)
        found = (probability.flatten(1).amax(1) >= LEAST_PROBABILITY).nonzero().flatten()
        if not len(found):
            return logits
        refined = refine_scaled(
            probability[found],
            image.to(probability).float(),
            steps=self._reading.color_steps,
            longest_px=self._reading.refined_side_px,
        )
        return probability.index_copy(0, found, refined).clamp(min=TINY).log()[None]

    def instances(self, outputs: Outputs, record: ImageRecord, *, semantic: np.ndarray | None = None) -> Instances:
        """Return the instances on the maps of one image.

        Args:
            outputs: full-size maps, a batch of one.
            record: the image.
            semantic: a semantic map (h w; 0 background, 255 void) to use instead of the predicted one.
        """
        device = outputs.center.device
        labels = None
        if self._use_image_labels:
            labels = torch.from_numpy(record.label_vector(self.num_classes)).to(device)[None]
        return predict_instances(
            outputs.semantic.float(),
            outputs.center.float(),
            outputs.offset.float(),
            image_labels=labels,
            semantic=None if semantic is None else torch.from_numpy(semantic).to(device)[None],
            threshold=self._reading.grouping.threshold,
            window_px=self._reading.grouping.window_px,
            min_area_px=self._reading.min_area_px,
            confidence=self._confidence,
        )[0]

    def find(self, records: Iterable[ImageRecord], root: Path) -> Iterator[tuple[ImageRecord, list[dict[str, Any]]]]:
        """Yield each image with the rows of its instances, in order. Raises InputError like `read_image`."""
        for record in records:
            yield record, self.find_in(image_tensor(root, record), record)

    def find_in(self, image: UInt8[Tensor, "3 h w"], record: ImageRecord) -> list[dict[str, Any]]:
        """Return the rows of the instances in the pixels (RGB, 0..255) of an image."""
        return table_rows(record, self.instances(self._maps_of(image), record))


def table_rows(record: ImageRecord, found: Instances, *, min_score: float = 0.0) -> list[dict[str, Any]]:
    """Return instances as rows of an instance table.

    A center value can be negative and make a score negative; such a score becomes 0.

    Args:
        record: the image.
        found: its instances.
        min_score: instances with a lower score are left out.
    """
    score = found.score.clip(min=0)
    keep = np.flatnonzero(score >= min_score)
    masks = (found.instance == number + 1 for number in keep)
    return instance_rows(
        record,
        masks,
        found.category_id[keep],
        scores=score[keep],
        centers_yx=found.center_yx[keep].astype(np.float64),
    )
