"""The maps of the pseudo labels: instances, and the offset and centre maps that are rendered from them."""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt16

from bestie.artifacts.maps import MapWriter
from bestie.targets import render_targets_numpy

ARRAYS = {"instance": ("uint16", 0), "offset": ("int16", 0, 2), "center": ("uint8", 0)}


class LabelMapWriter(MapWriter):
    """Writes `maps.zarr` of `make_pseudo_labels`, atomically.

    Args:
        path: the group's folder.
        n_rows: number of images.
        canvas_hw: height and width that every image fits into.
        num_classes: number of categories.
        sigma_px: standard deviation of the centre map's gaussians; kept as an attribute of the group.
    """

    def __init__(
        self, path: Path, n_rows: int, canvas_hw: tuple[int, int], *, num_classes: int, sigma_px: float
    ) -> None:
        super().__init__(path, ARRAYS, n_rows, canvas_hw, {"sigma_px": sigma_px})
        self._num_classes, self._sigma_px = num_classes, sigma_px

    def __enter__(self) -> "LabelMapWriter":
        super().__enter__()
        return self

    def write_labels(
        self, row: int, instance: UInt16[np.ndarray, "h w"], category_id: Integer[np.ndarray, " n"]
    ) -> None:
        """Write the maps of one image; rows ascend.

        The offset map holds px, the centre map the maximum over the classes, times 255.

        Args:
            row: of the image.
            instance: at each pixel the instance_id, 0 for none.
            category_id: entry k is that of instance_id k + 1.

        Raises:
            ValueError: as `MapWriter.write` and `render_targets_numpy`.
        """
        targets = render_targets_numpy(
            instance, category_id, num_classes=self._num_classes, sigma_px=self._sigma_px, class_wise=False
        )
        self.write(row, "instance", instance)
        self.write(row, "offset", targets.offset.astype(np.int16))
        self.write(row, "center", np.round(targets.center[0] * 255).astype(np.uint8))
