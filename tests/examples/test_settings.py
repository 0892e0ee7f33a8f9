"""What the chat takes from the environment."""

from pathlib import Path

import pytest

import actors
from examples.chat import topology
from examples.chat._settings import database, messages_per_second, port


@pytest.mark.parametrize("value,expected", [(None, 8000), ("0", 0), ("65535", 65535)])
def test_the_port_is_8000_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: int
) -> None:
    monkeypatch.delenv("CHAT_PORT", raising=False)
    if value is not None:
        monkeypatch.setenv("CHAT_PORT", value)
    assert port() == expected


@pytest.mark.parametrize("value", ["", "-1", "65536", "80a", "²"])
def test_a_bad_port_is_refused_by_its_value(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CHAT_PORT", value)
    with pytest.raises(ValueError, match=r"^CHAT_PORT must be a number from 0 to 65535, got '"):
        topology()


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "fast"])
def test_a_bad_pace_is_refused_by_its_value(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.delenv("CHAT_PACE", raising=False)
    assert messages_per_second() == 10
    monkeypatch.setenv("CHAT_PACE", value)
    with pytest.raises(ValueError, match=r"^CHAT_PACE must be a whole number of 1 or more, got '"):
        topology()


def test_the_database_is_an_absolute_path_in_a_folder_that_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CHAT_DB", raising=False)
    assert database().endswith("/examples/chat/chat.sqlite3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAT_DB", "mine.db")
    assert database() == str(tmp_path / "mine.db")
    monkeypatch.setenv("CHAT_DB", "nowhere/mine.db")
    with pytest.raises(ValueError, match=r"^CHAT_DB must be a file .* got 'nowhere/mine.db'$"):
        topology()


def test_rooms_have_a_node_of_their_own_and_stick_to_a_web_node() -> None:
    described = topology()
    assert [(group.name, group.count) for group in described.nodes] == [("rooms", 1), ("web", 2)]
    (listener,) = described.listeners
    assert listener.policy == actors.Sticky(actors.keys.query("room") | actors.keys.cookie("room"))
