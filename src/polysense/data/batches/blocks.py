"""Blocks: rows are predicted in blocks of one shape, so that a row's bits depend on the row alone.

Matrix libraries choose a kernel by shape: the same row among 7 rows and among 8 differs in its last bits. So a block
always has the same number of rows, whatever was asked for; empty rows fill it. The price is paid by small requests: one
row costs as much as a block. `benchmarks/prediction_blocks.py` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from polysense.config.base import Config
from polysense.config.limits import PositiveInt
from polysense.errors import ConfigError

__all__ = ["PredictionConfig"]

_MULTIPLE = 32
"""Of which a block's rows are a multiple. Torch's vectorized loops compute the last elements of a tensor that is not a
multiple of 32 floats (two AVX-512 registers) with another routine than the others; in sigmoid, SiLU, softplus, ELU and
pow the two differ in the last bit. A tensor of 8 rows of 5 logits has such a rest: 20 of 20 permutations changed it."""

_ALONE = 8
"""From so many times a typical row's size on, a row stands alone: 32 rows of an hour of speech would not fit into
memory."""


@dataclass(frozen=True, kw_only=True)
class PredictionConfig(Config):
    """How a trained model computes rows; it is part of the bundle.

    Attributes:
        block_size: Rows that are computed together: 1, or a multiple of 32. A block that is not full costs as much as a
            full one. Another size gives other last bits, so all who compare predictions use the same one. 1 is the
            cheapest for single rows, 32 or more for tables.
        exact: Whether a row's prediction is the same to the last bit whatever other rows are there. false computes rows
            as they come, at most block_size together, without rows that only fill a block: faster for small requests
            and for rows without long columns, but neighbors may change the last bits.
    """

    block_size: PositiveInt = 32
    exact: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exact and self.block_size > 1 and self.block_size % _MULTIPLE:
            nearest = self.block_size // _MULTIPLE * _MULTIPLE or 1
            raise ConfigError(
                f"prediction.block_size must be 1 or a multiple of {_MULTIPLE}; found {self.block_size}. Other sizes "
                f"make a row's last bits depend on its position in the block. Take {nearest} or "
                f"{(self.block_size // _MULTIPLE + 1) * _MULTIPLE}, or allow it by prediction.exact=false"
            )

    def changed(self, block_size: int | None, exact: bool | None) -> PredictionConfig:
        """The same settings with others where these are not None."""
        block_size = self.block_size if block_size is None else block_size
        return replace(self, block_size=block_size, exact=self.exact if exact is None else exact)

    def rows(self, growth: float) -> int:
        """Rows of a block whose rows have this many times a typical row's size, at least 1: memory stays bounded."""
        if growth >= _ALONE:
            return 1
        fewer = int(self.block_size / growth) // _MULTIPLE * _MULTIPLE
        return max(fewer, min(self.block_size, _MULTIPLE))
