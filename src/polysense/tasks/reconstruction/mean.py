"""The mean predictor: what reconstructing a column has to beat, fitted on the training rows and kept with the model.

It says the same of every row: of a number, a date and each pixel its mean, of a spectrogram each band's mean, of a
category or a token its share of the training rows. Its errors are in the decoders' own units, so that one over the
other says how much of a column has been understood. A model that reconstructs images no better than by their mean image
has learned nothing, however small its error looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import ColumnBatch
from polysense.modalities.audio.decoder import SoundDecoder
from polysense.modalities.category.decoder import CategoryDecoder
from polysense.modalities.date.decoder import DateDecoder
from polysense.modalities.image.decoder import PixelDecoder
from polysense.modalities.number.decoder import NumberDecoder
from polysense.modalities.text.decoder import TokenDecoder
from polysense.nn.column_decoder import ColumnDecoder, squared

__all__ = ["MeanPredictor", "correct", "has_classes"]

Columns = Mapping[str, ColumnBatch]


class MeanPredictor(nn.Module):
    """Each column's mean, or the shares of what it holds; the columns' decoders are no parts of it."""

    counts: Tensor

    def __init__(self, decoders: Sequence[ColumnDecoder]) -> None:
        super().__init__()
        self.decoders = tuple(decoders)  # a tuple, so they are not registered twice
        # Values that each mean was taken of; 0: not fitted.
        self.register_buffer("counts", torch.zeros(len(decoders), dtype=torch.int64))
        for index, decoder in enumerate(decoders):
            self.register_buffer(f"mean_{index}", torch.zeros(_shape(decoder)))

    def fit(self, batches: Iterable[Columns]) -> None:
        """Learns from the training rows' columns, or a sample of them."""
        sums = [torch.zeros(_shape(decoder), dtype=torch.float64) for decoder in self.decoders]
        counts = [0] * len(sums)
        for columns in batches:
            for index, decoder in enumerate(self.decoders):
                if (column := columns.get(decoder.column.name)) is None:
                    continue
                total, count = _summed(decoder, column)
                sums[index] += total.cpu()
                counts[index] += count
        for index, (total, count) in enumerate(zip(sums, counts, strict=True)):
            if has_classes(self.decoders[index]):
                total = total + 1.0  # what training never held is still possible
                mean = (total / total.sum()).log()
            else:
                mean = total / max(count, 1)
            self._mean(index).copy_(mean)
        self.counts.copy_(torch.tensor(counts))

    def errors(self, columns: Columns) -> Float[Tensor, "batch columns"]:
        """Per row and column the error of saying the mean; NaN where the true cell is not known."""
        results = []
        for index, decoder in enumerate(self.decoders):
            column = columns.get(decoder.column.name)
            if column is None or not self.counts[index]:
                results.append(_nowhere(columns))
            elif has_classes(decoder):
                expected, known = _classes(decoder, column)
                losses = -self._mean(index)[expected]
                results.append(_mean_over(losses, known))
            else:
                truth, known = _measured(decoder, column)
                difference = truth - self._mean(index)
                is_scalar = isinstance(decoder, NumberDecoder | DateDecoder)
                errors = squared(difference) if is_scalar else difference**2
                results.append(_mean_over(errors.flatten(1), known.expand(errors.shape).flatten(1)))
        return torch.stack(results, dim=1)

    def correct(self, columns: Columns) -> Float[Tensor, "batch columns"]:
        """Likewise the share that is right by saying the most frequent; NaN too where there is no right or wrong."""
        results = []
        for index, decoder in enumerate(self.decoders):
            column = columns.get(decoder.column.name)
            if column is None or not self.counts[index] or not has_classes(decoder):
                results.append(_nowhere(columns))
                continue
            expected, known = _classes(decoder, column)
            results.append(_mean_over((expected == self._mean(index).argmax()).float(), known))
        return torch.stack(results, dim=1)

    def _mean(self, index: int) -> Tensor:
        return self.get_buffer(f"mean_{index}")


