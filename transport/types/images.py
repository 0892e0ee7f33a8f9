"""Images of PIL: mode, size, bytes, palette and what `info` says of them."""

from typing import Any, Final

from PIL import Image, ImageMode

from actors.transport.errors import Undecodable
from actors.transport.types.adapters import Adapter, paths

__all__ = ["ADAPTERS"]


def _take_apart(image: Any) -> tuple[Any, ...]:
    palette = None
    if image.palette is not None and image.mode in ("P", "PA"):
        palette = [image.palette.mode, bytes(image.getpalette(image.palette.mode))]
    return image.mode, list(image.size), memoryview(image.tobytes()), palette, dict(image.info)


def _put_together(mode: Any, size: Any, data: Any, palette: Any, info: Any) -> Any:
    width, height = size
    # Checked before an image of that size is made.
    if min(width, height) < 0 or len(data) != _line(mode, width) * height:
        raise Undecodable(f"{len(data)} bytes are no image {mode!r} of {width} x {height}")
    image = (
        Image.frombytes(mode, (width, height), data) if data else Image.new(mode, (width, height))
    )
    if palette is not None:
        image.putpalette(palette[1], palette[0])
    image.info = dict(info)
    return image


def _line(mode: Any, width: int) -> int:
    """Bytes of one line of an image."""
    if mode == "1":
        return (width + 7) // 8
    known = ImageMode.getmode(mode)
    return width * len(known.bands) * int(known.typestr[2:])


ADAPTERS: Final[dict[type, Adapter]] = {
    Image.Image: Adapter(_take_apart, _put_together, paths("", "", "", "", ".info")),
}
