"""A text, written token by token: captions, answers, transcripts and translations are this one head with other columns.

A causal transformer decoder (Vaswani et al., "Attention Is All You Need", 2017, section 3) whose every layer attends to
the fused tokens of all columns, and to the fused summary, which is always there: so a row with nothing present is
written from the learned summary. Encoders of images and sounds need not know positions, a decoder that follows them
does; so the memory gets sinusoidal positions within each column, as much of them as training finds useful.

Training goes on from the true text (teacher forcing), and its loss is a sum over tokens and their number, which keeps
accumulation exact for texts of unequal length. Writing keeps keys and values of what is written (see `layers.decoder`).
Beam search keeps the `beam_size` likeliest beginnings and in the end takes the best by log P / ((5 + length) / 6)^a
(Wu et al., "Google's Neural Machine Translation System", 2016, section 7): it finds likelier texts, at `beam_size`
times the cost, and for open-ended ones likelier is not always better.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.heads.base import Head, HeadConfig
from polysense.nn.layers.decoder import DecoderBlock
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["GenerationHead", "GenerationHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class GenerationHeadConfig(HeadConfig):
    """A transformer decoder that writes a text, attending to the tokens of all columns.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        hidden: Of no use here: leave it at 0.
        dropout: Within the decoder.
        num_layers: Transformer blocks of the decoder.
        num_heads: Attention heads; must divide the model's width.
        label_smoothing: Share of the target probability that is spread over all tokens.
        tie_embeddings: Whether a token's embedding is also what its logit is read with.
        beam_size: Beginnings that are followed at once; 1 always takes the likeliest token.
        length_penalty: With several beams, how much longer texts are favoured: a in log P / ((5 + length) / 6)^a.
        max_new_tokens: Where a text that has not ended is cut; auto is the length of the longest training text.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.GENERATION})
    writes: ClassVar[bool] = True
    type: Literal["generation"] = "generation"
    num_layers: int = 2
    num_heads: int = 4
    label_smoothing: float = 0.1
    tie_embeddings: bool = True
    beam_size: int = 1
    length_penalty: float = 0.6
    max_new_tokens: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if self.hidden:
            raise ConfigError(f"hidden: a generation head has none; set it to 0 (found {self.hidden}), or num_layers")
        for name, least in (("num_layers", 1), ("num_heads", 1), ("beam_size", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}; found {getattr(self, name)}")
        if self.max_new_tokens != "auto" and self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be at least 1, or auto; found {self.max_new_tokens}")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is a share from 0 to below 1; found {self.label_smoothing}")

    def build(self, target: Target, width: int) -> GenerationHead:
        self.check(target)
        return GenerationHead(self, target, width)


