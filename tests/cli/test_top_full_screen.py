"""The full-screen `actors top` on a real terminal, with a real system: each key does what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.running_command import Running, error_of, run_here, running
from tests.cli.terminal import Terminal, terminal

FAST = ("--interval", "0.2")


@pytest.fixture(scope="module")
def shop() -> Iterator[Running]:
    """A system with one of everything."""
    folder = Path(tempfile.mkdtemp(prefix="actors-cli-"))
    with running(folder, "run", "screen_topology:topology") as started:
        yield started
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def runs(shop: Running) -> Iterator[list[Terminal]]:
    """The runs of the program that tests share."""
    made: list[Terminal] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
def kept(shop: Running, runs: list[Terminal]) -> Iterator[Terminal]:
    """One run for all tests that leave it at the page of the actors; another one behind those that do not."""
    if not runs:
        runs.append(Terminal(shop.runtime, ("top", *FAST), 100, 30))
    runs[0].see("MAILBOX▼", "holder")
    yield runs[0]
    if "MAILBOX▼" not in runs[0].rows[2]:
        runs.pop().close()


def facts(shop: Running, part: str) -> dict[str, dict[str, Any]]:
    found = json.loads(run_here(shop.runtime, "ps", "--json")[1])[part]
    return {one["name"]: one for one in found}


def selected(screen: Terminal, name: str) -> None:
    screen.until(lambda: screen.reversed_row().lstrip("▸▾ ").startswith(name), f"{name} selected")


# -- pages and rows ------------------------------------------------------------------------------------


def test_tab_goes_through_the_pages_and_back(kept: Terminal) -> None:
    kept.see("ACTOR ", "MAILBOX▼", "CLASS")
    for shown in (
        ("NODE▲", "web/0", "READY", "LAG"),
        ("LISTENER", "door", "127.0.0.1:", "REQUESTS/S"),
        ("POOL▲", "work", "1/1", "QUEUED"),
        ("PROGRAM▲", "sleeper/0", "READY", "HEALTH"),
        ("HANDLER", "CPU-TIME▼"),
    ):
        kept.press("tab")
        kept.see(*shown)
    kept.press("shift+tab")
    kept.see("PROGRAM▲")
    kept.press("tab", "tab")
    kept.see("ACTOR ", "MAILBOX▼")


def test_arrows_and_letters_move_the_selection(kept: Terminal) -> None:
    kept.press("N")
    kept.see("ACTOR▲")
    selected(kept, "crowd")
    for key, name in (
        *(("j", "deep"), ("down", "holder"), ("k", "deep"), ("up", "crowd")),
        *(("G", "日本語-ö"), ("home", "crowd"), ("end", "日本語-ö"), ("g", "crowd")),
    ):
        kept.press(key)
        selected(kept, name)
    kept.press("pagedown")
    first = kept.until(lambda: re.match(r"member-\d+", kept.reversed_row()))
    kept.press(" ")
    kept.until(lambda: not kept.reversed_row().startswith(("crowd", first[0])), "a page further")
    kept.press("pageup", "pageup")
    selected(kept, "crowd")
    kept.press("M")
    kept.see("MAILBOX▼")


def test_columns_are_chosen_for_the_order_by_letter_and_by_step(kept: Terminal) -> None:
    for key, title in (
        *(("C", "CPU▼"), ("R", "MESSAGES/S▼"), ("E", "RESTARTS▼"), ("H", "HANDLING▼")),
        *(("B", "MAILBOX▼"), ("N", "ACTOR▲"), (">", "CLASS▲"), ("right", "NODE▲")),
        *(("<", "CLASS▲"), ("left", "ACTOR▲"), ("M", "MAILBOX▼")),
    ):
        kept.press(key)
        kept.see(title)
    kept.press("g")
    selected(kept, "holder")
    kept.press("tab", "H")
    kept.see("Nodes cannot be sorted by handling")
    kept.press("C")
    kept.see("CPU▼", "sorted by cpu")
    kept.press("N", "shift+tab")
    kept.see("MAILBOX▼")


def test_what_is_typed_behind_a_slash_is_looked_for_in_all_actors(kept: Terminal) -> None:
    kept.press("/")
    kept.see("Enter keeps it")
    kept.press(*"MEMBER-00039")
    kept.gone("holder")
    kept.see("member-00039")
    kept.press("enter")
    kept.see("  /MEMBER-00039", "Esc shows all rows")
    kept.press("/", *"xy\x7f")
    kept.see("/MEMBER-00039x▏ Enter keeps it")
    kept.gone("member-00039")
    kept.unfilter()


def test_names_of_any_kind_are_in_their_columns_and_harmless(kept: Terminal) -> None:
    kept.press("/", *"ö", "enter")
    row = kept.until(lambda: next((one for one in kept.rows if one.startswith("日本語-ö")), ""))
    at = kept.rows[2].index("CLASS")
    # Three of its signs are two cells wide; the emulator keeps an empty cell behind each.
    line = [kept.screen.buffer[kept.rows.index(row)][x].data for x in range(kept.screen.columns)]
    assert "".join(line[at : at + 6]) == "Member"
    kept.unfilter()
    kept.press("/", *"evil", "enter")
    kept.see("zz\\x1b[2Jevil")
    kept.unfilter()


def test_the_tree_opens_and_closes(kept: Terminal) -> None:
    kept.press("t")
    kept.see(" Tree ", "▸ inner", "LAST-EXIT", "sleeper")
    kept.press("N")
    kept.see("the tree cannot be sorted by name")
    kept.press("g")
    for _ in range(30):
        if "inner" in kept.reversed_row():
            break
        kept.press("j")
        kept.until_changed(kept.reversed_row())
    kept.press("enter")
    kept.see("▾ inner", "  deep", "Member on web/0")
    kept.press("enter")
    kept.see("▸ inner")
    kept.gone("  deep")
    kept.press("t")
    kept.see("MAILBOX▼", "holder")


# -- details -------------------------------------------------------------------------------------------


def test_an_actor_shows_what_waits_with_age_and_sender_and_its_stack(
    kept: Terminal, shop: Running
) -> None:
    kept.press("g")
    selected(kept, "holder")
    kept.press("enter")
    kept.see("actor holder", "state      ready", "restarts   0", "handling   hold", "1 of note")
    assert run_here(shop.runtime, "ask", "holder", "note", "--timeout", "0.3")[0] == 1
    assert "queued     1 message" in kept.text
    kept.press("s")
    kept.see("stacks of web/0", "thread MainThread")
    kept.resize(100, 300)  # all tasks have room, in whatever order they come
    kept.see("actor holder", "in hold")
    kept.resize(100, 30)
    kept.press("escape")
    kept.see("actor holder")
    kept.press("escape")
    kept.see("MAILBOX▼")


def test_messages_that_come_meanwhile_have_an_age_and_handlers_their_times(
    kept: Terminal, shop: Running
) -> None:
    kept.press("/", *"deep", "enter")
    kept.see("deep")
    kept.gone("holder")
    kept.press("enter")
    kept.see("actor deep", "class      screen_topology:Member")
    for _ in range(5):
        assert run_here(shop.runtime, "ask", "deep", "hello")[0] == 0
    kept.see("handlers of its class on its node", "Member.hello")
    kept.press("q")
    kept.see("MAILBOX▼")
    kept.unfilter()


def test_a_node_and_a_program_have_details_too(kept: Terminal) -> None:
    kept.press("tab")
    kept.see("NODE▲")
    kept.press("g")
    selected(kept, "web/0")
    kept.press("enter")
    kept.see("node web/0", "booted in", "the first of its actors", "holder")
    kept.press("q")
    kept.see("NODE▲")
    kept.press("s")
    kept.see("stacks of web/0")
    kept.press("q", "tab", "tab", "tab")
    kept.see("PROGRAM▲")
    kept.press("enter")
    kept.see("program sleeper/0", "port ", "health")
    kept.press("q", "s")
    kept.see("stacks are those of nodes")
    kept.press("tab", "tab")
    kept.see("MAILBOX▼")


def test_help_tells_every_key(kept: Terminal) -> None:
    kept.press("?")
    kept.see("keys", "supervision tree on or off", "stop an actor, a node or a program")
    kept.press("end")
    kept.see("In details")
    kept.press("escape")
    kept.see("MAILBOX▼")


# -- events and changes --------------------------------------------------------------------------------


def test_events_are_shown_as_they_come(kept: Terminal, shop: Running) -> None:
    kept.press("e")
    assert run_here(shop.runtime, "restart", "deep")[0] == 0
    kept.see("child_started", "deep")
    kept.press("e")
    kept.gone("child_started")


def test_an_actor_is_restarted_and_stopped_only_when_it_is_confirmed(
    kept: Terminal, shop: Running
) -> None:
    kept.press("/", *"日本", "enter")
    kept.gone("holder")
    kept.press("r")
    kept.see("Restart actor 日本語-ö?", "y yes")
    kept.press("n")
    kept.see("restart 日本語-ö: not done")
    kept.press("r")
    kept.see("Restart actor")
    kept.press("y")
    kept.see("restart 日本語-ö: done")
    kept.until(lambda: re.search(r"日本語-ö .* 1$", kept.text, re.MULTILINE), "one restart")
    kept.press("x")
    kept.see("Stop actor 日本語-ö? It is not restarted.")
    kept.press("enter")  # is no
    kept.see("stop 日本語-ö: not done")
    kept.press("x")
    kept.see("Stop actor")
    kept.press("y")
    kept.see("stop 日本語-ö: done")
    kept.unfilter()


def test_groups_of_nodes_are_scaled_and_reloaded(kept: Terminal, shop: Running) -> None:
    kept.press("l")
    kept.see("reload is for nodes and programs: this is a actor")
    kept.press("tab", "g")
    selected(kept, "web/0")
    pid = facts(shop, "nodes")["web/0"]["pid"]
    kept.press("-")
    kept.see("web has one node: stop it with x")
    kept.press("+")
    kept.see("Scale web from 1 to 2 nodes?")
    kept.press("y")
    kept.see("scale web to 2: done", "web/1")
    kept.press("-")
    kept.see("Scale web from 2 to 1 nodes?")
    kept.press("y")
    kept.see("scale web to 1: done")
    kept.gone("web/1")
    kept.press("l")
    kept.see("Replace the nodes of web one after another?")
    kept.press("y")
    kept.see("reload web: done")
    assert facts(shop, "nodes")["web/0"]["pid"] != pid
    kept.press("shift+tab")
    kept.see("MAILBOX▼", "holder")


def test_programs_are_restarted_scaled_and_stopped(kept: Terminal, shop: Running) -> None:
    kept.press("shift+tab", "shift+tab")
    kept.see("PROGRAM▲", "sleeper/0")
    pid = facts(shop, "programs")["sleeper/0"]["pid"]
    kept.press("r", "y")
    kept.see("restart sleeper/0: done")
    assert facts(shop, "programs")["sleeper/0"]["pid"] != pid
    kept.press("+", "y")
    kept.see("scale sleeper to 2: done", "sleeper/1")
    kept.press("j")
    selected(kept, "sleeper/1")
    kept.press("x", "y")
    kept.see("stop sleeper/1: done")
    kept.gone("sleeper/1 ")
    assert set(facts(shop, "programs")) == {"sleeper/0"}
    kept.press("tab", "tab")
    kept.see("MAILBOX▼")


# -- the terminal --------------------------------------------------------------------------------------


def fills(screen: Terminal, columns: int, lines: int) -> bool:
    titles = screen.rows[2]
    return (
        bool(screen.rows[lines - 1])
        and titles.startswith("ACTOR")
        and "MAILBOX▼" in titles
        and (columns < 60) == ("1/6, Tab" in screen.text)
    )


def test_another_size_is_filled_at_once_and_small_ones_show_what_matters(kept: Terminal) -> None:
    for columns, lines in ((80, 24), (40, 10), (120, 40), (100, 30)):
        kept.resize(columns, lines)
        kept.until(partial(fills, kept, columns, lines), f"{columns} x {lines}")
        kept.see("holder")  # which has the fullest mailbox, once its row is drawn


def test_it_starts_on_a_small_terminal(shop: Running) -> None:
    with terminal(shop.runtime, *FAST, columns=40, lines=10) as screen:
        screen.see("holder", "MAILBOX▼", " Actors  1/6, Tab")
        screen.press("?")
        screen.see("keys", "next row")
        screen.press("q", "q")
        assert screen.ended() == 0


def colours(output: bytes) -> set[bytes]:
    """Return the numbers in the sequences of styles that mean a colour other than the terminal's own."""
    numbers = {
        one for found in re.findall(rb"\x1b\[([0-9;]*)m", output) for one in found.split(b";")
    }
    return {one for one in numbers if re.fullmatch(rb"3[0-8]|4[0-8]|9[0-7]|10[0-7]", one)}


