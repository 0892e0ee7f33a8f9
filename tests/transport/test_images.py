"""Images of PIL arrive with their pixels, palette and info."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from actors.transport import Decoder, Encoder, Mode, Undecoded, Unsendable, snapshot
from tests.transport.attachment_link import AttachmentLink
from tests.transport.sample_values import carry, travel


@pytest.fixture(params=["wire", "snapshot"])
def send(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return travel if request.param == "wire" else snapshot


MODES = ["1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "LA", "PA", "YCbCr", "HSV", "LAB"]


@pytest.mark.parametrize("size", [(7, 5), (0, 3), (1, 1)])
@pytest.mark.parametrize("mode", MODES)
def test_an_image_of_any_mode_arrives_as_it_was(
    send: Callable[[Any], Any], mode: str, size: tuple[int, int]
) -> None:
    image = Image.new(mode, size)
    if 0 not in size:
        image.putpixel((0, 0), image.getpixel((0, 0)))
        image.frombytes(bytes(range(len(image.tobytes()))))
    image.info["dpi"] = (72, 72)
    again = send([image])[0]
    assert type(again) is Image.Image
    assert again == image
    assert again.info == image.info


def test_a_palette_arrives_with_its_own_mode(send: Callable[[Any], Any]) -> None:
    for mode, colours in (("RGB", b"\x01\x02\x03"), ("RGBA", b"\x01\x02\x03\x04")):
        image = Image.new("P", (2, 2))
        image.putpalette(colours * 4, mode)
        again = send(image)
        assert again.getpalette(mode) == image.getpalette(mode)
        assert again.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


def test_a_copy_shares_no_pixels(send: Callable[[Any], Any]) -> None:
    image = Image.new("RGB", (2, 2))
    image.info["notes"] = [1]
    again = send(image)
    image.putpixel((0, 0), (255, 0, 0))
    image.info["notes"].append(2)
    assert again.getpixel((0, 0)) == (0, 0, 0)
    assert again.info == {"notes": [1]}
    again.putpixel((1, 1), (0, 255, 0))


def test_an_image_of_an_open_file_is_refused_with_what_to_send(send: Callable[[Any], Any]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    image = Image.open(file)
    with pytest.raises(
        Unsendable, match=r"PngImageFile is an image of an open file; send value.copy"
    ):
        send(image)
    assert send(image.copy()) == image.copy()


def test_an_info_that_cannot_be_sent_is_named(send: Callable[[Any], Any]) -> None:
    image = Image.new("L", (1, 1))
    image.info["who"] = sys
    with pytest.raises(Unsendable) as caught:
        send([image])
    assert caught.value.path == "value[0].info['who']"


def test_a_big_image_goes_by_shared_memory() -> None:
    link = AttachmentLink()
    try:
        link.warm(120_000, 8)
        image = Image.new("RGB", (200, 200), (1, 2, 3))
        assert link.ship([image])[0] == image
        assert link.here.modes[Mode.LEASE] == 1
    finally:
        link.close()


@pytest.mark.parametrize(
    "parts",
    [
        ("L", [10**9, 10**9], b"abcd", None, {}),
        ("L", [-2, -2], b"abcd", None, {}),
        ("1", [9, 2], b"abc", None, {}),
        ("RGB", [1, 1], b"abcd", None, {}),
    ],
)
def test_no_image_is_made_for_bytes_that_do_not_fill_it(
    parts: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder()
    encoded = encoder.encode_value(Image.new("L", (2, 2)))
    monkeypatch.setattr(Image, "new", lambda *_: pytest.fail("made an image"))
    forged = encoded._replace(data=encoder.batches.pack_one([0, *parts]))
    failed = carry(encoder, Decoder(), [1, forged])[1]
    assert f"bytes are no image '{parts[0]}' of" in str(failed.error)


@pytest.mark.parametrize(
    "parts",
    [
        ("?", [2, 2], b"abcd", None, {}),
        ("L", [2], b"abcd", None, {}),
        ("L", [2, 2], 4, None, {}),
        ("L", [2, 2], b"abcd", None, 5),
        ("P", [2, 2], b"abcd", ["?", b""], {}),
        (),
    ],
)
def test_parts_that_make_no_image_are_one_error(parts: tuple[Any, ...]) -> None:
    encoder = Encoder()
    encoded = encoder.encode_value(Image.new("L", (2, 2)))
    forged = encoded._replace(data=encoder.batches.pack_one([0, *parts]))
    assert isinstance(carry(encoder, Decoder(), [1, forged])[1], Undecoded)
