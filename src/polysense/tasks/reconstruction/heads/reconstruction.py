"""Restoring input columns from what is made of them: autoencoders, denoising, masked modelling, and variational ones.

One code stands between all columns and each of them (Ngiam et al., "Multimodal Deep Learning", ICML 2011): a bottleneck
that has to say what all of them have in common and what is each one's own. A transformer with a learned query for each
place of each column reads it, and a linear map per kind makes pixels, log-mel, tokens, categories or numbers of what it
gives. So one head serves any mix of columns, and a code of a few columns restores the others.

With `memory: tokens` there is no bottleneck: what is restored are the places that `mask` hid, from all that is left
(BERT, Devlin et al., 2019; SimMIM, Xie et al., 2022; MultiMAE, Bachmann et al., 2022). See `restoring.corruption`.

`variational` makes the code a distribution (MVAE; Wu and Goodman, 2018): each present column's summary gives a
Gaussian, the code is their product with the prior, and the loss is the mean of the negative evidence bounds of all
columns, of each one alone and of a random subset (their section 2.2), so that every column learns to speak for itself.
The price is as many passes through the decoder, and blurrier columns. `beta_warmup` lets the divergence weigh in slowly
(Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016, section 3.1; linear as in Sonderby et al.,
"Ladder Variational Autoencoders", NIPS 2016, section 2.2). How far the training has come is told by the batch, as what
is drawn for a row is: a function of the epoch and no state, so that accumulation and resume stay exact.

Each column's error is in its own standard deviations or nats, averaged over what it holds: a picture of 50,000 pixels
weighs as much as one number beside it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.core.batch import Batch, ColumnBatch, TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Column, Target
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.column_decoder import ColumnDecoder
from polysense.nn.head import Head, HeadConfig
from polysense.nn.layers.draws import normals, uniforms
from polysense.nn.layers.gaussians import divergence, product_of_experts
from polysense.nn.layers.query_decoder import QueryDecoder
from polysense.nn.layers.transformer import sinusoidal
from polysense.nn.truth import with_items
from polysense.tasks.reconstruction.corruption import Corruption
from polysense.tasks.reconstruction.decoders import DecodingLimits, column_decoder
from polysense.tasks.reconstruction.mean import MeanPredictor, has_classes, hits

__all__ = ["ReconstructionHead", "ReconstructionHeadConfig"]

_log = logging.getLogger("polysense.nn.heads")

_CODE_TOKENS = 4
"""What a code is unfolded to: attention to one token alone would give every place the same."""
_MOST_LOG_VARIANCE = 10.0


@dataclass(frozen=True, kw_only=True)
class ReconstructionHeadConfig(HeadConfig):
    """Input columns restored from one code: an autoencoder, denoising, masked or variational.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        hidden: Not used; the decoder's size is `num_layers`.
        dropout: In the decoder.
        memory: What the decoder reads. code: a bottleneck of `code_size` numbers. tokens: all fused tokens, for masked
            modelling, where there is nothing to copy.
        code_size: Numbers in the code.
        num_layers: Layers of the decoder.
        num_heads: Its attention heads; must divide model.width.
        mask: Share of each column's patches, spans and tokens that are hidden in training, 0 to below 1; the loss is on
            these alone. A number, date or category is absent as often. 0: nothing is hidden, everything is restored.
        hide: How often in training a whole cell is made absent and has to be restored from the row's others, which is
            what filling in missing cells asks. One cell always stays.
        noise: Standard deviation of the noise on pixels, samples, numbers and dates in training, in the column's own.
        replace: Share of tokens and categories that are replaced by random ones in training.
        variational: Whether the code is a distribution, the product of what each column says of it.
        beta: Of a variational code: the weight of its divergence from the prior, in nats, beside mean errors.
        beta_warmup: Share of the training over which beta rises linearly, epoch by epoch, from near 0 to its value; 0:
            it has its value from the start, where it can switch the code off before that says anything.
        column_weights: Per column the weight of its error; a column that is not here has 1.
        patch_size: Height and width of a picture's patch in pixels; auto takes the smallest multiple of 4 that gives
            200 patches or fewer.
        max_tokens: Tokens of a text that are restored; null takes as many as 95% of the training texts have, 512 at
            most.
        max_seconds: Seconds of a sound that are restored; null takes as many as 95% of the training sounds have.
        num_mels: Bands of the log-mel spectrogram that a sound is restored as.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.RECONSTRUCTION})
    restores: ClassVar[bool] = True
    type: Literal["reconstruction"] = "reconstruction"
    dropout: float = 0.0
    memory: Literal["code", "tokens"] = "code"
    code_size: int = 64
    num_layers: int = 2
    num_heads: int = 4
    mask: float = 0.0
    hide: float = 0.0
    noise: float = 0.0
    replace: float = 0.0
    variational: bool = False
    beta: float = 0.001
    beta_warmup: float = 0.0
    column_weights: Mapping[str, float] = field(default_factory=dict)
    patch_size: int | Literal["auto"] = "auto"
    max_tokens: int | None = None
    max_seconds: float | None = None
    num_mels: int = 64

    def __post_init__(self) -> None:
        if self.hidden:
            raise ConfigError(f"hidden: a reconstruction has none; set it to 0 (found {self.hidden}), or num_layers")
        for name, least in (("code_size", 1), ("num_layers", 1), ("num_heads", 1), ("num_mels", 1), ("max_tokens", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}; found {value}")
        for name in ("mask", "hide"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is a share from 0 to below 1; found {getattr(self, name)}")
        if not 0 <= self.replace <= 1:
            raise ConfigError(f"replace is a share from 0 to 1; found {self.replace}")
        if not 0 <= self.beta_warmup <= 1:
            raise ConfigError(f"beta_warmup is a share of the training, 0 to 1; found {self.beta_warmup}")
        for name in ("noise", "beta"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be at least 0; found {getattr(self, name)}")
        if self.patch_size != "auto" and self.patch_size < 1:
            raise ConfigError(f"patch_size must be at least 1, or auto; found {self.patch_size}")
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise ConfigError(f"max_seconds must be above 0; found {self.max_seconds}")
        if self.variational and self.memory == "tokens":
            raise ConfigError("variational: the code is what is drawn; set memory: code, or variational: false")
        for column, weight in self.column_weights.items():
            if not 0 <= weight < math.inf:
                raise ConfigError(f"column_weights.{column} must be at least 0; found {weight}")

    def build(self, target: Target, width: int) -> ReconstructionHead:
        self.check(target)
        return ReconstructionHead(self, target, width)


class ReconstructionHead(Head):
    """Restores columns.

    Its outputs are one tensor [batch, tokens, width], for each term of the loss (one, unless it is variational and in
    training) first the code, folded and padded, and then a token for each place of each column.

    Attributes:
        decoders: Per member of the target how its tokens are read.
        corruption: What training hides.
        mean: The mean predictor, which it has to beat.
    """

    def __init__(self, config: ReconstructionHeadConfig, target: Target, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self._config, self._width = config, width
        self.corruption = Corruption(mask=config.mask, hide=config.hide, noise=config.noise, replace=config.replace)
        self.decoders = nn.ModuleList()
        self._columns: tuple[str, ...] = ()
        self._weights: tuple[float, ...] = ()
        self._cut_told = False

    def connect(self, columns: Sequence[Column]) -> None:
        config, width, members = self._config, self._width, self.target.members
        named = {column.name: column for column in columns}
        if missing := [name for name in members if name not in named]:
            raise ConfigError(
                f"target {self.target.name!r} restores {', '.join(members)}, and {missing[0]!r} is no input column "
                f"(there are: {', '.join(named)})"
            )
        if unknown := [name for name in config.column_weights if name not in members]:
            raise ConfigError(f"column_weights: {unknown[0]!r} is none of the restored columns {', '.join(members)}")
        self._weights = tuple(config.column_weights.get(name, 1.0) for name in members)
        if not any(self._weights):
            raise ConfigError("column_weights: all are 0, so nothing would be learnt; give a column more than 0")
        limits = DecodingLimits(config.patch_size, config.max_tokens, config.max_seconds, config.num_mels)
        self.decoders.extend(column_decoder(named[name], width, limits) for name in members)
        self.mean = MeanPredictor(self._each())
        self._columns = tuple(named)
        queries = sum(decoder.num_places for decoder in self._each())
        self.decoder = QueryDecoder(queries, width, config.num_layers, config.num_heads, config.dropout)
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
        return "imputed_skill" if len(self._columns) > 1 and self.corruption.hide > 0 else None

    # --- the inputs ----------------------------------------------------------------------------------------------

    def corrupted(self, batch: Batch) -> Batch:
        """The batch as the encoders get it in training; as it is where there are no keys to draw from."""
        if batch.keys is None or self.corruption.is_none:
            return batch
        corrupted = self.corruption(self._each(), with_items(batch.columns), batch.keys)
        return replace(batch, columns={**batch.columns, **corrupted})

    # --- the decoder ---------------------------------------------------------------------------------------------

    def forward(self, fused: Fused, target: TargetBatch | None = None) -> Float[Tensor, "batch tokens width"]:
        """The code and the columns' tokens, for each term of the loss."""
        if self._config.variational:
            outputs = self._variational(fused, None if target is None else target.keys)
        else:
            if self._config.memory == "code":
                code = self.code(self.norm(fused.pooled))
                memory, mask = self._unfolded(code)
            else:
                code = self.norm(fused.pooled)
                memory, mask = self._tokens(fused, code)
            outputs = torch.cat([self._folded(code), self.decoder(memory, mask).float()], dim=1)
        if self.training:
            # What this way of reading has no use for is touched all the same, or DDP waits for its gradients.
            idle = fused.pooled.float().sum(dim=1) + fused.tokens.values.float().sum(dim=(1, 2))
            idle = idle + sum(summary.float().sum(dim=1) for summary in fused.unimodal.values())
            outputs = outputs + idle[:, None, None] * 0.0
        return outputs

    def _unfolded(
        self, code: Float[Tensor, "rows size"]
    ) -> tuple[Float[Tensor, "rows tokens width"], Bool[Tensor, "rows tokens"]]:
        memory = self.unfold(code).view(len(code), _CODE_TOKENS, self._width)
        return memory, torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)

    def _tokens(
        self, fused: Fused, summary: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch memory width"], Bool[Tensor, "batch memory"]]:
        """The summary, and all columns' tokens with their positions."""
        values, mask = fused.tokens.values, fused.tokens.mask
        positions = torch.zeros(values.shape[1], dtype=torch.int64, device=values.device)
        for start, end in fused.spans.values():
            positions[start:end] = torch.arange(end - start, device=values.device)
        tokens = self.token_norm(values) + self.position_scale * sinusoidal(positions, values.shape[2])
        tokens = tokens.masked_fill(~mask[:, :, None], 0.0)
        memory = torch.cat([summary[:, None].to(tokens.dtype), tokens], dim=1)
        return memory, torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)

    def _variational(self, fused: Fused, keys: Tensor | None) -> Float[Tensor, "batch tokens width"]:
        """The same for the terms of the loss: all columns, in training also each alone and a random subset."""
        size, draws = self._config.code_size, keys if self.training else None
        opinions = torch.stack(
            [expert(fused.unimodal[name]).float() for name, expert in zip(self._columns, self.experts, strict=True)],
            dim=1,
        )
        means, log_variances = opinions[..., :size], opinions[..., size:].clamp(-_MOST_LOG_VARIANCE, _MOST_LOG_VARIANCE)
        terms = _terms(self._present(fused), [self._columns.index(name) for name in self.target.members], draws)
        numbers, codes = [], []
        for index, present in enumerate(terms):
            mean, log_variance = product_of_experts(means, log_variances, present)
            code = mean
            if draws is not None:
                code = mean + normals(draws, size, f"code {index}") * (0.5 * log_variance).exp()
            codes.append(code)
            numbers.append(self._folded(torch.cat([mean, log_variance, present.float()], dim=1)))
        tokens = self.decoder(*self._unfolded(torch.cat(codes))).float()
        parts = [torch.cat(pair, dim=1) for pair in zip(numbers, tokens.chunk(len(terms)), strict=True)]
        return torch.cat(parts, dim=1)

    def _present(self, fused: Fused) -> Bool[Tensor, "batch columns"]:
        """Which columns are there; a learned token may stand in for an absent one, which is not the column."""
        found = []
        for name in self._columns:
            there = (fused.unimodal[name] != 0).any(dim=1)
            if fused.rows is not None:
                lengths = fused.lengths.get(name)
                there = there & (lengths > 0).any(dim=1) if lengths is not None else torch.zeros_like(there)
            found.append(there)
        return torch.stack(found, dim=1)

    # --- the outputs as one tensor -------------------------------------------------------------------------------

    @property
    def _num_numbers(self) -> int:
        """Numbers beside the tokens: the code, or mean, log variance and which columns they come from."""
        if self._config.variational:
            return 2 * self._config.code_size + len(self._columns)
        return self._size

    @property
    def _num_rows(self) -> int:
        return -(-self._num_numbers // self._width)

    def _folded(self, numbers: Float[Tensor, "batch size"]) -> Float[Tensor, "batch rows width"]:
        room = self._num_rows * self._width - numbers.shape[1]
        return nn.functional.pad(numbers.float(), (0, room)).view(len(numbers), self._num_rows, self._width)

    def _read_terms(
        self, outputs: Float[Tensor, "batch tokens width"]
    ) -> list[tuple[Float[Tensor, "batch size"], list[Float[Tensor, "batch places width"]]]]:
        """Per term its numbers and each column's tokens."""
        places = [decoder.num_places for decoder in self._each()]
        found = []
        for term in torch.split(outputs, self._num_rows + sum(places), dim=1):
            first, *tokens = torch.split(term, [self._num_rows, *places], dim=1)
            found.append((first.flatten(1)[:, : self._num_numbers], tokens))
        return found

    # --- the loss ------------------------------------------------------------------------------------------------

    def row_losses(self, outputs: Float[Tensor, "batch ..."], target: TargetBatch) -> Float[Tensor, " batch"]:
        scored, terms = self._scored(target), self._read_terms(outputs)
        weights = self._weights
        if self._draws(target):  # a number is hidden in some rows only, and is to weigh no less than a picture
            each = zip(self._each(), weights, strict=True)
            weights = tuple(weight / self.corruption.share_scored(decoder) for decoder, weight in each)
        total = outputs[:, 0, 0] * 0.0  # in the graph even where nothing is scored
        for index, (numbers, tokens) in enumerate(terms):
            for decoder, weight, own in zip(self._each(), weights, tokens, strict=True):
                name = decoder.column.name
                if name not in scored:
                    continue
                error = decoder.losses(own, target.columns[name], scored[name])
                if self._config.variational and index > 0:  # a subset speaks for its own columns alone
                    error = error * numbers[:, 2 * self._config.code_size + self._columns.index(name)]
                total = total + weight * error
            if self._config.variational:
                mean, log_variance = numbers[:, : 2 * self._config.code_size].chunk(2, dim=1)
                total = total + self._beta(target) * divergence(mean, log_variance) * target.present
        if self.training:
            idle = [p for decoder in self._each() if decoder.column.name not in scored for p in decoder.parameters()]
            total = total + sum((parameter.flatten()[:1].sum() for parameter in idle), outputs.new_zeros(())) * 0.0
        return total / len(terms)

    def _beta(self, target: TargetBatch) -> float | Float[Tensor, ""]:
        """The divergence's weight at this point of the training."""
        beta, warmup = self._config.beta, self._config.beta_warmup
        if not warmup or not self.training or target.progress is None:
            return beta
        return beta * (target.progress / warmup).clamp(max=1.0)

    def row_counts(self, target: TargetBatch) -> Float[Tensor, " batch"]:
        """The weights of the columns whose true cells are known."""
        total = torch.zeros(len(target.present), device=target.present.device)
        for decoder, weight in zip(self._each(), self._weights, strict=True):
            if (column := target.columns.get(decoder.column.name)) is not None:
                total = total + weight * decoder.known(column).any(dim=1)
        return total

    def _draws(self, target: TargetBatch) -> bool:
        """Whether something was hidden from the encoders."""
        return self.training and target.keys is not None

    def _scored(self, target: TargetBatch) -> dict[str, Bool[Tensor, "batch places"]]:
        """Per column that the batch has, the places that the loss is on: the known ones, or those that were hidden."""
        there = [decoder for decoder in self._each() if decoder.column.name in target.columns]
        known = {decoder.column.name: decoder.known(target.columns[decoder.column.name]) for decoder in there}
        if not self.corruption.mask or not self._draws(target):
            return known
        assert target.keys is not None
        hidden = self.corruption.hidden(self._each(), target.columns, target.keys)
        return {name: places & hidden[name].places for name, places in known.items()}

    # --- predictions ---------------------------------------------------------------------------------------------

    def predict(self, outputs: Float[Tensor, "batch ..."]) -> Prediction:
        numbers, tokens = self._read_terms(outputs)[0]
        return Prediction(
            numbers[:, : self._size],
            columns={
                decoder.column.name: decoder.predict(own) for decoder, own in zip(self._each(), tokens, strict=True)
            },
        )

    def read(self, fused: Fused, target: TargetBatch | None = None, *, write: bool = True) -> Prediction:
        """The columns, the code, and each column's error where it is known; without columns unless `write`."""
        outputs = self(fused, target)
        numbers, tokens = self._read_terms(outputs)[0]
        found = self.predict(outputs) if write else Prediction(numbers[:, : self._size])
        if target is None:
            return found
        self._tell_of_cuts(target)
        errors, predicted = [], dict(found.columns)
        for decoder, own in zip(self._each(), tokens, strict=True):
            column = target.columns.get(decoder.column.name)
            if column is None:
                errors.append(torch.full_like(own[:, 0, 0], torch.nan))
                continue
            known = decoder.known(column)
            errors.append(decoder.losses(own, column, known).masked_fill(~known.any(dim=1), torch.nan))
            if has_classes(decoder) and not write:
                predicted[decoder.column.name] = decoder.predict(own)
        measures = {"errors": torch.stack(errors, dim=1)}
        if columns := {name: target.columns[name] for name in self.target.members if name in target.columns}:
            measures["hits"] = hits(self._each(), predicted, columns)
            measures["mean_errors"], measures["mean_hits"] = self.mean.errors(columns), self.mean.hits(columns)
        else:
            measures |= dict.fromkeys(
                ("hits", "mean_errors", "mean_hits"), torch.full_like(measures["errors"], torch.nan)
            )
        return replace(found, measures=measures)

    @property
    def _size(self) -> int:
        return self._config.code_size if self._config.memory == "code" else self._width

    def _tell_of_cuts(self, target: TargetBatch) -> None:
        for decoder in self._each():
            column = target.columns.get(decoder.column.name)
            if column is None or self._cut_told:
                continue
            if number := int(decoder.num_cut(column).item()):
                self._cut_told = True
                _log.info(
                    "column %r: %d of the first %d rows are longer than %s, which are restored; they are scored on "
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
