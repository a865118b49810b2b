"""True semantic maps, in a form from which instances can be cut."""

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from bestie.records import VOID


def fill_void(semantic: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"] | None:
    """Return a true semantic map in which void has the nearest label; None if the whole map is void (no truth).

    Void has to be filled: the void border itself would separate objects that touch.
    """
    void = semantic == VOID
    if void.all():
        return None
    nearest = ndimage.distance_transform_edt(void, return_distances=False, return_indices=True)
    return semantic[tuple(nearest)]
