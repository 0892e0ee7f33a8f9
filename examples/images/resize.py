"""Makes a picture smaller; runs on workers. Nothing of an upload is decoded anywhere else.

Pillow needs little time to read the size of a picture, which bounds the memory and time that decoding takes.
"""

from io import BytesIO
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["NotAPicture", "resize"]

MOST_PIXELS: Final = 50_000_000
_FORMATS: Final = ("GIF", "JPEG", "PNG", "WEBP")
_QUALITY: Final = 80

# `resize` has a limit of its own, and Pillow only warns up to twice its limit.
Image.MAX_IMAGE_PIXELS = None


class NotAPicture(ValueError):
    """What was uploaded cannot be shown, and why."""


def resize(data: bytes, width: int) -> tuple[bytes, tuple[int, int]]:
    """Return a picture as WebP, at most *width* wide and twice as high, and its size in pixels.

    Raises:
        NotAPicture: it is no GIF, JPEG, PNG or WebP, has too many pixels, or is damaged.
    """
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as picture:
            _check_pixels(picture.width, picture.height)
            picture.draft("RGB", (width, 2 * width))  # a JPEG is decoded at the size that is needed
            small = ImageOps.exif_transpose(picture)
            small.thumbnail((width, 2 * width))
            mode = "RGBA" if small.has_transparency_data else "RGB"
            made = BytesIO()
            small.convert(mode).save(made, "WEBP", quality=_QUALITY)
            return made.getvalue(), small.size
    except NotAPicture:
        raise
    except UnidentifiedImageError:
        raise NotAPicture("this is no GIF, JPEG, PNG or WebP") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise NotAPicture(f"the picture is damaged: {error}") from None


def _check_pixels(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        limit = f"a picture may have {MOST_PIXELS:,} pixels"
        raise NotAPicture(f"{limit}, got {width} by {height}")
