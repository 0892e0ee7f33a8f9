"""Datasette over a database in memory."""

from __future__ import annotations

from datasette.app import Datasette

app = Datasette(memory=True).app()
