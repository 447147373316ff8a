"""Reconstructing input columns from what is made of them: autoencoders, denoising, masked modeling, and variational
ones.

One code stands between all columns and each of them (Ngiam et al., "Multimodal Deep Learning", ICML 2011): a bottleneck
that has to say what all of them have in common and what is each one's own. A transformer with a learned query for each
place of each column reads it, and a linear map per kind makes pixels, log-mel, tokens, categories or numbers of what it
gives. So one head serves any mix of columns, and a code of a few columns reconstructs the others.

With `memory: tokens` there is no bottleneck: the positions that `mask` masks are reconstructed from all that is
left (BERT, Devlin et al., 2019; SimMIM, Xie et al., 2022; MultiMAE, Bachmann et al., 2022). See `corruption`.

`variational` makes the code a distribution (MVAE; Wu and Goodman, 2018): each present column's summary gives a
Gaussian, the code is their product with the prior, and the loss is the mean of the negative evidence bounds of all
columns, of each one alone and of a random subset (their section 2.2), so that every column learns to speak for itself.
The price is as many passes through the decoder, and blurrier columns. `beta_warmup` lets the divergence weigh in slowly
(Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016, section 3.1; linear as in Sonderby et al.,
"Ladder Variational Autoencoders", NIPS 2016, section 2.2). How far the training has come is told by the batch, as what
is drawn for a row is: a function of the epoch and no state, so that accumulation and resume stay exact.

Each column's error is in its own standard deviations or nats, averaged over what it holds: an image of 50,000 pixels
weighs as much as one number beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysense.config.limits import Fraction, FractionBelowOne, NonNegativeFloat, PositiveFloat, PositiveInt
from polysense.core.batch import Batch, ColumnBatch, Truth
from polysense.core.logs import get_logger
from polysense.core.pytree import pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Column
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.column_decoder import ColumnDecoder
from polysense.nn.head import Head, HeadConfig
from polysense.nn.layers.draws import normals, uniforms
from polysense.nn.layers.gaussians import divergence, product_of_experts
from polysense.nn.layers.query_decoder import QueryDecoder
from polysense.nn.layers.transformer import sinusoidal
from polysense.tasks.reconstruction.corruption import Corruption
from polysense.tasks.reconstruction.decoders import DecodingLimits, column_decoder
from polysense.tasks.reconstruction.mean import MeanPredictor, correct
from polysense.tasks.reconstruction.record import ReconstructionTarget

__all__ = ["ReconstructionHead", "ReconstructionHeadConfig"]

_log = get_logger("polysense.nn.heads")

_CODE_TOKENS = 4
"""What a code is unfolded to: attention to one token alone would give every place the same."""
_MOST_LOG_VARIANCE = 10.0


@dataclass(frozen=True, kw_only=True)
class ReconstructionHeadConfig(HeadConfig):
    """Input columns reconstructed from one code: an autoencoder, denoising, masked or variational.

    Attributes:
        masked_cells: Not used; the decoder's size is `num_layers`.
        dropout: In the decoder.
        memory: What the decoder reads. code: a bottleneck of `code_size` numbers. tokens: all fused tokens, for masked
            modeling, where there is nothing to copy.
        code_size: Numbers in the code.
        num_layers: Layers of the decoder.
        num_heads: Its attention heads; must divide model.width.
        mask: Fraction of each column's patches, spans and tokens that are masked in training, 0 to below 1; the loss
            covers only masked positions. Numbers, dates and categories are masked as whole cells at the same rate. 0:
            nothing is masked and everything is reconstructed.
        cell_mask_rate: How often a whole cell is masked in training and reconstructed from the rest of the row, as
            imputation requires. One cell always stays present.
        noise: Standard deviation of the noise on pixels, samples, numbers and dates in training, in the column's own.
        replace: Share of tokens and categories that are replaced by random ones in training.
        variational: Whether the code is a distribution, the product of the columns' Gaussian experts.
        beta: Weight of the KL divergence of a variational code from the prior, in nats; reconstruction errors are
            means.
        beta_warmup: Share of the training over which beta rises linearly, epoch by epoch, from near 0 to its value; 0:
            it has its value from the start, where it can switch the code off before that says anything.
        column_weights: Per column the weight of its error; a column that is not here has 1.
        patch_size: Height and width of an image patch in pixels; auto takes the smallest multiple of 4 that gives 200
            patches or fewer.
        max_tokens: Maximum number of tokens of a text that are reconstructed; null takes the 95th percentile of the
            training texts, 512 at most.
        max_seconds: Maximum seconds of audio that are reconstructed; null takes the 95th percentile of the training
            clips.
        num_mels: Bands of the log-mel spectrogram in which audio is reconstructed.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"reconstruction"})
    type: Literal["reconstruction"] = "reconstruction"
    dropout: FractionBelowOne = 0.0
    memory: Literal["code", "tokens"] = "code"
    code_size: PositiveInt = 64
    num_layers: PositiveInt = 2
    num_heads: PositiveInt = 4
    mask: FractionBelowOne = 0.0
    cell_mask_rate: FractionBelowOne = 0.0
    noise: NonNegativeFloat = 0.0
    replace: Fraction = 0.0
    variational: bool = False
    beta: NonNegativeFloat = 0.001
    beta_warmup: Fraction = 0.0
    column_weights: Mapping[str, float] = field(default_factory=dict)
    patch_size: PositiveInt | Literal["auto"] = "auto"
    max_tokens: PositiveInt | None = None
    max_seconds: PositiveFloat | None = None
    num_mels: PositiveInt = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden:
            raise ConfigError(f"hidden: a reconstruction has none; set it to 0 (found {self.hidden}), or num_layers")
        if self.variational and self.memory == "tokens":
            raise ConfigError("variational: the code is what is drawn; set memory: code, or variational: false")
        for column, weight in self.column_weights.items():
            if not 0 <= weight < math.inf:
                raise ConfigError(f"column_weights.{column} must be at least 0; found {weight}")


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class ReconstructionTruth(Truth):
    """What is reconstructed: the input columns as they are before anything of them is masked.

    Attributes:
        columns: Those that have storage.
        keys: The batch's RNG keys, which say what was hidden; None where nothing was.
        progress: The share of the training that is done; None outside of it.
    """

    columns: Mapping[str, ColumnBatch]
    keys: Int[Tensor, " batch"] | None = None
    progress: Float[Tensor, ""] | None = None