class GenerationHead(Head):
    """Writes a text from the fused tokens."""

    never: Tensor

    def __init__(self, config: GenerationHeadConfig, target: Target, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.label_smoothing = config.label_smoothing
        self.beam_size, self.length_penalty = config.beam_size, config.length_penalty
        self.max_new_tokens = target.max_length if config.max_new_tokens == "auto" else config.max_new_tokens
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
        never[[target.padding_id, target.begin_id]] = -math.inf
        self.register_buffer("never", never, persistent=False)

    # --- teacher forcing -----------------------------------------------------------------------------------------

    def forward(
        self, fused: Fused, target: TargetBatch | None = None
    ) -> Float[Tensor, "batch length_less_one vocabulary"]:
        """Logits of each token of the true text after the first, from those before it."""
        assert target is not None, f"{self.target.name}: without the true text there is nothing to go on from"
        memory, mask = self._memory(fused)
        tokens = self._embed(target.values[:, :-1], 0)
        for block in self.blocks:
            tokens = block(tokens, memory, mask)
        return self._logits(tokens)

    def row_losses(self, outputs: Float[Tensor, "batch ..."], target: TargetBatch) -> Float[Tensor, " batch"]:
        return self._token_losses(outputs, target, self.label_smoothing)

    def row_counts(self, target: TargetBatch) -> Float[Tensor, " batch"]:
        assert target.lengths is not None
        return ((target.lengths - 1).clamp(min=0) * target.present).float()

    def _token_losses(self, outputs: Tensor, target: TargetBatch, smoothing: float) -> Float[Tensor, " batch"]:
        wanted = target.values[:, 1:]
        losses = F.cross_entropy(
            outputs.float().flatten(0, 1),
            wanted.flatten(),
            reduction="none",
            ignore_index=self.target.padding_id,
            label_smoothing=smoothing,
        )
        return losses.view(wanted.shape).sum(dim=1) * target.present

    def predict(self, outputs: Float[Tensor, "batch ..."]) -> Prediction:
        """The likeliest token at each position after the true ones."""
        return Prediction(outputs.argmax(dim=-1), padding_id=self.target.padding_id)

    # --- writing -------------------------------------------------------------------------------------------------

    def read(self, fused: Fused, target: TargetBatch | None = None, *, write: bool = True) -> Prediction:
        rows = fused.pooled.shape[0]
        texts, scores = torch.zeros(rows, 0, dtype=torch.int64, device=fused.pooled.device), None
        if write:
            texts, scores = self.write(fused)
        likelihood = None if target is None else self._likelihood(fused, target)
        return Prediction(texts, None, scores, likelihood, self.target.padding_id)

    def _likelihood(self, fused: Fused, target: TargetBatch) -> Float[Tensor, "batch 3"]:
        outputs = self(fused, target)
        wanted = target.values[:, 1:]
        right = (outputs.argmax(dim=-1) == wanted) & (wanted != self.target.padding_id)
        return torch.stack(
            [
                -self._token_losses(outputs, target, 0.0),
                (right.sum(dim=1) * target.present).float(),
                self.row_counts(target),
            ],
            dim=1,
        )

    @torch.no_grad()
    def write(
        self, fused: Fused, *, use_cache: bool = True
    ) -> tuple[Int[Tensor, "batch length"], Float[Tensor, " batch"]]:
        """Texts from the fused tokens, each as if it were alone.

        Args:
            fused: What they are written from.
            use_cache: Whether to keep keys and values, or to compute them anew for each token: slow, for comparison.

        Returns:
            Token ids with the end token, padded; and each text's log probability.
        """
        memory, mask = self._memory(fused)
        if self.beam_size == 1:
            return self._greedy(_Writer(self, memory, mask, use_cache), len(memory))
        memory, mask = (tensor.repeat_interleave(self.beam_size, dim=0) for tensor in (memory, mask))
        return self._beams(_Writer(self, memory, mask, use_cache), len(fused.pooled))

    def _greedy(self, writer: _Writer, rows: int) -> tuple[Tensor, Tensor]:
        target, device = self.target, self.bias.device
        token = torch.full((rows,), target.begin_id, device=device)
        done = torch.zeros(rows, dtype=torch.bool, device=device)
        scores = torch.zeros(rows, device=device)
        written = []
        for _ in range(self.max_new_tokens):
            best, chosen = writer(token).max(dim=-1)
            scores = scores + best.masked_fill(done, 0.0)
            token = chosen.masked_fill(done, target.padding_id)
            written.append(token)
            done = done | (token == target.end_id)
            if done.all():
                break
        return torch.stack(written, dim=1), scores

    def _beams(self, writer: _Writer, rows: int) -> tuple[Tensor, Tensor]:
        target, device, beams = self.target, self.bias.device, self.beam_size
        token = torch.full((rows * beams,), target.begin_id, device=device)
        done = torch.zeros(rows, beams, dtype=torch.bool, device=device)
        lengths = torch.zeros(rows, beams, device=device)
        # All beams begin alike: only the first one counts until they differ.
        scores = torch.full((rows, beams), -math.inf, device=device)
        scores[:, 0] = 0.0
        written = torch.zeros(rows, beams, 0, dtype=torch.int64, device=device)
        # A text that has ended stays as it is, among those that go on.
        stays = torch.full_like(self.never, -math.inf)
        stays[target.padding_id] = 0.0
        first = torch.arange(rows, device=device)[:, None] * beams
        for _ in range(self.max_new_tokens):
            steps = writer(token).view(rows, beams, -1)
            steps = torch.where(done[:, :, None], stays, steps)
            scores, chosen = (scores[:, :, None] + steps).flatten(1).topk(beams, dim=1)
            origin, picked = chosen // steps.shape[2], chosen % steps.shape[2]
            writer.reorder((first + origin).flatten())
            written = torch.cat([written.gather(1, origin[:, :, None].expand_as(written)), picked[:, :, None]], dim=2)
            done, lengths = done.gather(1, origin), lengths.gather(1, origin)
            lengths = lengths + ~done
            done = done | (picked == target.end_id)
            token = picked.flatten()
            if done.all():
                break
        best = (scores / ((5 + lengths) / 6) ** self.length_penalty).argmax(dim=1, keepdim=True)
        return written.gather(1, best[:, :, None].expand(-1, -1, written.shape[2]))[:, 0], scores.gather(1, best)[:, 0]

    # --- parts ---------------------------------------------------------------------------------------------------

    def _memory(self, fused: Fused) -> tuple[Float[Tensor, "batch memory width"], Bool[Tensor, "batch memory"]]:
        """What is attended to: the summary, then all columns' tokens with their positions."""
        values, mask = fused.tokens.values, fused.tokens.mask
        positions = torch.zeros(values.shape[1], dtype=torch.int64, device=values.device)
        for start, end in fused.spans.values():
            positions[start:end] = torch.arange(end - start, device=values.device)
        tokens = self.memory_norm(values) + self.position_scale * sinusoidal(positions, values.shape[2])
        tokens = tokens.masked_fill(~mask[:, :, None], 0.0)
        memory = torch.cat([self.pooled_norm(fused.pooled)[:, None].to(tokens.dtype), tokens], dim=1)
        return memory, torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)

    def _embed(self, ids: Int[Tensor, "batch length"], position: int) -> Float[Tensor, "batch length width"]:
        """Embeddings with their positions, the first of which is `position`."""
        width = self.embedding.embedding_dim
        positions = torch.arange(position, position + ids.shape[1], device=ids.device)
        embedded: Tensor = self.embedding_dropout(self.embedding(ids) * math.sqrt(width) + sinusoidal(positions, width))
        return embedded

    def _logits(self, tokens: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length vocabulary"]:
        weight = self.embedding.weight if self.output is None else self.output.weight
        return F.linear(self.norm(tokens), weight, self.bias)


class _Writer:
    """From each row's last token to the log probabilities of its next one.

    Args:
        head: Whose decoder it is.
        memory: What is attended to.
        mask: Which of it is valid.
        use_cache: Whether to keep keys and values.
    """

    def __init__(self, head: GenerationHead, memory: Tensor, mask: Tensor, use_cache: bool) -> None:
        self._head, self._memory, self._mask = head, memory, mask
        self._blocks: list[DecoderBlock] = list(head.blocks)  # type: ignore[arg-type]
        self._caches = [block.start(memory, head.max_new_tokens) for block in self._blocks] if use_cache else []
        self._position = 0
        self._past = torch.zeros(len(memory), 0, dtype=torch.int64, device=memory.device)

    def __call__(self, token: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        head = self._head
        step: Callable[[Tensor], Tensor] = self._with_cache if self._caches else self._without
        hidden = step(token[:, None])
        self._position += 1
        logits: Tensor = head._logits(hidden)[:, 0].float() + head.never
        return logits.log_softmax(dim=-1)

    def _with_cache(self, token: Tensor) -> Tensor:
        hidden = self._head._embed(token, self._position)
        for block, cache in zip(self._blocks, self._caches, strict=True):
            hidden = block.step(hidden, cache, self._position, self._mask)
        return hidden

    def _without(self, token: Tensor) -> Tensor:
        self._past = torch.cat([self._past, token], dim=1)
        hidden = self._head._embed(self._past, 0)
        for block in self._blocks:
            hidden = block(hidden, self._memory, self._mask)
        return hidden[:, -1:]

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Makes each row go on from another one's past."""
        self._past = self._past[rows] if self._past.shape[1] else self._past
        for cache in self._caches:
            cache.reorder(rows, self._position)
