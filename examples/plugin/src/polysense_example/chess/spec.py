"""The chess modality: positions as 64 squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polysense.core.modality_spec import Claim, ModelSize, Preview, Profile
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.core.value_spec import ValueSpec
from polysense.errors import DecodeError
from polysense_example.chess.column import PIECES, read_position
from polysense_example.chess.record import ChessColumn

__all__ = ["ChessSpec"]

_MAJORITY = 0.9  # of the cells; the others will be missing


class ChessSpec(ValueSpec):
    """See `polysense.core.modality_spec.ModalitySpec`."""

    name, rank, nouns = "chess", 100, ("a chess position", "chess positions")
    record, column_type = ChessColumn, "chess"
    dtype = np.uint8

    def claim(self, profile: Profile) -> Claim | None:
        read = sum(map(_is_position, profile.items))
        if not read or read < _MAJORITY * len(profile.items):
            return None
        return Claim(
            confidence=0.97,
            evidence=f"chess positions such as {profile.example()}, {profile.counts()}",
            multiple=profile.are_lists,
        )

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "chess_squares"}

    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        return []

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return (ChessColumn.of(column).num_values,)

    def summary(self, column: Column) -> Mapping[str, str]:
        return {"turn": "known" if ChessColumn.of(column).has_turn else "unknown"}

    def identity(self, cell: object) -> str:
        return " ".join(str(cell).split()[:2])

    def preview(
        self, column: Column, cell: object, items: Sequence[np.ndarray], *, most: int, side: int, playable: bool
    ) -> Preview:
        return Preview(images=[_board(item[:64].reshape(8, 8), max(side // 8, 3)) for item in items[:most]])

    def decoder(self, column: Column) -> Unsupported:
        return Unsupported("a position that can be reached is not put together square by square")


def _is_position(cell: object) -> bool:
    try:
        read_position(cell)
    except DecodeError:
        return False
    return True


def _board(codes: np.ndarray, side: int) -> np.ndarray:
    """A drawing, uint8 [height, width, 3]: squares of `side` pixels, a white or black square on each for a piece."""
    light = (np.indices((8, 8)).sum(axis=0) % 2 == 0)[..., None]
    colors = np.where(light, (238, 216, 181), (176, 132, 96)).astype(np.uint8)
    image = colors.repeat(side, axis=0).repeat(side, axis=1)
    for row, column in zip(*np.nonzero(codes), strict=True):
        edge = side // 4
        inner = np.s_[row * side + edge : (row + 1) * side - edge, column * side + edge : (column + 1) * side - edge]
        image[inner] = 255 if PIECES[codes[row, column]].isupper() else 0
    return image
