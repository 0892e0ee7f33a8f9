"""Reading application files: lines, variables, profiles; and the schema that editors check them with."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings, strategies as st

from actors._system.application import BadField, checked_tables
from actors.cli._failure import WRONG, CommandFailed
from actors.cli.application.file import check_profiles, read_application
from actors.cli.application.positions import line_of, lines_of
from actors.cli.application.schema import application_schema
from actors.cli.application.toml_text import as_toml, toml_key
from actors.errors import InvalidSpec
from tests.application.files import applications

FILE = """\
[nodes.web]
count = "${WEB:-2}"

[listeners.http]
app = "shop:app"
address = "${HOST:-127.0.0.1}:${PORT}"

[profiles.production.nodes.web]
count = 4
env = { MODE = "production" }

[profiles.broken.nodes.web]
count = 0
"""


def written(folder: Path, text: str) -> str:
    path = folder / "actors.toml"
    path.write_text(text)
    return str(path)


def refused(name: str, profile: str | None = None, **environ: str) -> str:
    with pytest.raises(CommandFailed) as caught:
        read_application(name, profile, environ)
    assert caught.value.code == WRONG
    return str(caught.value).removeprefix(name)


# -- lines -------------------------------------------------------------------------------------------

KEYS = st.text(st.sampled_from('ab"\\.# é[{='), min_size=1, max_size=4)
VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from("ab\"\\#[]{}=\n' ,é"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(KEYS, st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3))))
def test_what_is_written_is_read_again_and_each_of_its_keys_has_its_line(
    tables: dict[str, Any],
) -> None:
    text = as_toml(tables)

    assert tomllib.loads(text) == tables
    lines, rows = lines_of(text), text.splitlines()
    for path, line in lines.items():
        found: Any = tables
        for step in path:
            found = found[step]  # every path leads to something
        if isinstance(path[-1], str) and len(path) > 2:
            assert toml_key(path[-1]) in rows[line - 1]
    for table, names in tables.items():
        for name, keys in names.items():
            assert all((table, name, key) in lines for key in keys)


LINES = """\
# a comment with [nodes.x]
[nodes.web]   # and here
env = { A = "x = [", "B C" = '''
several = 1
lines''', D = "}" }
[[apps]]
name = "one"
a.b = 1
[[apps]]
list = [ [1, 2], { deep = 1 },
  { deep = 2 }]
