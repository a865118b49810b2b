"""Pictures inside the page: pixels as data URIs, and masks as SVG path data over them."""

import base64
import io

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from bestie.pictures.outlines import smooth_outlines
from bestie.pictures.scaling import fit_image

#: The longer side of a picture. Smaller images keep their size, but outlines are always drawn at this size.
SIDE_PX = 384
QUALITY = 72


def data_uri(pixels: UInt8[np.ndarray, "h w 3"], *, side_px: int = SIDE_PX, quality: int = QUALITY) -> str:
    """Return a picture (RGB, 0..255) as a `data:` URI with a WebP file whose longer side is at most `side_px`."""
    if max(pixels.shape[:2]) > side_px:
        pixels = fit_image(pixels, side_px)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def path_data(mask: Bool[np.ndarray, "h w"], *, side_px: int = SIDE_PX) -> str:
    """Return the outlines of a mask as SVG path data for the even-odd rule, in a picture of longer side `side_px`."""
    return "".join(_closed(polygon) for polygon in smooth_outlines(mask, side_px))


def _closed(polygon: np.ndarray) -> str:
    """Return a closed path of relative steps, which are shorter to write than positions."""
    steps = np.diff(polygon, axis=0).ravel().tolist()
    return f"M{polygon[0, 0]} {polygon[0, 1]}l" + " ".join(map(str, steps)).replace(" -", "-") + "z"
