"""`polysense demo`: the example that is built in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysense.cli import console
from polysense.cli.commands.options import Json

__all__ = ["demo"]


def demo(
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="The run's folder.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the model and of its training.")] = 0,
    epochs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Passes over the training rows.")] = None,
    as_json: Json = False,
) -> None:
    """Learn digits from images, speech and notes.

    Compares each sense alone with all of them together. The data come with the package. It takes
    about a minute on two cores.
    """
    from polysense import api

    with console.reserved_stdout(as_json):
        summary = api.demo(output, seed=seed, epochs=epochs, progress=not console.is_quiet())
    console.write(summary if as_json else summary.text, link=None if as_json else summary.report)
