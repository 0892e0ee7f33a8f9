"""A profile as one HTML file that needs nothing else, and as text: what `actors profile` writes.

Rule: all text of the profile is data of the file's script; none of it is markup.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

__all__ = ["busiest", "flame_graph"]

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>profile</title>
<style>%(css)s</style>
</head>
<body>
<header><h1>Profile</h1><p id="about"></p></header>
<main><section id="flame"></section></main>
<script type="application/json" id="profile">%(profile)s</script>
<script>%(script)s
const profile = JSON.parse(document.getElementById("profile").textContent);
document.getElementById("about").textContent = profile.about;
drawFlame(document.getElementById("flame"), profile);
</script>
</body>
</html>
"""


def _file(name: str) -> str:
    from importlib.resources import files  # noqa: PLC0415 - other commands start without it

    # By its place: the package that it belongs to would import the engine.
    return files("actors").joinpath("dashboard", "page", name).read_text(encoding="utf-8")


def flame_graph(profile: dict[str, Any], about: str) -> str:
    """Return a page that shows *profile*, which is as `actors profile --json` prints it.

    Args:
        profile: the profile.
        about: a sentence to show above it.
    """
    # `<` ends a script wherever it stands in it.
    data = json.dumps({**profile, "about": about}).replace("<", "\\u003c")
    css = _file("page.css") + _file("flame.css")
    return _PAGE % {"css": css, "profile": data, "script": _file("flame.js")}


def busiest(node: dict[str, Any], most: int) -> list[tuple[str, str, float, float]]:
    """Return the functions that used most CPU time: name, place, own seconds, seconds with calls."""
    own: Counter[int] = Counter()
    whole: Counter[int] = Counter()
    for _thread, numbers, seconds in node["stacks"]:
        if numbers:
            own[numbers[-1]] += seconds
        for number in set(numbers):
            whole[number] += seconds
    return [
        (name, f"{file}:{line}", seconds, whole[number])
        for number, seconds in own.most_common(most)
        for name, file, line in [node["frames"][number]]
    ]
