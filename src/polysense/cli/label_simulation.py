"""What `polysense label --simulate` does: strategies of labeling, tried on a table whose labels are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from polysense.cli import console
from polysense.cli.arguments import names
from polysense.cli.progress import rows_done
from polysense.errors import ConfigError

__all__ = ["label_numbers", "simulate"]


def simulate(
    source: Any,
    *,
    target: str,
    task: str | None,
    inputs: Sequence[str] | None,
    strategies: str | None,
    seeds: int,
    numbers: str | None,
    pretrained: str | None,
    overrides: Sequence[str],
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Simulates, prints and writes; arguments as of `api.simulate_labeling`, as the command line has them."""
    requested = None if numbers is None else label_numbers(numbers)

    from polysense import api

    with console.reserved_stdout(as_json), ExitStack() as bars:
        result = api.simulate_labeling(
            source,
            target=target,
            task=task,
            inputs=inputs,
            strategies=names(strategies, "--strategies"),
            seeds=seeds,
            numbers=requested,
            overrides=overrides,
            pretrained=pretrained,
            seed=seed,
            progress=_following(bars),
            reading=bars.enter_context(rows_done("reading")),
        )
    paths = [] if output is None else result.write(output)
    console.write_unreadable(result.unreadable)
    if as_json:
        console.write({**result.as_json(), "output": paths})
        return
    console.write("\n".join([result.text(), *(f"wrote {path}" for path in paths)]))


def _following(bars: ExitStack) -> Callable[[int, int], None]:
    """A bar for fits, which takes the place of the bar before it once the first one is done."""
    shown: list[Callable[[int, int], None] | None] = []

    def progress(done: int, total: int) -> None:
        if not shown:
            bars.close()
            shown.append(bars.enter_context(rows_done("labeling", unit="fits")))
        if shown[0] is not None:
            shown[0](done, total)

    return progress


def label_numbers(spelled: str) -> list[int]:
    """Numbers of labels.

    Raises:
        ConfigError: A part is no whole number.
    """
    parts = names(spelled, "--numbers") or []
    if not parts or not all(part.isascii() and part.isdecimal() for part in parts):
        raise ConfigError(f"--numbers {spelled}: expected whole numbers, as 20,50,100,200")
    return [int(part) for part in parts]
