"""The certificates of a system, and a user's own."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.hashes import SHA256

from actors.errors import InvalidSpec
from actors.machines.authority import Authority, Material
from tests.machines.conftest import authority, material


def shake(client: Material, server: Material, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A handshake in memory; raises what either end raises first."""
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.context(server=False).wrap_bio(here, there, server_hostname=name)
    theirs = server.context(server=True).wrap_bio(there, here, server_side=True)
    for _ in range(3):
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours, theirs


def test_two_runs_of_a_system_know_each_other_by_name() -> None:
    server = material("run 1")
    ours, theirs = shake(material("run 2"), server, server.server or "")
    assert ours.version() == "TLSv1.3"
    assert [_common_name(end) for end in (ours, theirs)] == ["run 1", "run 2"]


def _common_name(end: ssl.SSLObject) -> str:
    certificate: Any = end.getpeercert()
    return str(dict(part[0] for part in certificate["subject"])["commonName"])


def test_another_authority_is_refused_by_both_ends() -> None:
    stranger = Authority.new().issue("run 1")
    with pytest.raises(
        ssl.SSLCertVerificationError, match=r"self-signed certificate|unable to get"
    ):
        shake(stranger, material("run 1"), material("run 1").server or "")
    trusting = Material(ca=authority().ca, certificate=stranger.certificate, key=stranger.key)
    with pytest.raises(ssl.SSLError):
        shake(trusting, material("run 1"), material("run 1").server or "")


def test_a_server_with_another_name_is_refused() -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(material("run 2"), material("run 1"), "other.actors")


def test_a_certificate_signs_no_others() -> None:
    """A run that was broken into cannot make certificates of its own."""
    run = material("run 1")
    forged = Authority.new().issue("run 2")
    chained = Material(
        ca=authority().ca, certificate=forged.certificate + run.certificate, key=forged.key
    )
    with pytest.raises(ssl.SSLError):
        shake(chained, run, run.server or "")


def test_material_goes_through_json_and_hides_its_key() -> None:
    run = material("run 1")
    assert Material.from_plain(json.loads(json.dumps(run.to_plain()))) == run
    assert "PRIVATE" not in repr(run)
    assert "PRIVATE" in run.key


def test_a_user_may_bring_their_own_files(tmp_path: Path) -> None:
    run = material("run 1")
    paths = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    for path, text in zip(paths, (run.ca, run.certificate, run.key), strict=True):
        path.write_text(text)
    paths[-1].chmod(0o640)
    own = Material.from_files(*paths)
    assert (own.ca, own.certificate, own.key, own.server) == (
        run.ca,
        run.certificate,
        run.key,
        None,
    )
    shake(own, own, run.server or "")


@pytest.mark.parametrize(
    "ca, certificate, key, why",
    [
        (
            "{missing}",
            "{certificate}",
            "{key}",
            r"tls: ca='.*nowhere' cannot be read: .*No such file",
        ),
        ("{key}", "{certificate}", "{key}", "tls: ca='.*key.pem' holds no certificate in PEM"),
        ("{ca}", "{certificate}", "{other}", "key='.*other.pem' is not the key of certificate='"),
        ("{ca}", "{key}", "{key}", "tls: certificate='.*key.pem' holds no certificate in PEM"),
        ("{ca}", "{certificate}", "{binary}", "key='.*binary.pem' holds no usable private key"),
        ("{ca}", "{certificate}", "{locked}", "key='.*locked.pem' is encrypted: .* passphrase"),
        ("{pipe}", "{certificate}", "{key}", "ca='.*pipe' cannot be read: it is no regular file"),
        ("{ca}", "{pipe}", "{key}", "certificate='.*pipe' cannot be read: it is no regular file"),
        ("{ca}", "{certificate}", "{pipe}", "key='.*pipe' cannot be read: it is no regular file"),
        ("{folder}", "{certificate}", "{key}", "ca='.*' cannot be read: Is a directory"),
        ("{big}", "{certificate}", "{key}", "ca='.*big.pem' has more than 1048576 bytes"),
        ("{ca}", "{certificate}", "{open}", "tls: key='.*open.pem' has mode 0644, which lets"),
        ("{foreign}", "{certificate}", "{key}", "certificate='.*' is not good .*ca='.*'.*: unable"),
        ("{ca}", "{expired}", "{key}", "certificate='.*expired.pem' is not good .* has expired"),
    ],
)
def test_files_that_do_not_fit_are_told(
    tmp_path: Path, ca: str, certificate: str, key: str, why: str
) -> None:
    run, other = material("run 1"), material("run 2")
    texts = {
        "ca": run.ca,
        "certificate": run.certificate,
        "key": run.key,
        "other": other.key,
        "locked": _locked(run.key),
        "open": run.key,
        "big": run.ca + " " * (1 << 20),
        "binary": "\ue000" * 10,
        "foreign": Authority.new().ca,
        "expired": _expired(run.certificate, authority()),
    }
    names = {"missing": tmp_path / "nowhere", "pipe": tmp_path / "pipe", "folder": tmp_path}
    os.mkfifo(names["pipe"], 0o600)
    for name, text in texts.items():
        names[name] = tmp_path / f"{name}.pem"
        names[name].write_text(text)
        names[name].chmod(0o644 if name == "open" else 0o600)
    with pytest.raises(InvalidSpec, match=why):
        Material.from_files(*(text.format(**names) for text in (ca, certificate, key)))


def test_files_in_pem_may_have_comments_in_any_letters(tmp_path: Path) -> None:
    run = material("run 1")
    paths = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    for path, text in zip(paths, (run.ca, run.certificate, run.key), strict=True):
        path.write_text(f"caf\u00e9\n{text}", "latin-1")
        path.chmod(0o600)
    shake(Material.from_files(*paths), run, run.server or "")


def _expired(certificate: str, signer: Any) -> str:
    """Return the same certificate with an end that has come."""
    old = x509.load_pem_x509_certificate(certificate.encode())
    builder = x509.CertificateBuilder(
        issuer_name=old.issuer,
        subject_name=old.subject,
        public_key=old.public_key(),
        serial_number=1,
        not_valid_before=old.not_valid_before_utc,
        not_valid_after=datetime(2001, 1, 1, tzinfo=UTC),
        extensions=list(old.extensions),
    )
    made = builder.sign(signer._key, SHA256())
    return made.public_bytes(forms.Encoding.PEM).decode()


def _locked(key: str) -> str:
    loaded = forms.load_pem_private_key(key.encode(), None)
    locked = loaded.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"open")
    )
    return locked.decode()


def test_a_certificate_is_for_a_name() -> None:
    with pytest.raises(ValueError, match="a certificate is for a name, got ''"):
        authority().issue("")


def test_of_a_long_name_a_certificate_has_the_end_which_tells_runs_apart() -> None:
    made = x509.load_pem_x509_certificate(
        authority().issue("x" * 80 + "/0#12").certificate.encode()
    )
    (name,) = made.subject
    assert name.value == "x" * 59 + "/0#12"


def test_without_the_library_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "cryptography.py").write_text("raise ModuleNotFoundError('no')")
    code = "import actors.machines.material, actors.machines.authority"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "pip install 'actors-framework[machines]'" in done.stderr
