"""`polysense schema`: the JSON schema of a recipe, or of an audit's file."""

from __future__ import annotations

from typing import Annotated

import typer

from polysense.cli import console
from polysense.errors import ConfigError

__all__ = ["schema"]

_DOCUMENTS = ("recipe", "audit")


def schema(
    document: Annotated[
        str, typer.Argument(metavar="[recipe|audit]", help="recipe: of a recipe; audit: of audit.json.")
    ] = "recipe",
) -> None:
    """Print the JSON schema of a recipe, or of audit.json.

    Editors complete and check YAML with a recipe's.
    """
    if document not in _DOCUMENTS:
        raise ConfigError(f"schema: found {document!r}, expected {' or '.join(_DOCUMENTS)}")

    from polysense import api

    with console.reserved_stdout():
        known = api.audit_schema() if document == "audit" else api.recipe_schema()
    console.write(known)
