"""`polysense schema`: the JSON schema of a recipe, of an audit's file, or of what a check prints."""

from __future__ import annotations

from typing import Annotated

import typer

from polysense.cli import console
from polysense.errors import ConfigError

__all__ = ["schema"]

_DOCUMENTS = ("recipe", "audit", "check")


def schema(
    document: Annotated[
        str,
        typer.Argument(
            metavar="[recipe|audit|check]", help="recipe: of a recipe; audit: of audit.json; check: of check --json."
        ),
    ] = "recipe",
) -> None:
    """Print the JSON schema of a recipe, of audit.json, or of what check --json prints.

    Editors complete and check YAML with a recipe's.
    """
    if document not in _DOCUMENTS:
        raise ConfigError(f"schema: found {document!r}, expected {', '.join(_DOCUMENTS[:-1])} or {_DOCUMENTS[-1]}")

    from polysense import api

    with console.reserved_stdout():
        schemas = {"recipe": api.recipe_schema, "audit": api.audit_schema, "check": api.check_schema}
        known = schemas[document]()
    console.write(known)
