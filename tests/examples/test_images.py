"""The service that makes pictures smaller: what it refuses, what that costs, and how its files are kept."""

import io
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from actors import System
from actors.errors import DeadlineExceeded, MailboxFull, StartFailed, WorkerLost
from examples.images import topology
from examples.images._settings import folder
from examples.images.app import app
from examples.images.gallery import Gallery
from examples.images.resize import NotAPicture, resize
from tests.end_to_end.server_process import ServerProcess


def picture(kind: str = "PNG", size: tuple[int, int] = (800, 600)) -> bytes:
    made = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(made, kind)
    return made.getvalue()


def bomb() -> bytes:
    """A PNG of a few hundred bytes that says it has 400 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100_000))
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.fixture(scope="module")
def service(
    no_leaks_in_file: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    made = tmp_path_factory.mktemp("images")
    env = {"TMPDIR": str(made), "IMAGES_PORT": "0"}
    with ServerProcess("run", "examples.images:topology", folder=made, env=env) as served:
        address = str(served.wait_for("listening")["address"])
        served.port = int(address.rpartition(":")[2])
        yield served
        sys.stderr.writelines(served.lines)
    assert list(made.glob("images-*")) == []


@pytest.fixture
def http(service: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=20) as client:
        yield client


class NoPool:
    """In the place of the pool: fails as it would."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def run_nowait(self, *_: object, **__: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error, status, text",
    [
        (MailboxFull("pool 'resize'", "full"), 503, "too many pictures wait already"),
        (DeadlineExceeded("pool 'resize'", "late"), 503, "this took longer than"),
        (StartFailed("no worker"), 503, "no worker starts"),
        (WorkerLost("resize", "killed by SIGKILL"), 500, "the worker has ended"),
    ],
)
async def test_each_failure_of_the_pool_has_its_own_status(
    error: Exception, status: int, text: str
) -> None:
    async def with_pool(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": {"pool": NoPool(error)}}, receive, send)

    transport = httpx.ASGITransport(app=with_pool)
    client = httpx.AsyncClient(transport=transport, base_url="http://test")
    async with System(), client:
        answer = await client.post("/images", content=picture())

    assert answer.status_code == status
    assert text in answer.text


@pytest.mark.parametrize("kind", ["GIF", "JPEG", "PNG", "WEBP"])
def test_an_upload_is_resized_listed_and_served_as_webp(http: httpx.Client, kind: str) -> None:
    answer = http.post(
        "/images", params={"name": f"<b>{kind}", "width": 100}, content=picture(kind)
    )
    assert answer.status_code == 201
    made = answer.json()
    assert made == {"id": made["id"], "name": f"<b>{kind}", "width": 100, "height": 75}
    assert http.get("/images").json()[0] == made
    served = http.get(f"/images/{made['id']}.webp")
    assert served.headers["content-type"] == "image/webp"
    assert served.headers["x-content-type-options"] == "nosniff"
    with Image.open(io.BytesIO(served.content)) as shown:
        assert (shown.format, shown.size) == ("WEBP", (100, 75))


@pytest.mark.parametrize(
    "content,error",
    [
        (b"hello, this is text", "this is no GIF, JPEG, PNG or WebP"),
        (picture()[:2000], "the picture is damaged: "),
        (picture("JPEG")[:2000], "the picture is damaged: "),
        (bomb(), "a picture may have 50,000,000 pixels, got 20000 by 20000"),
        (b"", "the body is empty: it has to be the picture"),
    ],
    ids=["text", "half a PNG", "half a JPEG", "bomb", "nothing"],
)
def test_what_is_no_picture_is_refused_with_a_reason_and_costs_no_worker(
    http: httpx.Client, service: ServerProcess, content: bytes, error: str
) -> None:
    answer = http.post("/images", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)
    assert http.post("/images", content=picture(size=(20, 20))).status_code == 201
    assert [fact for fact in service.facts if fact.get("event") == "node ended"] == []


@pytest.mark.parametrize("width", ["", "15", "1025", "wide", "-20", "9" * 5000])
def test_a_bad_width_is_refused_by_its_value(http: httpx.Client, width: str) -> None:
    answer = http.post("/images", params={"width": width}, content=picture())
    assert answer.status_code == 400
    assert answer.json()["error"] == f"width must be a number from 16 to 1024, got {width[:20]!r}"


def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_sent(
    service: ServerProcess,
) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(b"POST /images HTTP/1.1\r\nhost: x\r\ncontent-length: 20971521\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 413"


def test_a_body_without_a_length_is_refused_when_it_gets_too_long(service: ServerProcess) -> None:
    part = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(b"POST /images HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            client.sendall(part)
        client.sendall(b"1\r\nx\r\n")
        assert client.recv(12) == b"HTTP/1.1 413"


def test_figures_count_what_was_done_and_refused(http: httpx.Client) -> None:
    def total(figure: str) -> int:
        return sum(pool[figure] for pool in http.get("/stats").json()["pools"])

    before = {figure: total(figure) for figure in ("completed", "failed")}
    assert http.post("/images", content=picture()).status_code == 201
    assert http.post("/images", content=b"text").status_code == 400
    assert total("completed") == before["completed"] + 1
    assert total("failed") == before["failed"] + 1
    assert total("queued") == total("running") == 0


@pytest.mark.parametrize("path", ["/images/none.webp", "/images/..%2f..%2fx.webp", "/nothing"])
def test_what_does_not_exist_is_not_found(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404


def test_the_gallery_keeps_the_newest_and_removes_the_files_of_the_others(tmp_path: Path) -> None:
    gallery, other = Gallery(tmp_path, most=3), Gallery(tmp_path, most=3)
    made = [(gallery, other)[n % 2].add(f"picture {n}", b"webp", (n, n)) for n in range(5)]
    assert gallery.newest() == other.newest() == made[:1:-1]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        f"{kept.id}.{kind}" for kept in made[2:] for kind in ("json", "webp")
    )
    assert gallery.file(made[0].id) is None
    assert gallery.file(f"../{tmp_path.name}/{made[4].id}") is None
    assert asdict(made[4]) == {"id": made[4].id, "name": "picture 4", "width": 4, "height": 4}


def test_a_picture_is_turned_as_its_camera_was_and_keeps_what_is_transparent() -> None:
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 200)).save(turned, "JPEG", exif=exif)
    assert resize(turned.getvalue(), 100)[1] == (100, 200)

    clear = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(clear, "PNG")
    with Image.open(io.BytesIO(resize(clear.getvalue(), 100)[0])) as shown:
        assert (shown.mode, shown.size) == ("RGBA", (10, 10))


def test_what_pillow_could_read_beyond_these_formats_is_refused() -> None:
    with pytest.raises(NotAPicture, match=r"^this is no GIF, JPEG, PNG or WebP$"):
        resize(picture("BMP"), 100)


def test_bad_settings_are_refused_by_their_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMAGES_FOLDER", str(tmp_path))
    assert folder() == str(tmp_path)
    monkeypatch.setenv("IMAGES_PORT", "80a")
    with pytest.raises(ValueError, match=r"^IMAGES_PORT must be a number .* got '80a'$"):
        topology()
    monkeypatch.setenv("IMAGES_FOLDER", "nowhere")
    with pytest.raises(ValueError, match=r"^IMAGES_FOLDER must be a folder .* got 'nowhere'$"):
        topology()
