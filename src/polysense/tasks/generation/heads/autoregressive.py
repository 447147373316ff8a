"""What every head that writes token by token shares: a way of decoding, which can be changed after training."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from polysense.core.batch import TargetBatch
from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.core.tokens import Fused
from polysense.nn.decoding import DecodingConfig, Stepper, Written
from polysense.nn.decoding.greedy import GreedyConfig
from polysense.nn.head import Head, HeadConfig

__all__ = ["WritingHead", "WritingHeadConfig", "token_likelihood", "token_losses"]

_MOST_TEXTS = 4096  # with a vocabulary of 8000 their log probabilities alone are 128 MiB


@dataclass(frozen=True, kw_only=True)
class WritingHeadConfig(HeadConfig, ABC):
    """A head that writes a text token by token.

    Attributes:
        without: Input columns that this head does not read, to which they are as if they were never there: the caption
            that another target reads and this one is to write.
        decoding: How a text is written. It can be changed after training, for each prediction.
    """

    writes: ClassVar[bool] = True
    without: tuple[str, ...] = ()
    decoding: DecodingConfig = field(default_factory=GreedyConfig)

    @property
    def excluded(self) -> tuple[str, ...]:
        return self.without

    def for_column(self, column: str) -> HeadConfig:
        return replace(self, without=tuple(name for name in self.without if name == column))


class WritingHead(Head, ABC):
    """Writes a text from the fused tokens.

    Args:
        config: Its settings.
        target: The fitted target.

    Attributes:
        decoder: How it writes.
    """

    def __init__(self, config: WritingHeadConfig, target: Target) -> None:
        super().__init__(target, config.loss_weight)
        self.without = config.without
        self.decoder = config.decoding.build(target)

    def redecoded(self, decoding: DecodingConfig) -> WritingHead:
        """The same head, weights shared, that writes in another way."""
        other = copy.copy(self)
        other.decoder = decoding.build(self.target)
        return other

    @abstractmethod
    def stepper(self, fused: Fused, max_new_tokens: int, *, use_cache: bool = True) -> Stepper:
        """The model at the beginning of a text, one row for each row of what was fused.

        Args:
            fused: What is written from.
            max_new_tokens: How often it will be called at most.
            use_cache: Whether to keep what is computed for the past, or to compute it anew for each token: slow, for
                comparison.
        """

    @abstractmethod
    def likelihood(self, fused: Fused, target: TargetBatch) -> Float[Tensor, "batch 3"]:
        """Of the true text, see `Prediction.likelihood`."""

    def read(self, fused: Fused, target: TargetBatch | None = None, *, write: bool = True) -> Prediction:
        values, scores = torch.zeros(len(fused.pooled), 0, dtype=torch.int64, device=fused.pooled.device), None
        alternatives, alternative_scores = None, None
        if write:
            written = self.write(fused)
            values, scores = written.ids[:, 0], written.scores[:, 0]
            if written.ids.shape[1] > 1:
                alternatives, alternative_scores = written.ids[:, 1:], written.scores[:, 1:]
        return Prediction(
            values,
            scores=scores,
            likelihood=None if target is None else self.likelihood(fused, target),
            padding_id=self.target.padding_id,
            alternatives=alternatives,
            alternative_scores=alternative_scores,
        )

    @torch.no_grad()
    def write(self, fused: Fused, *, use_cache: bool = True) -> Written:
        """Texts from the fused tokens, each row's as if it were alone; arguments as in `stepper`."""
        limit = self.decoder.max_new_tokens
        written = [
            self.decoder.write(self.stepper(part, limit, use_cache=use_cache), _rows(part))
            for part in self._parts(fused)
        ]
        return written[0] if len(written) == 1 else Written.concatenate(written, self.target.padding_id)

    def stream(self, fused: Fused, row: int) -> Iterator[list[int]]:
        """The text of one row while it is written, the same that `write` gives.

        Args:
            fused: All rows of the batch: what is computed, to the last bits, depends on their number.
            row: Position in the batch.

        Yields:
            After each token the ids that will not change any more: what all texts that are followed have in common.
            The last is the whole text.
        """
        parts = self._parts(fused)
        index, row = divmod(row, len(parts[0].pooled))
        steps = self._steps(parts[index])
        latest = None
        while True:
            # Not around a yield: what is done between two tokens is none of this mode's business.
            with torch.inference_mode():
                written = next(steps, None)
            if written is None:
                break
            texts = written.ids[row][~written.scores[row].isneginf()]
            common = (texts == texts[:1]).all(dim=0).long().cumprod(dim=0).sum()
            latest = texts[0]
            yield _unpadded(latest[:common], self.target.padding_id)
            if len(texts) == 1 and self.target.end_id in latest:
                break
        assert latest is not None
        yield _unpadded(latest, self.target.padding_id)

    def _steps(self, fused: Fused) -> Iterator[Written]:
        yield from self.decoder.steps(self.stepper(fused, self.decoder.max_new_tokens), _rows(fused))

    def _parts(self, fused: Fused) -> list[Fused]:
        """The batch in as many parts as keep what is followed at once small enough for memory."""
        rows, at_once = len(fused.pooled), max(1, _MOST_TEXTS // self.decoder.texts_at_once)
        if at_once >= rows:
            return [fused]
        return [_part(fused, slice(start, start + at_once)) for start in range(0, rows, at_once)]


def token_losses(
    outputs: Float[Tensor, "batch length vocabulary"],
    wanted: Int[Tensor, "batch length"],
    padding_id: int,
    label_smoothing: float = 0.0,
) -> Float[Tensor, " batch"]:
    """Each row's cross entropy, summed over its tokens.

    Args:
        outputs: Logits.
        wanted: The token that each is to predict; padding where none.
        padding_id: Fills the padding.
        label_smoothing: Share of the target probability that is spread over all tokens.
    """
    losses = F.cross_entropy(
        outputs.float().flatten(0, 1),
        wanted.flatten(),
        reduction="none",
        ignore_index=padding_id,
        label_smoothing=label_smoothing,
    )
    return losses.view(wanted.shape).sum(dim=1)


def token_likelihood(
    outputs: Float[Tensor, "batch length vocabulary"], wanted: Int[Tensor, "batch length"], padding_id: int
) -> Float[Tensor, "batch 3"]:
    """What `Prediction.likelihood` holds; arguments as of `token_losses`."""
    counted = wanted != padding_id
    right = (outputs.argmax(dim=-1) == wanted) & counted
    log_probability = -token_losses(outputs, wanted, padding_id)
    return torch.stack([log_probability, right.sum(dim=1).float(), counted.sum(dim=1).float()], dim=1)


def _part(fused: Fused, rows: slice) -> Fused:
    part: Fused = pytree.tree_map(lambda tensor: None if tensor is None else tensor[rows], fused)
    return part


def _unpadded(ids: Int[Tensor, " length"], padding_id: int) -> list[int]:
    return [token for token in ids.tolist() if token != padding_id]


def _rows(fused: Fused) -> Int[Tensor, " batch"]:
    """Row indices; without a table, positions in the batch."""
    if fused.rows is not None:
        return fused.rows.to(fused.pooled.device)
    return torch.arange(len(fused.pooled), device=fused.pooled.device)
