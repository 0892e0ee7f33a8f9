"""Posts an alert as JSON, in a process of its own: `python -m actors._system.webhook URL`.

The alert is the variable ``ACTORS_ALERT``. What fails is one line on standard error, and exit code 1.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from typing import Final

__all__ = ["post"]

_LASTS: Final = 8.0
"""Seconds, less than the process has."""


def post(url: str, text: str) -> None:
    """Post the alert *text*, which is JSON, with a sentence in ``text`` for chats.

    Raises:
        OSError: it cannot be reached, or answers with an error.
    """
    facts = json.loads(text)
    verb = "is above" if facts["alert"] == "alert_raised" else "is not above"
    facts["text"] = f"{facts['what']} of {facts['of']} {verb} {facts['limit']}: {facts['value']}"
    body = json.dumps(facts).encode()
    request = urllib.request.Request(  # noqa: S310 - the address was checked to be http(s)
        url, body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_LASTS):  # noqa: S310 - as above
        return


if __name__ == "__main__":
    try:
        post(sys.argv[1], os.environ["ACTORS_ALERT"])
    except OSError as error:
        sys.exit(str(error))
