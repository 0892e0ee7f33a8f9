"""Listeners as data: what may be described, and the error for each mistake."""

import contextlib
import errno
import os
import pickle
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from actors._base.errors import ActorsError, InvalidSpec
from actors.routing import (
    BadListener,
    HandlerNotFound,
    Key,
    LeastConnections,
    LifespanFailed,
    ListenFailed,
    RoundRobin,
    Sticky,
    asgi,
    cookie,
    header,
    ip,
    key,
    listen,
    path,
    proxy,
    query,
    sni,
)
from actors.routing.listen.address import Unix, beyond_loopback
from actors.routing.listen.bind import bind, release, where_of
from tests.routing.certificates import Certified


async def handle(stream: object) -> None:
    """A handler that can be imported."""


def not_async(stream: object) -> None:
    """A handler that cannot serve."""


def test_a_function_is_held_as_its_import_path() -> None:
    assert listen(handle).handler == f"{__name__}:handle"
    assert listen("pkg.mod:attr").path == "pkg.mod:attr"
    assert listen(asgi("pkg.mod:app")).path == "pkg.mod:app"


def test_a_function_of_the_main_script_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle, "__module__", "__main__")
    assert listen(handle).handler == "__main__:handle"


def test_a_listener_travels_to_nodes() -> None:
    spec = listen(asgi("a:b"), policy=Sticky(query("room") | cookie("sid")), max_connections=3)
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own


def test_defaults_are_least_connections_on_loopback_and_the_address_as_name() -> None:
    spec = listen("a:b")
    assert spec.policy == LeastConnections()
    assert (spec.address, spec.name, spec.nodes) == ("127.0.0.1:8000", "127.0.0.1:8000", "web")
    assert listen("a:b", name="front").name == "front"
    assert listen("a:b", policy="round-robin").policy == RoundRobin()


@pytest.mark.parametrize(
    "address, beyond",
    [
        ("127.0.0.1:80", False),
        ("127.9.9.9:80", False),
        ("localhost:80", False),
        ("[::1]:80", False),
        ("unix:/run/x", False),
        ("0.0.0.0:80", True),
        ("[::]:80", True),
        ("192.168.1.1:80", True),
        ("example.com:80", True),
    ],
)
def test_it_is_known_when_other_machines_can_connect(address: str, *, beyond: bool) -> None:
    assert beyond_loopback(listen("a:b", address).where) is beyond


unnamed: Callable[[object], Awaitable[None]] = lambda _: handle(_)  # noqa: E731, PLW0108 - the bad value


