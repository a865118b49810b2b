"""Section `export_mrcnn`: the network's instances on the training images, as labels for any Mask R-CNN."""

from typing import Literal

from bestie.params.map_reading import MapReading
from bestie.params.section import Fraction, option


class ExportMrcnn(MapReading):
    """The network's instances on the training images, as labels for any Mask R-CNN."""

    semantic_map: Literal["network", "wsss"] = option(
        "network", "whose components are split into instances: those of the network's map, or of the WSSS map", "paper"
    )
    pseudo_labels: bool = option(
        False, "export all pseudo labels, and of the network's instances those that they do not cover", "paper"
    )
    min_score: Fraction = option(0.0, "least score of an instance of the network")
    use_image_labels: bool = option(True, "drop classes that the image is not labeled with")