when = 1979-05-27T07:32:00
[apps.inner]
key = 1.5
"""


@pytest.mark.parametrize(
    "path, line",
    [
        (("nodes", "web"), 2),
        (("nodes", "web", "env", "A"), 3),
        (("nodes", "web", "env", "B C"), 3),
        (("nodes", "web", "env", "D"), 5),
        (("apps", 0, "name"), 7),
        (("apps", 0, "a", "b"), 8),
        (("apps", 1), 9),
        (("apps", 1, "list", 0, 1), 10),
        (("apps", 1, "list", 2, "deep"), 11),
        (("apps", 1, "when"), 12),
        (("apps", 1, "inner", "key"), 14),
        (("nodes", "web", "env", "missing"), 3),
        (("nowhere",), None),
    ],
)
def test_the_line_of_a_key_is_found(path: tuple[Any, ...], line: int | None) -> None:
    assert line_of(lines_of(LINES), path) == line


@pytest.mark.parametrize(
    "text, said",
    [
        (
            "[nodes.web]\n\ncuont = 1",
            ":3: nodes.web.cuont: there is no such key; did you mean 'count'?",
        ),
        ("[nodes.web]\nenv = {\n A = 1}", ":2: "),
        ("a = [", ":1: "),
        ("[nodes.web]\n[nodes.web]", ":2: "),
        ("x" * 2**20 + "y", ": an application file has at most 1048576 bytes"),
        ("a = " + "[" * 5000, ": its values are too deep inside each other"),
    ],
)
def test_an_error_has_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    assert refused(written(tmp_path, text)).startswith(said)


def test_a_file_that_is_not_there_or_is_no_text_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"there is no file nowhere\.toml"):
        read_application("nowhere.toml", None, {})
    path = tmp_path / "actors.toml"
    path.write_bytes(b"\xff\xfe")
    assert "cannot be read" in refused(str(path))
    assert "cannot be read" in refused(str(tmp_path))


def test_a_file_may_begin_with_the_mark_of_some_editors(tmp_path: Path) -> None:
    path = tmp_path / "actors.toml"
    path.write_text("[nodes.web]\ncount = 3\n", encoding="utf-8-sig")
    assert read_application(str(path), None, {}).application.topology.nodes[0].count == 3


# -- variables and profiles --------------------------------------------------------------------------


def test_variables_are_replaced_and_read_as_what_is_wanted(tmp_path: Path) -> None:
    name = written(tmp_path, FILE)
    topology = read_application(name, None, {"PORT": "80", "WEB": "3"}).application.topology
    assert topology.nodes[0].count == 3
    assert topology.listeners[0].address == "127.0.0.1:80"
    topology = read_application(name, None, {"PORT": "80", "WEB": ""}).application.topology
    assert topology.nodes[0].count == 2


def test_a_variable_that_is_missing_or_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    name = written(tmp_path, FILE)
    assert refused(name) == (
        ":6: listeners.http.address: the variable PORT is not set; ${PORT:-something} has a default"
    )
    assert refused(name, PORT="80", WEB="x").startswith(
        ":2: nodes.web.count: must be a whole number"
    )
    name = written(tmp_path, "[nodes.web]\nenv = { PRICE = '$5' }")
    assert refused(name).startswith(":2: nodes.web.env.PRICE: a variable is ${NAME}")


def test_two_dollar_signs_are_one(tmp_path: Path) -> None:
    name = written(tmp_path, "[nodes.web]\nenv = { A = '$${B} $$' }")
    assert read_application(name, None, {}).application.topology.nodes[0].env == {"A": "${B} $"}


def test_a_profile_overrides_what_it_names(tmp_path: Path) -> None:
    name = written(tmp_path, FILE)
    (web,) = read_application(name, "production", {"PORT": "80"}).application.topology.nodes
    assert (web.count, web.env) == (4, {"MODE": "production"})
    assert refused(name, "broken", PORT="80") == ":13: nodes.web.count: must be 1 to 1024, got 0"
    with pytest.raises(CommandFailed) as caught:
        read_application(name, "produktion", {"PORT": "80"})
    assert str(caught.value) == (
        "there is no profile 'produktion'; there are 'production', 'broken'; did you mean 'production'?"
    )


def test_all_profiles_are_checked_but_for_variables_that_are_set_elsewhere(tmp_path: Path) -> None:
    name = written(tmp_path, FILE)
    check_profiles(name, {})
    with pytest.raises(CommandFailed, match=r":13: nodes\.web\.count"):
        check_profiles(name, {"PORT": "80"})


# -- the schema --------------------------------------------------------------------------------------

SCHEMA = jsonschema.Draft202012Validator(application_schema())


def refusal(tables: dict[str, Any]) -> BadField | None:
    try:
        checked_tables(tables)
    except BadField as error:
        return error
    return None


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an application in which one value may be another one."""
    tables = copy.deepcopy(draw(applications()))
    found: Any = tables
    while draw(st.integers(0, 4)):
        if not isinstance(found, dict) or not found:
            break
        key = draw(st.sampled_from(sorted(found)))
        if draw(st.integers(0, 2)) == 0:
            found[key] = draw(VALUES)
        found = found[key]
    return tables


@settings(max_examples=60)
@given(changed())
def test_the_schema_accepts_what_the_tables_accept_and_else_only_values_out_of_range(
    tables: dict[str, Any],
) -> None:
    refused = refusal(tables)
    if SCHEMA.is_valid(tables):
        assert refused is None or isinstance(refused.__cause__, InvalidSpec), "of a constructor"
    else:
        assert refused is not None


@pytest.mark.parametrize("alerts", [{}, {"every": 5}, {"lag": 0.5}, {"restarts": 3, "every": 1}])
def test_the_schema_knows_that_alerts_have_a_threshold(alerts: dict[str, Any]) -> None:
    tables = {"nodes": {"a": {}}, "alerts": alerts}
    assert SCHEMA.is_valid(tables) == (refusal(tables) is None)


def test_the_schema_is_one_and_has_the_meaning_of_every_key_of_a_group() -> None:
    schema = application_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    web = schema["properties"]["nodes"]["additionalProperties"]
    assert all("description" in one for one in web["properties"].values())


def test_the_schema_knows_variables_and_profiles() -> None:
    tables = tomllib.loads(FILE)
    assert SCHEMA.is_valid(tables)
    tables["profiles"]["production"]["nodes"]["web"]["cuont"] = 1
    assert not SCHEMA.is_valid(tables)
