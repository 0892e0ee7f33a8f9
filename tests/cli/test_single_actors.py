"""Commands for single actors: `ask`, `state`, `start`; `stop`, `restart` and `kill` by a name or a pattern."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running_command import HERE, Running, command, environment, run_command, running


@pytest.fixture(scope="module")
def shop() -> Iterator[Running]:
    folder = Path(tempfile.mkdtemp(prefix="actors-cli-"))
    with running(folder, "run", "asked:topology") as started:
        yield started
    shutil.rmtree(folder)


def run(shop: Running, *words: str) -> tuple[int, str, str]:
    done = run_command(shop.runtime, *words)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words, printed",
    [
        (["crew", "add", "3"], "3\n"),
        (["room-1", "add", "by=5"], "5\n"),
        (["counter", "upto", "3"], "0\n1\n2\n"),
        (["counter", "fail"], ""),
    ],
)
def test_a_reply_is_printed_and_a_stream_one_line_per_item(
    shop: Running, words: list[str], printed: str
) -> None:
    code, out, err = run(shop, "ask", *words)
    assert out == printed
    assert (code, err) == (
        (0, "") if printed else (1, "actors ask: error: ValueError: not today\n")
    )


def test_the_node_makes_the_arguments_and_renders_the_reply(shop: Running) -> None:
    items = '[{"name": "ink", "price": 2, "colour": "BLUE"}, {"name": "nib"}]'
    code, out, _ = run(shop, "ask", "counter", "buy", items, 'note="both"')
    assert code == 0
    assert json.loads(out) == {
        "items": [
            {"name": "ink", "price": 2.0, "colour": "b"},
            {"name": "nib", "price": 1.0, "colour": "r"},
        ],
        "note": "both",
        "total": 3.0,
    }


@pytest.mark.parametrize(
    "words, error",
    [
        (
            ["counter", "ad"],
            "Counter has no message 'ad'; did you mean 'add'?; the messages are add, buy,",
        ),
        (["counter", "_x"], "Counter._x is private; the messages are add,"),
        (["counter", "on_start"], "Counter.on_start is a hook of Actor; the messages are add,"),
        (["counter", "plain"], "Counter.plain is no message; the messages are add,"),
        (["count", "add"], "there is no actor and no pool 'count'; did you mean 'counter'?"),
        (
            ["counter", "add", "five"],
            "argument 'by': 'five' is no JSON; a text is written in double quotes",
        ),
        (["counter", "add", '"5"'], "argument 'by': must be a whole number, got \"5\""),
        (["counter", "add", "1", "2"], "add(by: int = 1): too many positional arguments"),
        (
            ["counter", "add", "of=1"],
            "add(by: int = 1): got an unexpected keyword argument 'of'",
        ),
        (
            ["counter", "buy", '[{"name": "a"}, {"name": 1}]'],
            "argument 'items'[1].name: must be text, got 1",
        ),
        (
            ["counter", "buy", '[{"nam": "a"}]'],
            "argument 'items'[0]: has no field 'nam'; it has name, price",
        ),
        (
            ["counter", "buy", '[{"name": "a", "colour": 1}]'],
            "argument 'items'[0].colour: must be one of RED",
        ),
        (["counter", "add", "by=1", "2"], "'2' has no name, and follows arguments with one"),
    ],
)
def test_what_cannot_be_asked_is_one_error(shop: Running, words: list[str], error: str) -> None:
    code, out, err = run(shop, "ask", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"actors ask: error: {error}"), err
    assert err.count("\n") == 1


def test_a_reply_that_json_cannot_say_is_readable_text(shop: Running) -> None:
    code, out, _ = run(shop, "ask", "counter", "odd")
    assert code == 0
    assert out == "(1+2j)\n"


def test_an_actor_that_is_busy_is_waited_for_as_long_as_is_said(shop: Running) -> None:
    code, _, err = run(shop, "ask", "room-0", "sleep", "30", "--timeout", "0.5")
    assert (code, "no reply to sleep in 0.5 s" in err) == (1, True)


def test_the_state_of_an_actor_has_no_values_unless_its_class_says_so(shop: Running) -> None:
    code, out, _ = run(shop, "state", "counter")
    assert code == 0
    assert out.splitlines()[0] == "counter  asked:Counter on a/0"
    assert "password  str of 6" in out
    assert "secret" not in out
    code, out, _ = run(shop, "state", "ledger", "--json")
    assert json.loads(out)["state"] == {"entries": 3}


def test_the_state_of_an_actor_that_does_not_answer_is_what_keeps_it(shop: Running) -> None:
    asker = subprocess.Popen(
        command("ask", "room-2", "sleep", "7"),
        cwd=HERE,
        env=environment(shop.runtime),
        stdout=subprocess.DEVNULL,
    )
    try:
        while "sleep" not in run(shop, "top", "--once", "--interval", "0.01", "--rows", "50")[1]:
            assert asker.poll() is None
        code, _, err = run(shop, "state", "room-2")
    finally:
        asker.kill()
        asker.wait()
    assert code == 1
    assert "it did not answer within 5 s: it has been handling sleep for" in err


def test_a_reader_that_leaves_ends_the_stream(shop: Running) -> None:
    reader = subprocess.Popen(
        command("ask", "counter", "forever"),
        cwd=HERE,
        env=environment(shop.runtime),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    with reader.stdout:
        assert reader.stdout.readline() == "1\n"
        reader.kill()
        reader.wait()
    shop.line("the stream has ended")


def test_children_are_started_by_class_and_by_description(shop: Running) -> None:
    started = run(shop, "start", "guests", "asked:Counter", "41", "--name", "ann", "--on", "a")
    assert started == (0, "started ann under guests on a/0\n", "")
    assert run(shop, "ask", "ann", "add")[1] == "42\n"
    assert run(shop, "start", "guests", "asked:spec")[0] == 0
    assert run(shop, "ask", "wing-counter", "add")[1] == "8\n"
    code, _, err = run(shop, "start", "guests", "asked:Counter", '"x"')
    assert (code, err) == (
        2,
        "actors start: error: argument 'start': must be a whole number, got \"x\"\n",
    )
    code, _, err = run(shop, "start", "guests", "asked:nothing")
    assert (code, err.startswith("actors start: error: asked:nothing cannot be imported")) == (
        2,
        True,
    )
    code, _, err = run(shop, "start", "nobody", "asked:Counter")
    assert (code, "there is no supervisor 'nobody'" in err) == (2, True)


def test_actors_are_stopped_restarted_and_killed_by_name_and_pattern(shop: Running) -> None:
    for name in ("hall-1", "hall-2"):
        run(shop, "start", "guests", "asked:Counter", "--name", name, "--on", "a")
    assert run(shop, "stop", "hall-*") == (0, "stopped 2 actors: hall-1, hall-2\n", "")
    code, _, err = run(shop, "stop", "hall-*")
    assert (code, err) == (2, "actors stop: error: no actor and no node is called 'hall-*'\n")
    run(shop, "ask", "counter", "add", "9")
    assert run(shop, "restart", "counter") == (0, "restarted 1 actor: counter\n", "")
    assert run(shop, "ask", "counter", "add")[1] == "1\n"
    assert run(shop, "kill", "room-[01]") == (0, "killed 2 actors: room-0, room-1\n", "")
    code, _, err = run(shop, "restart", "brief")
    why = "actors restart: error: brief is TEMPORARY: its supervisor does not restart it\n"
    assert (code, err) == (2, why)


def test_the_name_of_a_node_means_the_node(shop: Running) -> None:
    code, out, _ = run(shop, "restart", "a/0")
    assert (code, out) == (0, "node a/0 was replaced by a new process\n")
    code, _, err = run(shop, "kill", "a/0", "--actor")
    assert (code, "no actor and no node is called 'a/0'" in err) == (2, True)
    assert shop.process.poll() is None


def test_the_messages_of_one_actor_are_traced_while_the_command_runs(shop: Running) -> None:
    tracer = subprocess.Popen(
        command("trace", "ledger", "--rate", "1"),
        cwd=HERE,
        env=environment(shop.runtime),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stdout is not None
    assert tracer.stderr is not None
    with tracer.stdout, tracer.stderr:
        said = tracer.stderr.readline()
        assert said == "tracing ledger (asked:Ledger on a/0); Ctrl-C ends this\n"
        assert run(shop, "ask", "ledger", "pay", "5")[1] == "5\n"
        assert tracer.stdout.readline() == "pay  begins  from (no actor)\n"
        assert tracer.stdout.readline().startswith("pay  done  ")
        tracer.kill()
        tracer.wait()
    assert run(shop, "ask", "ledger", "pay", "6")[1] == "6\n"


def test_what_cannot_be_traced_is_one_error(shop: Running) -> None:
    code, _, err = run(shop, "trace", "ledgr")
    assert (code, err) == (
        2,
        "actors trace: error: there is no actor 'ledgr'; did you mean 'ledger'?\n",
    )
    code, _, err = run(shop, "trace", "ledger", "--rate", "0")
    assert (code, "rate must be 1 to 10000 messages a second, got 0" in err) == (2, True)
