"""Pictures inside the page: pixels as data URIs, masks as path data over them."""

import base64
import io

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from bestie.pictures.outlines import smooth_outlines
from bestie.pictures.scaling import fit_image

#: The longer side of a picture; smaller images keep their size, outlines are drawn at this one in any case.
SIDE_PX = 384
QUALITY = 72


def data_uri(pixels: UInt8[np.ndarray, "h w 3"], *, side_px: int = SIDE_PX, quality: int = QUALITY) -> str:
    """A picture as WebP in a `data:` address; its longer side is at most `side_px`."""
    if max(pixels.shape[:2]) > side_px:
        pixels = fit_image(pixels, side_px)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def path_data(mask: Bool[np.ndarray, "h w"], *, side_px: int = SIDE_PX) -> str:
    """The outlines of a mask as SVG path data, in a picture whose longer side is `side_px`; fill by even-odd."""
    return "".join(_closed(polygon) for polygon in smooth_outlines(mask, side_px))


def _closed(polygon: np.ndarray) -> str:
    """Steps from corner to corner, which are short numbers."""
    steps = np.diff(polygon, axis=0).ravel().tolist()
    return f"M{polygon[0, 0]} {polygon[0, 1]}l" + " ".join(map(str, steps)).replace(" -", "-") + "z"
