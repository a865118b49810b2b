"""EXIF orientation: phones store photographs turned or mirrored, with a number that says how. Here they are upright."""

from contextlib import suppress
from pathlib import Path

from PIL import Image

from bestie.errors import InputError

TAG, UPRIGHT = 0x0112, 1
#: What makes an image upright, by the EXIF orientation with which it is stored.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: The orientations whose upright height is the stored width.
SIDEWAYS = (5, 6, 7, 8)


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8; 1 as well if there is none or EXIF is damaged.

    Pillow turns TIFF files itself, so they count as upright.
    """
    value = UPRIGHT
    if image.format != "TIFF":
        with suppress(Exception):  # the parser of EXIF can raise anything for a hostile file
            value = image.getexif().get(TAG, UPRIGHT)
    return value if value in TURNS else UPRIGHT


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (height, width) in px of an opened image when it is upright."""
    return (image.width, image.height) if orientation(image) in SIDEWAYS else (image.height, image.width)


def turn_upright(image: Image.Image) -> Image.Image:
    """Return a decoded image upright."""
    turn = TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def check_fits_one_way(path: Path, number: int, size: tuple[int, int], what: str, *, by_size: bool) -> None:
    """Raise InputError if it cannot be known whether `what` was drawn on the upright or on the stored pixels.

    Args:
        path: the image, for the message.
        number: its EXIF orientation.
        size: its height and width in px.
        what: what belongs to the image, for the message: masks, points.
        by_size: whether `what` has a size, which tells the two apart if the image is stored sideways.
    """
    if number == UPRIGHT or (by_size and number in SIDEWAYS and size[0] != size[1]):
        return
    raise InputError(
        f"{path} is stored with the EXIF orientation {number}, and nothing shows whether its {what} were drawn on the "
        f"picture as stored or as it is shown. Save the image upright without EXIF, and its {what} with it."
    )


def turned_hint(number: int) -> str:
    """Return, for messages about sizes, that an image is stored turned, or nothing."""
    return "" if number == UPRIGHT else f", turned as its EXIF orientation {number} says"