@pytree_node
@dataclass(frozen=True, eq=False)
class CodeTerm:
    """A code and what is decoded from it.

    Attributes:
        code: The code; of a variational one the mean.
        log_variance: Of a variational code.
        sources: Which input columns it comes from.
        tokens: Per member of the target a token for each place.
    """

    code: Float[Tensor, "batch size"]
    log_variance: Float[Tensor, "batch size"] | None
    sources: Bool[Tensor, "batch columns"]
    tokens: tuple[Float[Tensor, "batch _ width"], ...]


@pytree_node
@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What is made of the fused columns.

    Attributes:
        terms: Of the loss: one of all columns; of a variational code in training also one of each column alone and one
            of a random subset.
    """

    terms: tuple[CodeTerm, ...]


class ReconstructionHead(Head[Reconstruction], config=ReconstructionHeadConfig):
    """Reconstructs columns.

    Attributes:
        decoders: Per member of the target how its tokens are read.
        corruption: What training masks.
        mean: The mean predictor, which it has to beat.
    """

    reads_cells = True
    target: ReconstructionTarget

    def __init__(self, config: ReconstructionHeadConfig, target: ReconstructionTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self._config, self._width = config, width
        self.can_be_drawn = config.variational
        self.corruption = Corruption(
            mask=config.mask, cell_mask_rate=config.cell_mask_rate, noise=config.noise, replace=config.replace
        )
        self.decoders = nn.ModuleList()
        self._columns: tuple[str, ...] = ()
        self._weights: tuple[float, ...] = ()
        self._cut_reported = False

    def connect(self, columns: Sequence[Column]) -> None:
        config, width, members = self._config, self._width, self.target.members
        named = {column.name: column for column in columns}
        if missing := [name for name in members if name not in named]:
            raise ConfigError(
                f"target {self.target.name!r} reconstructs {', '.join(members)}, and {missing[0]!r} is no input column "
                f"(there are: {', '.join(named)})"
            )
        if unknown := [name for name in config.column_weights if name not in members]:
            raise ConfigError(
                f"column_weights: {unknown[0]!r} is none of the reconstructed columns {', '.join(members)}"
            )
        self._weights = tuple(config.column_weights.get(name, 1.0) for name in members)
        if not any(self._weights):
            raise ConfigError("column_weights: all are 0, so nothing would be learned; give a column more than 0")
        limits = DecodingLimits(config.patch_size, config.max_tokens, config.max_seconds, config.num_mels)
        self.decoders.extend(column_decoder(named[name], width, limits) for name in members)
        self.mean = MeanPredictor(self._each())
        self._columns = tuple(named)
        queries = sum(decoder.num_positions for decoder in self._each())
        self.query_decoder = QueryDecoder(queries, width, config.num_layers, config.num_heads, config.dropout)
        if config.variational:
            self.experts = nn.ModuleList(nn.Linear(width, 2 * config.code_size) for _ in columns)
        else:
            self.norm = nn.LayerNorm(width)
        if config.memory == "tokens":
            self.token_norm = nn.LayerNorm(width)
            self.position_scale = nn.Parameter(torch.full((width,), 0.3))
            return
        if not config.variational:
            self.code = nn.Linear(width, config.code_size)
        self.unfold = nn.Linear(config.code_size, _CODE_TOKENS * width)

    @property
    def learns_from_columns(self) -> bool:
        return True

    def fit_columns(self, batches: Sequence[Mapping[str, ColumnBatch]]) -> None:
        self.mean.fit(batches)

    @property
    def selection_metric(self) -> str | None:
        """Where cells are masked in training, to be imputed from the others, it is how well that works.

        Reconstructing a cell from itself goes on getting better long after.
        """
        return "imputed_skill" if len(self._columns) > 1 and self.corruption.cell_mask_rate > 0 else None

    # --- the inputs ----------------------------------------------------------------------------------------------

    def truth(self, batch: Batch) -> ReconstructionTruth:
        columns = {name: column for name, column in batch.columns.items() if column.lengths.shape[1]}
        present = torch.zeros(len(batch), dtype=torch.bool, device=batch.device)
        for name in self.target.members:
            present = present | batch.columns[name].present
        return ReconstructionTruth(present=present, columns=columns, keys=batch.keys, progress=batch.progress)

    def corrupt(self, batch: Batch) -> Batch:
        """The batch with positions and cells masked; as it is where there are no keys to draw from."""
        if batch.keys is None or self.corruption.is_none:
            return batch
        corrupted = self.corruption(self._each(), self.truth(batch).columns, batch.keys)
        return replace(batch, columns={**batch.columns, **corrupted})

    # --- the decoder ---------------------------------------------------------------------------------------------

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Reconstruction:
        sources = torch.stack([fused.columns[name].present for name in self._columns], dim=1)
        if self._config.variational:
            # What is sampled in training comes with the truth; without keys there, nothing is.
            if self.training:
                keys = truth.keys if isinstance(truth, ReconstructionTruth) else None
                members = [self._columns.index(name) for name in self.target.members]
                return self._variational(fused, _terms(sources, members, keys), keys)
            return self._variational(fused, [sources], context.keys if context.is_drawn else None)
        code = self.norm(fused.pooled)
        if self._config.memory == "code":
            code = self.code(code)
            memory, mask = self._unfolded(code)
        else:
            memory, mask = self._tokens(fused, code)
        return Reconstruction(
            (CodeTerm(code.float(), None, sources, self._of_members(self.query_decoder(memory, mask))),)
        )

    def _of_members(self, tokens: Float[Tensor, "batch positions width"]) -> tuple[Tensor, ...]:
        """Each member's own tokens."""
        return torch.split(tokens.float(), [decoder.num_positions for decoder in self._each()], dim=1)

    def _unfolded(
        self, code: Float[Tensor, "rows size"]
    ) -> tuple[Float[Tensor, "rows tokens width"], Bool[Tensor, "rows tokens"]]:
        memory = self.unfold(code).view(len(code), _CODE_TOKENS, self._width)
        return memory, torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)

    def _tokens(
        self, fused: Fused, summary: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch memory width"], Bool[Tensor, "batch memory"]]:
        """The summary, and all columns' tokens with their positions."""
        joined = fused.joined()
        values, mask = joined.values, joined.mask
        tokens = self.token_norm(values) + self.position_scale * sinusoidal(fused.positions(), values.shape[2])
        tokens = tokens.masked_fill(~mask[:, :, None], 0.0)
        memory = torch.cat([summary[:, None].to(tokens.dtype), tokens], dim=1)
        return memory, torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)

    def _variational(
        self, fused: Fused, sources: Sequence[Bool[Tensor, "batch columns"]], samples: Int[Tensor, " batch"] | None
    ) -> Reconstruction:
        """A term of the loss for each choice of columns; codes are means, or drawn where there are keys."""
        size = self._config.code_size
        opinions = torch.stack(
            [
                expert(fused.columns[name].summary).float()
                for name, expert in zip(self._columns, self.experts, strict=True)
            ],
            dim=1,
        )
        means, log_variances = opinions[..., :size], opinions[..., size:].clamp(-_MOST_LOG_VARIANCE, _MOST_LOG_VARIANCE)
        codes, experts = [], []
        for index, chosen in enumerate(sources):
            mean, log_variance = product_of_experts(means, log_variances, chosen)
            experts.append((mean, log_variance))
            noise = 0.0 if samples is None else normals(samples, size, f"code {index}") * (0.5 * log_variance).exp()
            codes.append(mean + noise)
        tokens = self.query_decoder(*self._unfolded(torch.cat(codes))).chunk(len(codes))
        return Reconstruction(
            tuple(
                CodeTerm(mean, log_variance, chosen, self._of_members(own))
                for (mean, log_variance), chosen, own in zip(experts, sources, tokens, strict=True)
            )
        )

    # --- the loss ------------------------------------------------------------------------------------------------

    def loss(self, output: Reconstruction, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ReconstructionTruth)
        scored = self._scored(truth)
        weights = self._weights
        if self._hides(truth):  # a number is masked in some rows only, and is to weigh no less than an image
            each = zip(self._each(), weights, strict=True)
            weights = tuple(weight / self.corruption.share_scored(decoder) for decoder, weight in each)
        total = output.terms[0].tokens[0][:, 0, 0] * 0.0  # in the graph even where nothing is scored
        for index, term in enumerate(output.terms):
            for decoder, weight, tokens in zip(self._each(), weights, term.tokens, strict=True):
                name = decoder.column.name
                if name not in scored:
                    continue
                error = decoder.losses(tokens, truth.columns[name], scored[name])
                if self._config.variational and index > 0:  # a subset speaks for its own columns alone
                    error = error * term.sources[:, self._columns.index(name)]
                total = total + weight * error
            if term.log_variance is not None:
                total = total + self._beta(truth) * divergence(term.code, term.log_variance) * truth.present
        if self.training:
            idle = [p for decoder in self._each() if decoder.column.name not in scored for p in decoder.parameters()]
            total = total + sum((parameter.flatten()[:1].sum() for parameter in idle), total.new_zeros(())) * 0.0
        return {"loss": RowLoss(total / len(output.terms), self.count(truth)["loss"])}

    def _beta(self, truth: ReconstructionTruth) -> float | Float[Tensor, ""]:
        """The divergence's weight at this point of the training."""
        beta, warmup = self._config.beta, self._config.beta_warmup
        if not warmup or not self.training or truth.progress is None:
            return beta
        return beta * (truth.progress / warmup).clamp(max=1.0)

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        """The weights of the columns whose true cells are known."""
        assert isinstance(truth, ReconstructionTruth)
        total = torch.zeros(len(truth.present), device=truth.present.device)
        for decoder, weight in zip(self._each(), self._weights, strict=True):
            if (column := truth.columns.get(decoder.column.name)) is not None:
                total = total + weight * decoder.known(column).any(dim=1)
        return {"loss": total}

    def _hides(self, truth: ReconstructionTruth) -> bool:
        """Whether something was hidden from the encoders."""
        return self.training and truth.keys is not None

    def _scored(self, truth: ReconstructionTruth) -> dict[str, Bool[Tensor, "batch positions"]]:
        """Per column that the batch has, the positions that the loss is on: the known, or the masked ones."""
        there = [decoder for decoder in self._each() if decoder.column.name in truth.columns]
        known = {decoder.column.name: decoder.known(truth.columns[decoder.column.name]) for decoder in there}
        if not self.corruption.mask or not self._hides(truth):
            return known
        assert truth.keys is not None
        masked_cells = self.corruption.masked_cells(self._each(), truth.columns, truth.keys)
        return {name: known_positions & masked_cells[name].positions for name, known_positions in known.items()}

    # --- predictions ---------------------------------------------------------------------------------------------

    def predict(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        """The code as `values`, and what each member holds as `column_0`, `column_1`, ..."""
        term = self.read(fused, context).terms[0]
        arrays = {"values": term.code}
        for index, (decoder, tokens) in enumerate(zip(self._each(), term.tokens, strict=True)):
            arrays[f"column_{index}"] = decoder.predict(tokens)
        return arrays

    def brief(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        return {"values": self.read(fused, context).terms[0].code}

    def score(self, fused: Fused, context: RowContext, truth: Truth) -> dict[str, Tensor]:
        """Each column's error where it is known, its hits, and the mean predictor's."""
        assert isinstance(truth, ReconstructionTruth)
        self._tell_of_cuts(truth)
        errors, predicted = [], {}
        for decoder, tokens in zip(self._each(), self.read(fused, context).terms[0].tokens, strict=True):
            column = truth.columns.get(decoder.column.name)
            if column is None:
                errors.append(torch.full_like(tokens[:, 0, 0], torch.nan))
                continue
            known = decoder.known(column)
            errors.append(decoder.losses(tokens, column, known).masked_fill(~known.any(dim=1), torch.nan))
            if decoder.has_classes:
                predicted[decoder.column.name] = decoder.predict(tokens)
        measures = {"errors": torch.stack(errors, dim=1)}
        if columns := {name: truth.columns[name] for name in self.target.members if name in truth.columns}:
            measures["hits"] = correct(self._each(), predicted, columns)
            measures["mean_errors"], measures["mean_hits"] = self.mean.errors(columns), self.mean.correct(columns)
        else:
            nothing = torch.full_like(measures["errors"], torch.nan)
            measures |= dict.fromkeys(("hits", "mean_errors", "mean_hits"), nothing)
        return measures

    def compared(self, columns: Mapping[str, ColumnBatch]) -> dict[str, Tensor]:
        read = {decoder.column.name: decoder for decoder in self.mean.decoders}
        each = {name: decoder.compared(columns[name]) for name, decoder in read.items() if name in columns}
        return {name: value for name, value in each.items() if value is not None}

    def _tell_of_cuts(self, truth: ReconstructionTruth) -> None:
        for decoder in self._each():
            column = truth.columns.get(decoder.column.name)
            if column is None or self._cut_reported:
                continue
            if number := int(decoder.num_cut(column).item()):
                self._cut_reported = True
                _log.info(
                    "column %r: %d of the first %d rows are longer than the reconstructed %s; they are scored on "
                    "that part",
                    decoder.column.name,
                    number,
                    int(column.present.sum()),
                    decoder.most,
                )

    def _each(self) -> list[ColumnDecoder]:
        decoders: list[ColumnDecoder] = list(self.decoders)  # type: ignore[arg-type]
        return decoders


def _terms(present: Bool[Tensor, "batch columns"], alone: Sequence[int], keys: Tensor | None) -> list[Tensor]:
    """Which columns each term of the loss is made of; without keys one term, of all that are there."""
    if keys is None or present.shape[1] == 1:
        return [present]
    terms = [present]
    for index in alone:
        only = torch.zeros_like(present)
        only[:, index] = present[:, index]
        terms.append(only)
    draws = uniforms(keys, present.shape[1], "subset")
    # Each with probability one half, and one of those that are there at least.
    first = torch.zeros_like(present).scatter_(1, torch.where(present, draws, 2.0).argmin(dim=1, keepdim=True), True)
    terms.append(present & ((draws < 0.5) | first))
    return terms