def correct(
    decoders: Sequence[ColumnDecoder], predicted: Mapping[str, Tensor], columns: Columns
) -> Float[Tensor, "batch columns"]:
    """Per row and column the share of its tokens, or its category, that is right; NaN where nothing is to be right.

    Args:
        decoders: Of the columns.
        predicted: What decoders predict; one that is not there counts as not known.
        columns: The truth.
    """
    results = []
    for decoder in decoders:
        column = columns.get(decoder.column.name)
        said = predicted.get(decoder.column.name)
        if column is None or said is None or not has_classes(decoder):
            results.append(_nowhere(columns))
            continue
        expected, known = _classes(decoder, column)
        said = said.view(len(expected), -1)
        results.append(_mean_over((said == expected).float(), known))
    return torch.stack(results, dim=1)


def has_classes(decoder: ColumnDecoder) -> bool:
    """Whether a column holds tokens or a category, which are right or wrong."""
    return isinstance(decoder, CategoryDecoder | TokenDecoder)


def _shape(decoder: ColumnDecoder) -> tuple[int, ...]:
    if isinstance(decoder, CategoryDecoder):
        return (decoder.column.num_categories,)
    if isinstance(decoder, TokenDecoder):
        return (decoder.column.vocabulary_size,)
    if isinstance(decoder, PixelDecoder):
        return (decoder.column.num_channels, *decoder.column.image_size)
    if isinstance(decoder, SoundDecoder):
        return (decoder.log_mel.num_mels, 1)
    assert isinstance(decoder, NumberDecoder | DateDecoder)
    return (decoder.output.out_features,)


def _summed(decoder: ColumnDecoder, column: ColumnBatch) -> tuple[Tensor, int]:
    """The sum of the true values, float64, and their number."""
    if has_classes(decoder):
        expected, known = _classes(decoder, column)
        counts = torch.bincount(expected[known], minlength=_shape(decoder)[0])
        return counts.double(), int(known.sum())
    truth, known = _measured(decoder, column)
    values = truth.double().masked_fill(~known, 0.0).sum(dim=0)
    if isinstance(decoder, SoundDecoder):
        values = values.sum(dim=1, keepdim=True)
    return values, int(known.sum())


def _measured(
    decoder: ColumnDecoder, column: ColumnBatch
) -> tuple[Float[Tensor, "batch ..."], Bool[Tensor, "batch ..."]]:
    """The true values in standard deviations, and which are there; these broadcast."""
    there = column.lengths[:, 0] > 0
    if isinstance(decoder, SoundDecoder):
        log_mel, valid = decoder.log_mel(column.values[:, 0], column.lengths[:, 0])
        most = decoder.num_positions * (decoder.output.out_features // decoder.log_mel.num_mels)
        return log_mel[..., :most], valid[:, None, :most]
    if isinstance(decoder, PixelDecoder):
        return (column.values[:, 0].float() / 255 - decoder.mean) / decoder.std, there[:, None, None, None]
    assert isinstance(decoder, NumberDecoder | DateDecoder)
    # An absent cell's storage may hold anything.
    values = column.values[:, 0, : decoder.output.out_features].float()
    return values.masked_fill(~there[:, None], 0.0), there[:, None]


def _classes(
    decoder: ColumnDecoder, column: ColumnBatch
) -> tuple[Int[Tensor, "batch positions"], Bool[Tensor, "batch positions"]]:
    """The true tokens or the category, and which positions are known."""
    known = decoder.known(column)
    if isinstance(decoder, CategoryDecoder):
        return column.values[:, 0, :1].long().masked_fill(~known, 0), known
    assert isinstance(decoder, TokenDecoder)
    ids = column.values[:, 0].long()
    ids = F.pad(ids, (0, decoder.num_positions - ids.shape[1]), value=decoder.column.padding_id)
    past = torch.arange(decoder.num_positions, device=ids.device) >= column.lengths[:, :1]
    return ids.masked_fill(past, decoder.column.padding_id), known


def _mean_over(values: Float[Tensor, "batch values"], known: Bool[Tensor, "batch values"]) -> Float[Tensor, " batch"]:
    count = known.sum(dim=1)
    total = values.masked_fill(~known, 0.0).sum(dim=1)
    return (total / count.clamp(min=1)).masked_fill(count == 0, torch.nan)


def _nowhere(columns: Columns) -> Float[Tensor, " batch"]:
    lengths = next(iter(columns.values())).lengths
    return torch.full((len(lengths),), torch.nan, device=lengths.device)
