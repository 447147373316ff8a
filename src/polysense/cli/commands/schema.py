"""`polysense schema`: the recipe's JSON schema."""

from __future__ import annotations

from polysense.cli import console

__all__ = ["schema"]


def schema() -> None:
    """Print the JSON schema of a recipe.

    Editors complete and check YAML with it."""
    from polysense.config.codec import json_schema
    from polysense.recipe import Recipe

    with console.reserved_stdout():
        found = json_schema(Recipe)
    console.write_json(found)
