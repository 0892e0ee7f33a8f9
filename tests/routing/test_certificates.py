"""Certificates as data: files checked at the door, and renewed while they are in use."""

import os
import ssl
from pathlib import Path
from typing import Any

import pytest

from actors._base.errors import InvalidSpec
from actors.routing import Listener, TlsReloaded, TlsReloadFailed, listen
from actors.routing.listen.tls import Certificate, Tls
from tests.routing.certificates import Certified


def spec(certified: Certified) -> Listener:
    return listen("a:b", **certified.files)


class Clock:
    """A clock that a test moves."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def certificate(certified: Certified, clock: Clock, facts: list[object]) -> Certificate:
    tls = Tls(certfile=str(certified.cert), keyfile=str(certified.key))
    return Certificate(tls, (), listener="front", report=facts.append, now=clock)


def test_files_are_looked_at_once_a_second_at_most(certified: Certified) -> None:
    clock, facts = Clock(), list[object]()
    made = certificate(certified, clock, facts)
    first = made.context()
    certified.renew()
    clock.seconds += 0.9
    assert made.context() is first
    clock.seconds += 0.1
    assert made.context() is not first
    assert facts == [TlsReloaded("front", str(certified.cert))]


def test_a_pair_that_does_not_fit_leaves_the_old_one_in_use_and_is_told_once(
    certified: Certified,
) -> None:
    clock, facts = Clock(), list[object]()
    made = certificate(certified, clock, facts)
    first = made.context()
    certified.spoil()
    for _ in range(5):
        clock.seconds += 1
        assert made.context() is first
    (fact,) = facts
    assert isinstance(fact, TlsReloadFailed)
    assert str(fact.error) == (
        f"keyfile {str(certified.key)!r} is not the key of certfile {str(certified.cert)!r}"
    )
    certified.renew()
    clock.seconds += 1
    assert made.context() is not first
    assert facts[1:] == [TlsReloaded("front", str(certified.cert))]


def test_files_that_are_replaced_one_after_the_other_are_no_failure(certified: Certified) -> None:
    clock, facts = Clock(), list[object]()
    made = certificate(certified, clock, facts)
    first = made.context()
    certified.cert.unlink()
    clock.seconds += 1
    assert made.context() is first
    certified.renew()
    clock.seconds += 1
    assert made.context() is not first
    assert facts == [TlsReloaded("front", str(certified.cert))]


ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIBHDBXBgkqhkiG\n-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "changed, content, message",
    [
        ("cert", None, "certfile {cert!r} cannot be read: No such file or directory"),
        ("key", None, "keyfile {key!r} cannot be read: No such file or directory"),
        ("cert", b"nonsense", "certfile {cert!r} holds no certificate in PEM form"),
        ("key", b"nonsense", "keyfile {key!r} holds no usable private key in PEM form"),
        (
            "key",
            ENCRYPTED,
            (
                "keyfile {key!r} holds no usable private key in PEM form: "
                "is it encrypted, and the password right?"
            ),
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named_at_the_door(
    certified: Certified, changed: str, content: bytes | None, message: str
) -> None:
    file: Path = getattr(certified, changed)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(InvalidSpec) as caught:
        spec(certified)
    assert str(caught.value) == message.format(cert=str(certified.cert), key=str(certified.key))


@pytest.mark.parametrize("name", ["certfile", "keyfile", "client_ca"])
def test_a_named_pipe_is_refused_at_the_door_and_nobody_waits_for_who_writes(
    certified: Certified, tmp_path: Path, name: str
) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    with pytest.raises(InvalidSpec) as caught:
        listen("a:b", **{**certified.files, name: pipe})  # type: ignore[arg-type]
    assert str(caught.value) == f"{name} {pipe!r} cannot be read: it is no regular file"


def test_a_certificate_that_a_named_pipe_replaces_is_one_that_cannot_be_used(
    certified: Certified,
) -> None:
    clock, facts = Clock(), list[object]()
    made = certificate(certified, clock, facts)
    first = made.context()
    certified.cert.unlink()
    os.mkfifo(certified.cert)
    for _ in range(2):
        clock.seconds += 1
        assert made.context() is first
    (failed,) = facts
    assert isinstance(failed, TlsReloadFailed)
    assert "no regular file" in str(failed.error)


@pytest.mark.parametrize(
    "option, value, why",
    [
        ("client_ca", 5, "client_ca must be the path of a file, got 5"),
        ("ciphers", 5, "ciphers must be a text, got 5"),
        ("keyfile_password", 5, "keyfile_password must be a text, got int"),
    ],
)
def test_an_option_of_tls_that_is_no_text_is_refused_at_the_door(
    certified: Certified, option: str, value: Any, why: str
) -> None:
    with pytest.raises(InvalidSpec, match=why):
        listen("a:b", **certified.files, **{option: value})


def test_a_key_of_another_certificate_is_refused_at_the_door(certified: Certified) -> None:
    certified.spoil()
    with pytest.raises(InvalidSpec, match="is not the key of certfile"):
        spec(certified)


def test_a_key_needs_a_certificate_and_a_timeout_is_more_than_nothing(
    certified: Certified,
) -> None:
    with pytest.raises(InvalidSpec, match="a keyfile needs a certfile as well"):
        listen("a:b", keyfile=str(certified.key))
    with pytest.raises(InvalidSpec, match="certfile must be the path of a file, got 7"):
        listen("a:b", certfile=7)  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match="handshake_timeout must be more than 0, got 0"):
        listen("a:b", handshake_timeout=0, **certified.files)


def test_one_file_may_hold_both_and_paths_do_not_depend_on_the_folder(
    certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Path(certified.certfile)
    monkeypatch.chdir(both.parent)
    made = listen("a:b", certfile=both.name)
    assert made.tls == Tls(certfile=str(both), keyfile=str(both))


def test_an_encrypted_key_takes_its_password_and_keeps_it_to_itself(certified: Certified) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - comes with trustme

    key = serialization.load_pem_private_key(certified.key.read_bytes(), None)
    certified.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    made = listen("a:b", keyfile_password="sesame", **certified.files)  # noqa: S106 - not a secret
    assert "sesame" not in repr(made)
    with pytest.raises(InvalidSpec, match="is it encrypted, and the password right"):
        listen("a:b", keyfile_password="wrong", **certified.files)  # noqa: S106 - not a secret
    with pytest.raises(InvalidSpec, match="is it encrypted, and the password right"):
        spec(certified)


def test_tls_1_1_is_too_old(certified: Certified) -> None:
    context = Tls(certfile=str(certified.cert), keyfile=str(certified.key)).context()
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
