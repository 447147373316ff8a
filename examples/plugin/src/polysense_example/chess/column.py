"""Chess positions in Forsyth-Edwards notation, "4k3/8/8/8/8/8/4P3/4K3 w": codes of the squares and the turn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.column import ColumnConfig, ColumnProcessor, TrainingCells
from polysense.errors import DecodeError
from polysense_example.chess.record import ChessColumn

__all__ = ["PIECES", "ChessColumnConfig", "ChessProcessor", "read_position"]

PIECES = ".PNBRQKpnbrqk"
"""A square's code is its piece's place in here; 0 is an empty square. Behind them come the turns."""

_POSITION = re.compile(r"(?:[1-8PNBRQKpnbrqk]{1,8}/){7}[1-8PNBRQKpnbrqk]{1,8}(?: ([wb])(?: .*)?)?")


@dataclass(frozen=True, kw_only=True)
class ChessColumnConfig(ColumnConfig):
    """A chess position, such as 4k3/8/8/8/8/8/4P3/4K3 w.

    Attributes:
        turn: Whether it matters whose turn it is; auto: if all training positions say so.
    """

    modality: ClassVar[str] = "chess"
    type: Literal["chess"] = "chess"
    turn: bool | Literal["auto"] = "auto"

    def build(self, name: str) -> ChessProcessor:
        return ChessProcessor(name, self)


class ChessProcessor(ColumnProcessor):
    """Reads positions; each item is uint8 [64] or, with the turn, [65]."""

    config: ChessColumnConfig

    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> ChessColumn:
        turn = self.config.turn
        if turn == "auto":
            positions = cells.read(self.name, "chess positions", lambda cell, _: read_position(cell))
            turn = all(code is not None for _, code in positions)
        return ChessColumn(name=self.name, has_turn=turn)

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray:
        squares, turn = read_position(value)
        if ChessColumn.of(self.column).has_turn:
            if turn is None:
                raise DecodeError(f"found {value!r}, which does not say whose turn it is; add ' w' or ' b'")
            squares = [*squares, turn]
        return np.array(squares, dtype=np.uint8)


def read_position(cell: object) -> tuple[list[int], int | None]:
    """The codes of the squares from a8 to h1, and the code of the turn.

    Raises:
        DecodeError: It is no position.
    """
    match = _POSITION.fullmatch(cell.strip()) if isinstance(cell, str) else None
    if match is None:
        raise DecodeError(f"found {cell!r}, expected a chess position such as '4k3/8/8/8/8/8/4P3/4K3 w'")
    placement = re.sub("[1-8]", lambda digit: "." * int(digit[0]), match[0].split()[0])
    lengths = [len(rank) for rank in placement.split("/")]
    if lengths != [8] * 8:
        raise DecodeError(f"found {cell!r} with ranks of {lengths} squares, expected eight of 8")
    if (placement.count("K"), placement.count("k")) != (1, 1):
        raise DecodeError(f"found {cell!r}, expected one king of each side")
    turn = None if match[1] is None else len(PIECES) + "wb".index(match[1])
    return [PIECES.index(piece) for piece in placement if piece != "/"], turn
