"""What training masks from the encoders, so that reconstructing a column takes more than copying it.

- Noise (denoising: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008):
  Gaussian on what is measured, another token or category for some of the true ones; all of the column is reconstructed.
- Masks (BERT, Devlin et al., 2019; MAE, He et al., 2022; SimMIM, Xie et al., 2022): some positions of each column are
  hidden in its own input, whatever its encoder is, and the loss is on these alone. SimMIM found that a mask in the
  pixels is as good as one in the tokens; it costs the encoder's work on what is masked, and no encoder has to know.
- Whole masked cells (MultiMAE, Bachmann et al., 2022): a column is reconstructed from the others, as imputation
  requires. One cell of a row always stays present.

What is masked is a function of the row's key, which is one of (seed, epoch, row): the loss asks for it a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.nn.column_decoder import ColumnDecoder
from polysense.nn.layers.draws import uniforms

__all__ = ["Corruption", "MaskedCells"]


@dataclass(frozen=True, eq=False)
class MaskedCells:
    """What of a column is masked.

    Attributes:
        absent: [batch], the whole cell.
        positions: [batch, positions], single positions; all known ones of an absent cell.
    """

    absent: Bool[Tensor, " batch"]
    positions: Bool[Tensor, "batch positions"]


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """How columns are corrupted in training.

    Attributes:
        mask: The share of each column's positions that is masked; of a column of one position, how often it is absent.
        cell_mask_rate: How often a whole cell is made absent.
        noise: Standard deviation of the noise on numbers, pixels and samples, in the column's own.
        replace: The share of tokens and categories that become random ones.
    """

    mask: float = 0.0
    cell_mask_rate: float = 0.0
    noise: float = 0.0
    replace: float = 0.0

    @property
    def is_none(self) -> bool:
        """Whether nothing is changed."""
        return not (self.mask or self.cell_mask_rate or self.noise or self.replace)

    def share_scored(self, decoder: ColumnDecoder) -> float:
        """How often a column of one position is masked, where the loss is on masked positions; 1 for all others."""
        if not self.mask or decoder.num_positions > 1:
            return 1.0
        return 1.0 - (1.0 - self.mask) * (1.0 - self.cell_mask_rate)

    def masked_cells(
        self, decoders: Sequence[ColumnDecoder], columns: Mapping[str, ColumnBatch], keys: Int[Tensor, " batch"]
    ) -> dict[str, MaskedCells]:
        """What of each column is masked.

        Args:
            decoders: Of the columns that are reconstructed; one that the batch lacks is left out.
            columns: The batch's, all of them.
            keys: `Batch.keys`.
        """
        there = [decoder for decoder in decoders if decoder.column.name in columns]
        if not there or not (self.mask or self.cell_mask_rate):
            return {}
        present = torch.stack([columns[decoder.column.name].present for decoder in there], dim=1)
        lost = torch.stack([self._lost(decoder, keys) for decoder in there], dim=1) & present
        # Of a row that would lose all, the cell with the largest draw stays.
        names = {decoder.column.name for decoder in decoders}
        keeps = torch.zeros_like(present[:, 0])
        for name, column in columns.items():
            if name not in names:
                keeps = keeps | column.present
        draws = torch.cat([uniforms(keys, 1, f"spared {decoder.column.name}") for decoder in there], dim=1)
        last = torch.where(present, draws, -1.0).argmax(dim=1)
        spared = torch.zeros_like(lost).scatter_(1, last[:, None], True)
        lost &= ~(spared & ((lost == present).all(dim=1) & ~keeps)[:, None])
        results = {}
        for index, decoder in enumerate(there):
            name, absent = decoder.column.name, lost[:, index]
            known = decoder.known(columns[name])
            positions = known & absent[:, None]
            if self.mask and decoder.num_positions > 1:
                positions = positions | _some(known, uniforms(keys, decoder.num_positions, f"mask {name}"), self.mask)
            results[name] = MaskedCells(absent, positions)
        return results

    def __call__(
        self, decoders: Sequence[ColumnDecoder], columns: Mapping[str, ColumnBatch], keys: Int[Tensor, " batch"]
    ) -> dict[str, ColumnBatch]:
        """The columns as the encoders get them; arguments as in `masked_cells`."""
        result = dict(columns)
        for decoder in decoders:
            name = decoder.column.name
            if (self.noise or self.replace) and name in result:
                result[name] = decoder.noisy(result[name], keys, self.noise, self.replace)
        named = {decoder.column.name: decoder for decoder in decoders}
        for name, masked_cells in self.masked_cells(decoders, columns, keys).items():
            if self.mask and named[name].num_positions > 1:
                result[name] = named[name].with_masked(result[name], masked_cells.positions)
            result[name] = result[name].masked(~masked_cells.absent)
        return result

    def _lost(self, decoder: ColumnDecoder, keys: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Which cells are to be absent."""
        name = decoder.column.name
        lost = uniforms(keys, 1, f"hide {name}")[:, 0] < self.cell_mask_rate
        if decoder.num_positions == 1:
            lost = lost | (uniforms(keys, 1, f"mask {name}")[:, 0] < self.mask)
        return lost


def _some(
    known: Bool[Tensor, "batch positions"], draws: Float[Tensor, "batch positions"], share: float
) -> Bool[Tensor, "batch positions"]:
    """The known positions with the smallest draws: that share of them, rounded, and at least one."""
    order = torch.where(known, draws, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
    number = (share * known.sum(dim=1) + 0.5).floor().clamp(min=1.0)
    return known & (order < number[:, None])
