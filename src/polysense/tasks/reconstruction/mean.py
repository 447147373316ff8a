"""The mean predictor: what reconstructing a column has to beat, fitted on the training rows and kept with the model.

It says the same of every row: of a number, a date and each pixel its mean, of a spectrogram each band's mean, of a
category or a token its share of the training rows. Its errors are in the decoders' own units, so that one over the
other says how much of a column has been understood. A model that reconstructs images no better than by their mean image
has learned nothing, however small its error looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.core.batch import ColumnBatch
from polysense.nn.column_decoder import ColumnDecoder

__all__ = ["MeanPredictor", "correct"]

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
            self.register_buffer(f"mean_{index}", torch.zeros(decoder.mean_shape))

    def fit(self, batches: Iterable[Columns]) -> None:
        """Learns from the training rows' columns, or a sample of them."""
        sums = [torch.zeros(decoder.mean_shape, dtype=torch.float64) for decoder in self.decoders]
        counts = [0] * len(sums)
        for columns in batches:
            for index, decoder in enumerate(self.decoders):
                if (column := columns.get(decoder.column.name)) is None:
                    continue
                total, count = _summed(decoder, column)
                sums[index] += total.cpu()
                counts[index] += count
        for index, (total, count) in enumerate(zip(sums, counts, strict=True)):
            if self.decoders[index].has_classes:
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
            elif decoder.has_classes:
                expected, known = decoder.truth(column)
                losses = -self._mean(index)[expected]
                results.append(_mean_over(losses, known))
            else:
                truth, known = decoder.truth(column)
                errors = decoder.error(truth - self._mean(index))
                results.append(_mean_over(errors.flatten(1), known.expand(errors.shape).flatten(1)))
        return torch.stack(results, dim=1)

    def correct(self, columns: Columns) -> Float[Tensor, "batch columns"]:
        """Likewise the share that is right by saying the most frequent; NaN too where there is no right or wrong."""
        results = []
        for index, decoder in enumerate(self.decoders):
            column = columns.get(decoder.column.name)
            if column is None or not self.counts[index] or not decoder.has_classes:
                results.append(_nowhere(columns))
                continue
            expected, known = decoder.truth(column)
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
        if column is None or said is None or not decoder.has_classes:
            results.append(_nowhere(columns))
            continue
        expected, known = decoder.truth(column)
        said = said.view(len(expected), -1)
        results.append(_mean_over((said == expected).float(), known))
    return torch.stack(results, dim=1)


def _summed(decoder: ColumnDecoder, column: ColumnBatch) -> tuple[Tensor, int]:
    """The sum of the true values, or how often each class occurs, float64, and their number."""
    truth, known = decoder.truth(column)
    if decoder.has_classes:
        sums = torch.bincount(truth[known], minlength=decoder.mean_shape[0]).double()
    else:
        sums = truth.double().masked_fill(~known, 0.0).sum(dim=0).sum_to_size(decoder.mean_shape)
    return sums, int(known.sum())


def _mean_over(values: Float[Tensor, "batch values"], known: Bool[Tensor, "batch values"]) -> Float[Tensor, " batch"]:
    count = known.sum(dim=1)
    total = values.masked_fill(~known, 0.0).sum(dim=1)
    return (total / count.clamp(min=1)).masked_fill(count == 0, torch.nan)


def _nowhere(columns: Columns) -> Float[Tensor, " batch"]:
    lengths = next(iter(columns.values())).lengths
    return torch.full((len(lengths),), torch.nan, device=lengths.device)