def inner() -> Callable[[object], Awaitable[None]]:
    async def nested(stream: object) -> None:
        """Nobody can import this."""

    return nested


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: listen(unnamed), "<lambda> is a lambda or inside a function: nodes cannot import"),
        (lambda: listen(inner()), "inner.<locals>.nested is a lambda or inside a function"),
        (lambda: listen(not_async), "must be async: async def not_async(stream)"),  # type: ignore[arg-type]
        (lambda: listen(7), "handler must be an async function, its path"),  # type: ignore[arg-type]
        (
            lambda: listen("pkg.mod"),
            "handler must be an import path such as \"pkg.mod:attr\", got 'pkg.mod'",
        ),
        (lambda: listen("pkg:a b"), "got 'pkg:a b'"),
        (
            lambda: listen(asgi("pkg")),
            "app must be an import path such as \"pkg.mod:attr\", got 'pkg'",
        ),
        (lambda: asgi("a:b", lifespan="maybe"), "lifespan must be auto, on or off, got 'maybe'"),  # type: ignore[arg-type]
        (lambda: asgi("a:b", head_timeout=0), "head_timeout must be more than 0, got 0"),
        (lambda: asgi("a:b", ws_ping_interval=-1), "ws_ping_interval must be more than 0, got -1"),
        (lambda: asgi("a:b", limit_concurrency=0), "limit_concurrency must be more than 0, got 0"),
        (lambda: listen("a:b", nodes=""), "nodes must be the name of a group of nodes, got ''"),
        (lambda: listen("a:b", policy="round-robbin"), "did you mean 'round-robin'?"),  # type: ignore[arg-type]
        (lambda: listen("a:b", policy=RoundRobin), "policy must be a policy such as RoundRobin()"),  # type: ignore[arg-type]
        (lambda: listen("a:b", policy=3), "policy must be a policy such as RoundRobin(), got 3"),  # type: ignore[arg-type]
        (lambda: listen("a:b", backlog=0), "backlog must be a whole number from 1 up, got 0"),
        (lambda: listen("a:b", max_pending=True), "max_pending must be a whole number from 1 up"),
        (lambda: listen("a:b", max_connections=0), "max_connections must be a whole number"),
        (
            lambda: listen("a:b", certfile="/a\0b"),
            "certfile '/a\\x00b' cannot be read: embedded null",
        ),
        (
            lambda: listen("a:b", certfile="/\ud800"),
            "certfile '/\\ud800' cannot be read: 'utf-8' codec",
        ),
        (lambda: listen("a:b", max_peeking=1.5), "max_peeking must be a whole number"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_listener_is_one_clear_error(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadListener) as caught:
        make()
    assert message in str(caught.value)
    assert isinstance(caught.value, InvalidSpec)


@pytest.mark.parametrize(
    "address, message",
    [
        (8000, 'address must be text such as "127.0.0.1:8000", got 8000'),
        ("8000", 'address must be "HOST:PORT" or "unix:/path", got \'8000\''),
        ("127.0.0.1", "got '127.0.0.1'"),
        ("host:http", "got 'host:http'"),
        ("host:-1", "got 'host:-1'"),
        ("host:65536", "a port is 0 to 65535, got 65536 in address 'host:65536'"),
        (":8000", "address ':8000' needs a host: 127.0.0.1:8000 for this machine only"),
        ("::1:80", "an IPv6 host is written \"[::1]:8000\", got address '::1:80'"),
        ("[127.0.0.1]:80", "an IPv6 host is written"),
        ("http://x:80", "an IPv6 host is written"),
        ("a b:80", "got 'a b:80'"),
        ("[]:80", "got address '[]:80'"),
        ("unix:rel", "a Unix address is \"unix:/absolute/path\", got 'unix:rel'"),
        ("unix:/" + "x" * 120, "a Unix path has at most 107 bytes"),
        ("unix:/a\0b", "a Unix path cannot have a NUL, got 'unix:/a\\x00b'"),
        ("unix:/\ud800", "a Unix path must be text that the file system's encoding can say"),
    ],
)
def test_a_wrong_address_is_one_clear_error(address: str, message: str) -> None:
    with pytest.raises(BadListener) as caught:
        listen("a:b", address)
    assert message in str(caught.value)


def test_a_unix_path_has_any_bytes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.sock")
    with contextlib.closing(bind(listen("a:b", f"unix:{path}"))) as listening:
        assert where_of(listening) == Unix(str(path))


@pytest.mark.parametrize("host", ["\udcff", "a..b", "x" * 64])
def test_a_host_that_no_name_server_can_be_asked_for_is_named(host: str) -> None:
    with pytest.raises(ListenFailed) as caught:
        bind(listen("a:b", f"{host}:0"))
    assert f"no host is called {host!r}" in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_binding_to_port_0_gives_a_real_port_that_accepts(host: str) -> None:
    listening = bind(listen("a:b", f"{host}:0"))
    with contextlib.closing(listening):
        assert not listening.getblocking()
        assert not listening.get_inheritable()
        name = listening.getsockname()
        assert str(where_of(listening)).endswith(f":{name[1]}")
        socket.create_connection(name[:2]).close()


def test_the_wildcard_of_ipv6_takes_ipv4_clients_too() -> None:
    with contextlib.closing(bind(listen("a:b", "[::]:0"))) as listening:
        socket.create_connection(("127.0.0.1", listening.getsockname()[1])).close()


def test_an_abandoned_unix_path_is_taken_over_and_a_living_one_is_not(tmp_path: Path) -> None:
    spec = listen("a:b", f"unix:{tmp_path}/s")
    bind(spec).close()
    listening = bind(spec)
    assert str(where_of(listening)) == spec.address
    with pytest.raises(ListenFailed) as caught:
        bind(spec)
    assert caught.value.errno == errno.EADDRINUSE
    release(listening, spec)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ListenFailed, match="Address already in use"):
        bind(listen("a:b", f"unix:{tmp_path}/s"))
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.parametrize(
    "address, code",
    [
        ("192.0.2.1:0", errno.EADDRNOTAVAIL),
        ("unix:/nonexistent/folder/s", errno.ENOENT),
    ],
)
def test_what_the_system_refuses_is_told_with_the_address(address: str, code: int) -> None:
    with pytest.raises(ListenFailed) as caught:
        bind(listen("a:b", address))
    assert caught.value.errno == code
    assert str(caught.value).startswith(f"cannot listen on {address}: ")
    assert str(caught.value).endswith(f"({errno.errorcode[code]})")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "a" * 70])
def test_an_unknown_host_is_told_by_name(host: str) -> None:
    with pytest.raises(ListenFailed, match=re.escape(f"cannot listen on {host}:80: ")):
        bind(listen("a:b", f"{host}:80"))


@pytest.mark.parametrize(
    "error",
    [
        ListenFailed("a:1", errno.EACCES),
        HandlerNotFound("a:b", "why"),
        LifespanFailed("a:b", "startup", "why"),
        BadListener("no"),
    ],
    ids=repr,
)
def test_errors_survive_the_way_to_another_process(error: ActorsError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def nobody(_data: bytes, _peer: object) -> None:
    """A user's key."""


@pytest.mark.parametrize(
    "source", [cookie("sid"), query("room"), header("x-room"), path(), ip() | path()], ids=str
)
def test_a_key_inside_tls_is_refused(source: Key, certified: Certified) -> None:
    with pytest.raises(InvalidSpec, match=r"is encrypted by TLS, so the router cannot read it"):
        listen(asgi("a:b"), policy=Sticky(source), certfile=certified.certfile)


def test_a_server_name_needs_tls(certified: Certified) -> None:
    for source in (sni(), sni() | ip(), key(nobody) | ip()):
        assert listen("a:b", policy=Sticky(source), certfile=certified.certfile).tls
    with pytest.raises(InvalidSpec) as caught:
        listen("a:b", policy=Sticky(ip() | sni()))
    assert str(caught.value) == "the sticky key sni needs TLS, and 127.0.0.1:8000 has no certfile"


def test_only_an_application_under_sticky_sets_cookies() -> None:
    listen(asgi("a:b"), policy=Sticky(ip() | cookie("sid", set=True)))
    with pytest.raises(InvalidSpec) as caught:
        listen("a:b", policy=Sticky(cookie("sid", set=True)))
    assert str(caught.value) == (
        "the sticky key cookie:sid:set sets a cookie, which only asgi() under Sticky does, "
        "got 'a:b' under sticky=cookie:sid:set"
    )


def test_a_proxy_key_of_an_application_needs_the_header_taken_off() -> None:
    assert not listen("a:b", policy=Sticky(proxy())).proxy_protocol
    assert listen(asgi("a:b"), policy=Sticky(proxy()), proxy_protocol=True).proxy_protocol
    with pytest.raises(InvalidSpec, match=r"proxy under asgi\(\) needs proxy_protocol=True"):
        listen(asgi("a:b"), policy=Sticky(proxy()))
