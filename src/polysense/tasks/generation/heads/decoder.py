"""A text, generated token by token: captions, answers, transcripts and translations are this one head with other
columns.

A causal transformer decoder (Vaswani et al., "Attention Is All You Need", 2017, section 3) whose every layer attends to
the fused tokens of all columns, and to the fused summary, which is always there: so a row with nothing present is
written from the learned summary. Encoders of images and audio clips need not know positions, a decoder that follows
them does; so the memory gets sinusoidal positions within each column, as much of them as training finds useful.

Training conditions on the true text (teacher forcing), and its loss is a sum over tokens and their number, which keeps
accumulation exact for texts of unequal length. Writing keeps keys and values of what is written (see `layers.decoder`);
how the next token is chosen is the decoding's business (see `nn.decoding`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, NonNegativeFloat, PositiveInt
from polysense.core.batch import Truth
from polysense.core.rows import RowContext
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.decoding import IncrementalDecoder
from polysense.nn.layers.decoder import DecoderBlock
from polysense.nn.layers.linear_cross_entropy import linear_cross_entropy
from polysense.nn.layers.packed import Packing, pack
from polysense.nn.layers.transformer import TransformerBlock, sinusoidal
from polysense.tasks.generation.heads.autoregressive import TokenHead, TokenOutput, WritingHeadConfig
from polysense.tasks.generation.heads.bag_of_tokens import BagOfTokens
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["GenerationHead", "GenerationHeadConfig"]

_PADDING_THAT_COSTS = 0.1


@dataclass(frozen=True, kw_only=True)
class GenerationHeadConfig(WritingHeadConfig):
    """A transformer decoder that generates a text, attending to the tokens of all columns.

    Attributes:
        hidden: Not used; leave it at 0.
        dropout: Within the decoder.
        num_layers: Transformer blocks of the decoder.
        num_heads: Attention heads; must divide the model's width.
        label_smoothing: Share of the target probability that is spread over all tokens.
        bag_weight: Weight of the loss by which the fused summary predicts which tokens the text has; 0: none.
        tie_embeddings: Whether a token's embedding is also what its logit is read with.
        packing: Whether the texts of a training batch are packed into one sequence without padding: true, false, or
            auto: if more than a tenth of the positions would be padding, and not on a GPU, where the check would
            require a synchronization. Losses and gradients are equal up to rounding.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    type: Literal["generation"] = "generation"
    num_layers: PositiveInt = 2
    num_heads: PositiveInt = 4
    label_smoothing: FractionBelowOne = 0.1
    bag_weight: NonNegativeFloat = 0.0
    tie_embeddings: bool = True
    packing: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden:
            raise ConfigError(f"hidden: a generation head has none; set it to 0 (found {self.hidden}), or num_layers")


