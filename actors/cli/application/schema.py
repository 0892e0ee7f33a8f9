"""The JSON schema of application files, from the tables that check them."""

from __future__ import annotations

from typing import Any, Final

from actors._system.application.kinds import Entries
from actors._system.application.tables import sections, single_tables

__all__ = ["application_schema"]

_VARIABLE: Final = {"type": "string", "pattern": r"\$\{[A-Za-z_]\w*(:-[^}]*)?\}"}
_PLACE: Final = {"$ref": "#/$defs/variable"}


def application_schema() -> dict[str, Any]:
    """Return the schema."""
    tables = {name: record.schema() for name, record in single_tables().items()}
    tables |= {name: Entries(section.record).schema() for name, section in sections().items()}
    tables = {name: _with_variables(schema) for name, schema in tables.items()}
    profile = {
        "type": "object",
        "properties": {name: _optional(schema) for name, schema in tables.items()},
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An application of actors: actors.toml",
        "type": "object",
        "properties": {
            **tables,
            "profiles": {
                "type": "object",
                "description": "Tables that override the others, by the name of a profile",
                "additionalProperties": {"$ref": "#/$defs/profile"},
            },
        },
        "additionalProperties": False,
        "$defs": {"variable": _VARIABLE, "profile": profile},
    }


def _with_variables(schema: Any) -> Any:
    """Return a schema in which a variable may take the place of every value that is no table and no list."""
    if isinstance(schema, list):
        return [_with_variables(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: {name: _with_variables(one) for name, one in value.items()}
        if key == "properties"
        else _with_variables(value)
        if key in {"additionalProperties", "items", "anyOf"}
        else value
        for key, value in schema.items()
    }
    kind = made.get("type")
    of_any_text = kind == "string" and "pattern" not in made
    scalar = kind in {"string", "integer", "number", "boolean"} or "enum" in made
    if not scalar or of_any_text:
        return made
    description = {key: made.pop(key) for key in ("description",) if key in made}
    return {"anyOf": [made, _PLACE], **description}


def _optional(schema: Any) -> Any:
    """Return a schema without what must be there: a profile has only what it overrides."""
    if isinstance(schema, list):
        return [_optional(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _optional(value) for key, value in schema.items() if key != "required"}
