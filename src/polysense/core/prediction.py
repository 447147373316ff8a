"""What a head says about rows, in the table's own terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Prediction"]

_MEASURES = ("errors", "hits", "mean_errors", "mean_hits")


@dataclass(frozen=True, eq=False)
class Prediction:
    """One target's predictions for the rows of a batch.

    Attributes:
        values: int64 [batch] class ids (classification), bool [batch, classes] (multilabel), float32 [batch, outputs]
            in the table's own units (regression), int64 [batch, length] token ids, padded (generation), or float32
            [batch, 1 + segments, 4], each (start, end, class, probability) in steps of the column, of which the first
            is the whole column, (0, its length, -1, 0), and class -1 is padding (tagging). float32 [batch, columns,
            size] are places in a shared space, NaN where the column is absent (contrastive). float32 [batch, size] is
            the code that all columns are decoded from (reconstruction).
        probabilities: float32 [batch, classes] (classification: rows sum to 1; multilabel: each on its own), None for
            a regression and for a text.
        scores: float32 [batch], the log probability of each row's text (generation).
        likelihood: float32 [batch, 3], of the true text where it was given: the summed log probability of its tokens,
            each after the true ones before it; how many of them were the likeliest there; and their number
            (generation). Of tags: of the true ones, by the column's length (tagging).
        padding_id: What fills the padding of `values` (generation, tagging); None where the rows have one shape.
        alternatives: int64 [batch, texts, length] token ids, padded: the next best texts after `values`, in the order
            of preference, where more than one is asked for (generation).
        alternative_scores: float32 [batch, texts], their log probabilities; -inf where there are no more (generation).
        columns: Per input column what it is taken to hold, for every row, whether the table's cell is there or not
            (reconstruction). Images: float32 [batch, channels, height, width] in [0, 1]. Texts: int64 [batch, length]
            token ids, the column's padding id from the end on. Numbers: float32 [batch] in the table's units.
            Categories: int64 [batch] ids, never 0. Dates: float64 [batch], seconds since 1970. Audio: float32 [batch,
            bands, frames], the log-mel spectrogram, standardised per clip.
        measures: What the head measured against the truth, float32 [batch, columns] each, in the order of
            Target.members and NaN where the true cell is not known (reconstruction): `errors` and `hits` of each
            column, and those of the training mean, `mean_errors` and `mean_hits`. An error is the mean squared one in
            the column's standard deviations, of pixels, numbers, dates and log-mel; nats per token or category. A hit
            is the share of tokens that is correct, or whether the category is.
    """

    values: Shaped[Tensor, "batch ..."]
    probabilities: Float[Tensor, "batch classes"] | None = None
    scores: Float[Tensor, " batch"] | None = None
    likelihood: Float[Tensor, "batch 3"] | None = None
    padding_id: int | None = None
    alternatives: Shaped[Tensor, "batch texts length"] | None = None
    alternative_scores: Float[Tensor, "batch texts"] | None = None
    columns: Mapping[str, Shaped[Tensor, "batch ..."]] = field(default_factory=dict)
    measures: Mapping[str, Float[Tensor, "batch columns"]] = field(default_factory=dict)

    @staticmethod
    def from_arrays(
        arrays: Mapping[str, Tensor], *, padding_id: int | None = None, columns: Mapping[str, Tensor] | None = None
    ) -> Prediction:
        """A head's arrays, which are named as the fields are."""
        return Prediction(
            arrays["values"],
            arrays.get("probabilities"),
            arrays.get("scores"),
            arrays.get("likelihood"),
            padding_id,
            arrays.get("alternatives"),
            arrays.get("alternative_scores"),
            {} if columns is None else columns,
            {name: arrays[name] for name in _MEASURES if name in arrays},
        )

    def cpu(self) -> Prediction:
        """A copy in main memory."""
        return self._each(lambda tensor: tensor.cpu())

    def __getitem__(self, rows: Shaped[Tensor, " rows"] | slice) -> Prediction:
        return self._each(lambda tensor: tensor[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Prediction:
        def changed(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else change(tensor)

        return Prediction(
            change(self.values),
            changed(self.probabilities),
            changed(self.scores),
            changed(self.likelihood),
            self.padding_id,
            changed(self.alternatives),
            changed(self.alternative_scores),
            {name: change(column) for name, column in self.columns.items()},
            {name: change(measure) for name, measure in self.measures.items()},
        )

    @staticmethod
    def concatenate(parts: list[Prediction]) -> Prediction:
        """The rows of several batches, in order; texts are padded to the longest."""
        values, padding_id = [part.values for part in parts], parts[0].padding_id
        alternatives: list[Tensor | None] = [part.alternatives for part in parts]
        if padding_id is not None:
            values = _padded(values, padding_id)
            known = [each for each in alternatives if each is not None]
            alternatives = list(_padded(known, padding_id, dim=2))

        def joined(tensors: list[Tensor | None]) -> Tensor | None:
            results = [tensor for tensor in tensors if tensor is not None]
            return torch.cat(results) if results else None

        return Prediction(
            torch.cat(values),
            joined([part.probabilities for part in parts]),
            joined([part.scores for part in parts]),
            joined([part.likelihood for part in parts]),
            padding_id,
            joined(alternatives),
            joined([part.alternative_scores for part in parts]),
            {name: torch.cat([part.columns[name] for part in parts]) for name in parts[0].columns},
            {name: torch.cat([part.measures[name] for part in parts]) for name in parts[0].measures},
        )


def _padded(values: list[Tensor], padding_id: int, dim: int = 1) -> list[Tensor]:
    """Texts or segments, padded to the most along a dimension."""
    longest = max((each.shape[dim] for each in values), default=0)
    return [
        F.pad(each, (*[0, 0] * (each.dim() - 1 - dim), 0, longest - each.shape[dim]), value=padding_id)
        for each in values
    ]