def test_without_colour_there_is_none_and_else_there_is(shop: Running, kept: Terminal) -> None:
    assert colours(kept.output)
    with terminal(shop.runtime, *FAST, env={"NO_COLOR": "1"}) as screen:
        screen.see("holder")
        screen.press("tab", "q")
        assert screen.ended() == 0
        assert colours(screen.output) == set()


def test_it_ends_also_if_its_terminal_goes_away_without_a_word(shop: Running) -> None:
    with terminal(shop.runtime, *FAST, controls=False) as screen:
        screen.see("holder")
        screen.hang_up()
        assert screen.process.wait(25) == 129


def test_a_signal_ends_it_also_if_its_terminal_went_away_without_a_word(shop: Running) -> None:
    with terminal(shop.runtime, *FAST, controls=False) as screen:
        screen.see("holder")
        screen.hang_up()  # of another session's terminal nobody tells it by SIGHUP
        screen.process.send_signal(signal.SIGTERM)
        assert screen.process.wait(25) != 0


@pytest.mark.parametrize(
    "key,number,code",
    [
        ("q", None, 0),
        ("ctrl+c", None, 130),
        ("", signal.SIGTERM, 143),
        ("", signal.SIGINT, 130),
        ("", signal.SIGHUP, 129),
    ],
)
def test_the_terminal_is_restored_however_it_ends(
    shop: Running, key: str, number: signal.Signals | None, code: int
) -> None:
    with terminal(shop.runtime, *FAST) as screen:
        screen.see("holder")
        screen.press(*([key] if key else []))
        assert screen.ended(number) == code
        assert screen.is_restored()


