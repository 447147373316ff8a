"""Executor: where a source's items are read, and how they come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

from polysense.data.batches.dataset import ItemSource

__all__ = ["Executor", "lists_of"]


class Executor(ABC):
    """Reads a source's items in other processes; a context manager, at whose end these are gone.

    Attributes:
        is_remote: Whether it may be on other machines: what it reads is then sent to it, and of this machine's files
            it sees those alone that lie on a file system of both.
    """

    is_remote: ClassVar[bool]

    @abstractmethod
    def read(self, source: ItemSource, positions: Sequence[int], at_once: int) -> Iterator[Any]:
        """The items at some positions, in their order; few of them are in memory at a time.

        Args:
            source: Picklable, where the executor is remote.
            positions: Which; each item comes from one call of `source.__getitems__`.
            at_once: Positions that such a call gets, at most.

        Raises:
            UserError: What the source raised.
            PolysenseError: A process died, or the cluster failed.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 (most have nothing to give back)
        """Gives back what it holds."""


def lists_of(positions: Sequence[int], at_once: int) -> list[Sequence[int]]:
    """Positions in lists of at most so many, in order."""
    return [positions[start : start + at_once] for start in range(0, len(positions), at_once)]
