"""`polysense schema`: the recipe's JSON schema."""

from __future__ import annotations

from polysense.cli import console

__all__ = ["schema"]


def schema() -> None:
    """Print the JSON schema of a recipe.

    Editors complete and check YAML with it."""
    from polysense import api

    with console.reserved_stdout():
        document = api.recipe_schema()
    console.write(document)