def test_the_terminal_is_restored_after_a_crash(shop: Running, tmp_path: Path) -> None:
    (tmp_path / "usercustomize.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text(
        "import actors.cli.top.screen.lists as lists\n"
        "def broken(kind, facts): raise LookupError('a mistake of ours')\n"
        "lists.tone_of = broken\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    with terminal(shop.runtime, *FAST, env={"PYTHONPATH": path}) as screen:
        assert screen.ended() == 1
        assert screen.is_restored()
        assert "a mistake of ours" in screen.output.decode()


def test_it_ends_with_its_terminal(shop: Running) -> None:
    with terminal(shop.runtime, *FAST) as screen:
        screen.see("holder")
        screen.hang_up()
        assert screen.process.wait(25) != 0


def test_a_system_that_is_gone_is_said_and_dialed_again(runtime: Path) -> None:
    with (
        running(runtime, "run", "topologies:small") as first,
        terminal(runtime, *FAST) as screen,
    ):
        screen.see(f"system {first.pid}", "1 node")
        os.kill(first.pid, signal.SIGKILL)
        screen.see(f"system {first.pid} LOST, dialing again")
        with running(runtime, "run", "topologies:small") as second:
            screen.see(f"system {second.pid}  1 node")
        screen.see("LOST")
        screen.press("q")
        assert screen.ended() == 0
        assert screen.is_restored()


@pytest.mark.within(120)
def test_of_many_actors_those_are_fetched_that_are_seen(runtime: Path) -> None:
    with (
        running(runtime, "run", "screen_topology:topology", env={"CROWD": "10000"}) as system,
        terminal(runtime, *FAST) as screen,
    ):
        screen.see("10006 actors", "holder")
        programs = [psutil.Process(pid) for pid in (screen.process.pid, system.pid)]
        before = [program.memory_info().rss for program in programs]
        screen.press("N", "end")
        # The system tells the first thousand of an order; a filter finds the others.
        screen.until(lambda: screen.reversed_row().startswith("member-00996"), "the last row")
        screen.press("/", *"09999", "enter")
        screen.see("member-09999")
        screen.unfilter()
        for _ in range(20):  # more looks than one, at other parts of the list
            screen.press("home")
            screen.until(lambda: not screen.reversed_row().startswith("member-00996"), "the first")
            screen.press("end")
            screen.until(lambda: screen.reversed_row().startswith("member-00996"), "the last row")
        after = [program.memory_info().rss for program in programs]
        assert all(now - then < 20 << 20 for then, now in zip(before, after, strict=True))
        screen.press("q")
        assert screen.ended() == 0


# -- which form ----------------------------------------------------------------------------------------


def test_plain_text_is_printed_on_a_terminal_where_that_is_asked_for(shop: Running) -> None:
    with terminal(shop.runtime, "--plain", *FAST) as screen:
        screen.see("holder", "MESSAGES/S")
        assert b"\x1b[?1049h" not in screen.output
        assert screen.ended(signal.SIGINT) == 130


def test_the_full_screen_form_is_refused_in_one_sentence_only_where_it_was_asked_for(
    shop: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run_here(shop.runtime, "top", "--full-screen")
    why = "--full-screen: it needs a terminal"
    assert (code, out, error_of(err, "actors top").strip()) == (2, "", why)
    with terminal(shop.runtime, "--full-screen", env={"TERM": "dumb"}) as screen:
        assert screen.ended() == 2
    code, _, err = run_here(shop.runtime, "top", "--full-screen", "--once")
    assert code == 2
    assert "not allowed with argument" in err


@pytest.mark.parametrize("asked", [("--full-screen",), ()])
def test_without_textual_it_is_text_or_says_how_to_get_it(
    shop: Running, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'textual' else found(name, *more)\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    with terminal(shop.runtime, *FAST, *asked, env={"PYTHONPATH": path}) as screen:
        if asked:
            assert screen.ended() == 2
            assert "pip install 'actors-framework[tui]'" in screen.text.replace("\n", "")
        else:
            screen.see("holder", "HANDLING")
            assert b"\x1b[?1049h" not in screen.output
            assert screen.ended(signal.SIGINT) == 130