class GenerationHead(TokenHead, config=GenerationHeadConfig):
    """Writes a text from the fused tokens."""

    never: Tensor

    def __init__(self, config: GenerationHeadConfig, target: GenerationTarget, width: int) -> None:
        bag = BagOfTokens(target) if config.bag_weight else None
        super().__init__(config, target, bag, config.bag_weight)
        self.bag_readout = None
        if bag is not None:
            self.bag_readout = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, target.vocabulary_size))
        self.label_smoothing, self.packing = config.label_smoothing, config.packing
        self.embedding = nn.Embedding(target.vocabulary_size, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.embedding_dropout = nn.Dropout(config.dropout)
        self.memory_norm = nn.LayerNorm(width)
        self.pooled_norm = nn.LayerNorm(width)
        self.position_scale = nn.Parameter(torch.full((width,), 0.3))
        self.blocks = nn.ModuleList(
            DecoderBlock(width, config.num_heads, config.dropout) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.output = None if config.tie_embeddings else nn.Linear(width, target.vocabulary_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(target.vocabulary_size))
        never = torch.zeros(target.vocabulary_size)
        never[list(target.never_generated)] = -math.inf
        self.register_buffer("never", never, persistent=False)
        # The prompt is encoded in both directions, so it is part of the memory and not a prefix of the text.
        self.prompt_block = (
            TransformerBlock(width, config.num_heads, dropout=config.dropout) if target.typical_prompt else None
        )

    # --- teacher forcing -----------------------------------------------------------------------------------------

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> TokenOutput:
        assert isinstance(truth, GenerationTruth), (
            f"{self.target.name}: without the true text there is nothing to go on from"
        )
        memory, mask = self._memory(fused, context)
        given, expected = truth.values[:, :-1], truth.values[:, 1:]
        packing = self._packing(truth, mask) if self.training else None
        if packing is not None:
            tokens = self._embed_at(packing.pack(given), packing.positions)
            for block in self.blocks:
                tokens = block.packed(tokens, memory, packing)  # type: ignore[operator]
            return TokenOutput(
                losses=packing.unpack(self._losses(tokens, packing.pack(expected))), bag=self._bag(fused)
            )
        tokens = self._embed(given, 0)
        for block in self.blocks:
            tokens = block(tokens, memory, mask)
        if self.training:
            losses = self._losses(tokens.flatten(0, 1), expected.flatten())
            return TokenOutput(losses=losses.view(expected.shape), bag=self._bag(fused))
        return TokenOutput(logits=self._logits(tokens), bag=self._bag(fused))

    def _bag(self, fused: Fused) -> Float[Tensor, "batch tokens"] | None:
        """Which tokens the text has, by the fused summary."""
        if self.bag is None or self.bag_readout is None:
            return None
        return self.bag.log_probabilities(self.bag_readout(fused.pooled)[:, None, self.bag.ids])

    def _packing(self, target: GenerationTruth, memory_mask: Bool[Tensor, "batch memory"]) -> Packing | None:
        """How the batch's texts are packed; None where padding costs less."""
        rows, longest = target.values.shape[0], target.values.shape[1] - 1
        lengths = (target.lengths - 1).clamp(min=0)
        if self.packing == "auto":
            if lengths.device.type != "cpu" or lengths.sum().item() > (1 - _PADDING_THAT_COSTS) * rows * longest:
                return None
        elif not self.packing:
            return None
        packing = pack(lengths, longest, memory_mask)
        return packing if len(packing.index) else None

    # --- writing -------------------------------------------------------------------------------------------------

    def decoder(
        self, fused: Fused, context: RowContext, max_new_tokens: int, *, use_cache: bool = True
    ) -> IncrementalDecoder:
        memory, mask = self._memory(fused, context)
        return _IncrementalDecoder(self, memory, mask, max_new_tokens, use_cache)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _memory(
        self, fused: Fused, context: RowContext
    ) -> tuple[Float[Tensor, "batch memory width"], Bool[Tensor, "batch memory"]]:
        """What is attended to: the summary, all columns' tokens with their positions, and the prompt."""
        joined = fused.joined()
        values, mask = joined.values, joined.mask
        tokens = self.memory_norm(values) + self.position_scale * sinusoidal(fused.positions(), values.shape[2])
        tokens = tokens.masked_fill(~mask[:, :, None], 0.0)
        memory = torch.cat([self.pooled_norm(fused.pooled)[:, None].to(tokens.dtype), tokens], dim=1)
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        prompt = context.inputs.get("prompt")
        if self.prompt_block is None or prompt is None:
            return memory, mask
        ids = prompt.values[:, 0].long()
        there = torch.arange(ids.shape[1], device=ids.device) < prompt.lengths
        read = self.prompt_block(self._embed(ids, 0), there).masked_fill(~there[:, :, None], 0.0)
        return torch.cat([memory, read.to(memory.dtype)], dim=1), torch.cat([mask, there], dim=1)

    def _embed(self, ids: Int[Tensor, "batch length"], position: int) -> Float[Tensor, "batch length width"]:
        """Embeddings with their positions, the first of which is `position`."""
        return self._embed_at(ids, torch.arange(position, position + ids.shape[1], device=ids.device))

    def _embed_at(self, ids: Int[Tensor, "*shape"], positions: Int[Tensor, " length"]) -> Float[Tensor, "*shape width"]:
        width = self.embedding.embedding_dim
        embedded: Tensor = self.embedding_dropout(self.embedding(ids) * math.sqrt(width) + sinusoidal(positions, width))
        return embedded

    def _losses(
        self, tokens: Float[Tensor, "tokens width"], expected: Int[Tensor, " tokens"]
    ) -> Float[Tensor, " tokens"]:
        return linear_cross_entropy(
            self.norm(tokens),
            self.embedding.weight if self.output is None else self.output.weight,
            self.bias,
            expected,
            ignore=self.target.padding_id,
            label_smoothing=self.label_smoothing,
        )

    def _logits(self, tokens: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length vocabulary"]:
        weight = self.embedding.weight if self.output is None else self.output.weight
        return F.linear(self.norm(tokens), weight, self.bias)


class _IncrementalDecoder(IncrementalDecoder):
    """From each row's last token to the log probabilities of its next one.

    Args:
        head: Whose decoder it is.
        memory: What is attended to.
        mask: Which of it is valid.
        max_new_tokens: Tokens that there must be room for.
        use_cache: Whether to keep keys and values.
    """

    def __init__(
        self, head: GenerationHead, memory: Tensor, mask: Tensor, max_new_tokens: int, use_cache: bool
    ) -> None:
        self._head, self._memory, self._mask = head, memory, mask
        self._blocks: list[DecoderBlock] = list(head.blocks)  # type: ignore[arg-type]
        self._caches = [block.start(memory, mask, max_new_tokens) for block in self._blocks] if use_cache else []
        self._position = 0
        # What each step needs alike is computed once: at a small width it would take a tenth of the step.
        width = head.embedding.embedding_dim
        self._scale, self._bias = math.sqrt(width), head.bias + head.never
        self._positions = sinusoidal(torch.arange(max_new_tokens, device=memory.device), width)
        self._weight = head.embedding.weight if head.output is None else head.output.weight
        self._past = torch.zeros(len(memory), 0, dtype=torch.int64, device=memory.device)

    def __call__(self, token: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        hidden = self._with_cache(token) if self._caches else self._without(token)
        self._position += 1
        return F.linear(self._head.norm(hidden), self._weight, self._bias).float().log_softmax(dim=-1)

    def _with_cache(self, token: Tensor) -> Tensor:
        hidden: Tensor = self._head.embedding(token) * self._scale + self._positions[self._position]
        for block, cache in zip(self._blocks, self._caches, strict=True):
            hidden = block.step(hidden, cache, self._position)
        return hidden

    def _without(self, token: Tensor) -> Tensor:
        self._past = torch.cat([self._past, token[:, None]], dim=1)
        hidden = self._head._embed(self._past, 0)
        for block in self._blocks:
            hidden = block(hidden, self._memory, self._mask)
        return hidden[:, -1]

    def reorder(self, rows: Int[Tensor, " new_rows"]) -> None:
        if not self._caches:
            self._memory, self._mask, self._past = self._memory[rows], self._mask[rows], self._past[rows]
        for cache in self._caches:
            cache.reorder(rows, self._position)
