"""Section `export_mrcnn`: the network's instances on the training images, as labels for any Mask R-CNN."""

from bestie.params.map_reading import MapReading
from bestie.params.section import Fraction, option


class ExportMrcnn(MapReading):
    """The network's instances on the training images, as labels for any Mask R-CNN."""

    min_score: Fraction = option(0.0, "least score of a label")
    use_image_labels: bool = option(True, "drop classes that the image is not labeled with")
