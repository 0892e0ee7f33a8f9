"""Wrong options of `actors join`: each is one message that names the value, and nobody is dialled."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.cli import main


@pytest.mark.parametrize(
    "options, said",
    [
        (["--name", ""], "--name must be 1 to 200 letters, got ''"),
        (["--name", "a\nb"], r"--name must be 1 to 200 letters, got 'a\nb'"),
        (["--name", "x" * 201], "--name must be 1 to 200 letters, got 'xxx"),
        (["--name", "\udcff"], r"--name must be 1 to 200 letters, got '\udcff'"),
        (["--address", "a..b"], "--address must be an address of this machine, got 'a..b': "),
        (["--label", "a=\n"], r"a label has texts of 1 to 200 letters, got 'a'='\n'"),
    ],
)
def test_a_wrong_option_is_a_usage_mistake_that_names_the_value(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("a secret of enough bytes")
    secret.chmod(0o600)
    assert main(["join", "127.0.0.1:1", "--secret-file", str(secret), *options]) == 2
    assert said in capsys.readouterr().err
