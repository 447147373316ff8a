"""What every head that generates token by token shares: a way of decoding, which can be changed after training."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import Truth
from polysense.core.pytree import map_tensors, pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Target
from polysense.core.tokens import Fused
from polysense.nn.decoding import DecodingConfig, Generated, IncrementalDecoder
from polysense.nn.decoding.greedy import GreedyConfig
from polysense.nn.head import BaseHead, Head, HeadConfig
from polysense.tasks.generation.heads.bag_of_tokens import BagOfTokens
from polysense.tasks.generation.heads.bag_of_tokens_head import BagOfTokensHead
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["TokenHead", "TokenOutput", "WritingHead", "WritingHeadConfig", "num_tokens"]

O = TypeVar("O")  # noqa: E741  # a head's output

_MOST_TEXTS = 4096  # with a vocabulary of 8000 their log probabilities alone are 128 MiB


@dataclass(frozen=True, kw_only=True)
class WritingHeadConfig(HeadConfig, ABC):
    """A head that generates a text token by token.

    Attributes:
        exclude: Input columns that this head does not read, to which they are as if they were never there: the caption
            that another target reads and this one generates.
        decoding: Decoding strategy. It can be changed after training, for each prediction.
    """

    exclude: tuple[str, ...] = ()
    decoding: DecodingConfig = field(default_factory=GreedyConfig)

    @property
    def strategy(self) -> DecodingConfig:
        return self.decoding

    @property
    def learns_alone(self) -> bool:
        return True

    def alone(self, target: Target, width: int) -> BaseHead:
        return BagOfTokensHead(GenerationTarget.of(target), width, self.loss_weight)

    def with_strategy(self, strategy: DecodingConfig) -> HeadConfig:
        return replace(self, decoding=strategy)

    @property
    def excluded(self) -> tuple[str, ...]:
        return self.exclude

    def for_column(self, column: str) -> HeadConfig:
        return replace(self, exclude=tuple(name for name in self.exclude if name == column))


@pytree_node
@dataclass(frozen=True, eq=False)
class TokenOutput:
    """What a decoder says of each token of the true text after the first, from those before it.

    Attributes:
        losses: In training each token's, which need not keep logits over a vocabulary.
        logits: Elsewhere.
        bag: Log probabilities of the tokens that a text may have anywhere, where these are trained too.
    """

    losses: Float[Tensor, "batch length"] | None = None
    logits: Float[Tensor, "batch length vocabulary"] | None = None
    bag: Float[Tensor, "batch tokens"] | None = None


class WritingHead(Head[O], ABC):
    """Writes a text from the fused tokens.

    Args:
        config: Its settings.
        target: The fitted target.

    Attributes:
        strategy: How it writes.
    """

    target: GenerationTarget

    def __init__(self, config: WritingHeadConfig, target: GenerationTarget) -> None:
        super().__init__(target, config.loss_weight)
        self.excludes = config.exclude
        self.strategy = config.decoding.build(target)

    def redecoded(self, strategy: DecodingConfig) -> WritingHead[O]:
        other = copy.copy(self)
        other.strategy = strategy.build(self.target)
        return other

    @abstractmethod
    def decoder(
        self, fused: Fused, context: RowContext, max_new_tokens: int, *, use_cache: bool = True
    ) -> IncrementalDecoder:
        """The model at the beginning of a text, one row for each row of what was fused.

        Args:
            fused: What is written from.
            context: Of the rows; a prompt is among its inputs.
            max_new_tokens: How often it will be called at most.
            use_cache: Whether to keep what is computed for the past, or to compute it anew for each token: slow, for
                comparison.
        """

    @abstractmethod
    def likelihood(self, fused: Fused, context: RowContext, truth: GenerationTruth) -> Float[Tensor, "batch 3"]:
        """Of the true text: the summed log probability of its tokens, each after the true ones before it; how many
        of them were the most likely there; and their number."""

    def predict(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        generated = self.write(fused, context)
        arrays = {"values": generated.ids[:, 0], "scores": generated.scores[:, 0]}
        if generated.ids.shape[1] > 1:
            arrays |= {"alternatives": generated.ids[:, 1:], "alternative_scores": generated.scores[:, 1:]}
        return arrays

    def brief(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        return {"values": torch.zeros(len(fused.pooled), 0, dtype=torch.int64, device=fused.pooled.device)}

    def score(self, fused: Fused, context: RowContext, truth: Truth) -> dict[str, Tensor]:
        assert isinstance(truth, GenerationTruth)
        return {"likelihood": self.likelihood(fused, context, truth)}

    @torch.no_grad()
    def write(self, fused: Fused, context: RowContext, *, use_cache: bool = True) -> Generated:
        """Texts from the fused tokens, each row's as if it were alone; arguments as in `decoder`."""
        limit = self.strategy.max_new_tokens
        generated = [
            self.strategy.write(self.decoder(part, of_part, limit, use_cache=use_cache), of_part.rows)
            for part, of_part in self._parts(fused, context)
        ]
        return generated[0] if len(generated) == 1 else Generated.concatenate(generated, self.target.padding_id)

    def stream(self, fused: Fused, context: RowContext, row: int) -> Iterator[list[int]]:
        """The text of one row while it is written, the same that `write` gives.

        Args:
            fused: All rows of the batch: what is computed, to the last bits, depends on their number.
            context: Of all rows.
            row: Position in the batch.

        Yields:
            After each token the ids that will not change any more: what all texts that are followed have in common.
            The last is the whole text.
        """
        parts = self._parts(fused, context)
        index, row = divmod(row, len(parts[0][0].pooled))
        part, of_part = parts[index]
        steps = self._steps(part, of_part)
        latest = None
        while True:
            # Not around a yield: what is done between two tokens is none of this mode's business.
            with torch.inference_mode():
                generated = next(steps, None)
            if generated is None:
                break
            texts = generated.ids[row][~generated.scores[row].isneginf()]
            common = (texts == texts[:1]).all(dim=0).long().cumprod(dim=0).sum()
            latest = texts[0]
            yield _unpadded(latest[:common], self.target.padding_id)
            if len(texts) == 1 and self.target.end_id in latest:
                break
        assert latest is not None
        yield _unpadded(latest, self.target.padding_id)

    def _steps(self, fused: Fused, context: RowContext) -> Iterator[Generated]:
        yield from self.strategy.steps(self.decoder(fused, context, self.strategy.max_new_tokens), context.rows)

    def _parts(self, fused: Fused, context: RowContext) -> list[tuple[Fused, RowContext]]:
        """The batch in as many equal parts as keep what is followed at once small enough for memory."""
        rows, at_once = len(fused.pooled), max(1, _MOST_TEXTS // self.strategy.texts_at_once)
        if at_once >= rows:
            return [(fused, context)]
        while rows % at_once:  # a smaller last part would change its rows' last bits
            at_once -= 1
        starts = [slice(start, start + at_once) for start in range(0, rows, at_once)]
        return [(_part(fused, chosen), _part(context, chosen)) for chosen in starts]


class TokenHead(WritingHead[TokenOutput], ABC):
    """A head that says of each true token how likely it is after those before it.

    Args:
        config: Its settings.
        target: The fitted target.
        bag: Of the tokens that are predicted beside, see `bag_of_tokens`; None: none are.
        bag_weight: Of their loss.

    Attributes:
        label_smoothing: Share of the target probability that is spread over all tokens.
    """

    label_smoothing: float

    def __init__(
        self, config: WritingHeadConfig, target: GenerationTarget, bag: BagOfTokens | None = None, bag_weight: float = 0
    ) -> None:
        super().__init__(config, target)
        self.bag, self._bag_weight = bag, bag_weight

    @property
    def loss_weights(self) -> Mapping[str, float]:
        return {"loss": 1.0} if self.bag is None else {"loss": 1.0, "bag": self._bag_weight}

    @property
    def learns_from_texts(self) -> bool:
        return self.bag is not None

    def fit_texts(self, texts: Iterable[Sequence[int]]) -> None:
        assert self.bag is not None, "no bag of tokens was asked for"
        self.bag.fit(texts)

    def expected(self, truth: GenerationTruth) -> Int[Tensor, "batch length"]:
        """The token that each output is to predict; padding where none."""
        return truth.values[:, 1:]

    def loss(self, output: TokenOutput, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, GenerationTruth)
        if output.losses is not None:
            losses = output.losses.sum(dim=1)
        else:
            assert output.logits is not None
            losses = _losses(output.logits, self.expected(truth), self.target.padding_id, self.label_smoothing)
        counts = self.count(truth)
        rows = {"loss": RowLoss(losses * truth.present, counts["loss"])}
        if self.bag is not None:
            assert output.bag is not None
            rows["bag"] = RowLoss(self.bag.losses(output.bag, truth), counts["bag"])
        return rows

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        assert isinstance(truth, GenerationTruth)
        counts = {"loss": (self.expected(truth) != self.target.padding_id).sum(dim=1).float() * truth.present}
        return counts if self.bag is None else {**counts, "bag": self.bag.count(truth)}

    def likelihood(self, fused: Fused, context: RowContext, truth: GenerationTruth) -> Float[Tensor, "batch 3"]:
        logits, expected, padding = (
            self.read(fused, context, truth).logits,
            self.expected(truth),
            self.target.padding_id,
        )
        assert logits is not None
        counted = expected != padding
        right = (logits.argmax(dim=-1) == expected) & counted
        measures = [-_losses(logits, expected, padding), right.sum(dim=1).float(), counted.sum(dim=1).float()]
        return torch.stack(measures, dim=1) * truth.present[:, None]


def num_tokens(truth: Truth) -> Float[Tensor, " batch"]:
    """What each row's text adds to the divisor: its tokens after the begin token."""
    assert isinstance(truth, GenerationTruth)
    return ((truth.lengths - 1).clamp(min=0) * truth.present).float()


def _losses(
    logits: Float[Tensor, "batch length vocabulary"],
    expected: Int[Tensor, "batch length"],
    padding_id: int,
    smoothing: float = 0.0,
) -> Float[Tensor, " batch"]:
    """Each row's cross entropy, summed over its tokens."""
    losses = F.cross_entropy(
        logits.float().flatten(0, 1),
        expected.flatten(),
        reduction="none",
        ignore_index=padding_id,
        label_smoothing=smoothing,
    )
    return losses.view(expected.shape).sum(dim=1)


T = TypeVar("T")


def _part(tree: T, rows: slice) -> T:
    return map_tensors(lambda tensor: tensor[rows] if tensor.dim() else tensor, tree)


def _unpadded(ids: Int[Tensor, " length"], padding_id: int) -> list[int]:
    return [token for token in ids.tolist() if token != padding_id]
