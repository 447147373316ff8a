"""Several columns in one space: what belongs together lies close, so anything finds anything.

Each column's own summary, from before the columns are fused, is projected to a point on a sphere; the loss asks that
the columns of a row lie closer to one another than to those of other rows (see `layers.contrastive`). With an image
and a text this is CLIP (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021);
with more columns each pair is compared, or each with an anchor (ImageBind, Girdhar et al., 2023).

The loss is about a whole batch: a row's part of it depends on who else is there. So micro-batches and processes are
brought together before it is taken (`training.gradient_cache`), and cutting a batch up changes nothing here either. The
prediction of a row depends on nobody else, as ever.

The logit scale (1 / temperature) and the bias are learned, and are fields of the output, so that the loss uses no
parameters and can be taken on gathered outputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.batch import Truth, ValueTruth
from polysense.core.pytree import pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Column
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.head import Head, HeadConfig, readout
from polysense.nn.layers.contrastive import Comparison, ContrastiveLoss, Duplicates, contrastive_losses
from polysense.nn.layers.feature_projection import FeatureProjection
from polysense.tasks.retrieval.record import RetrievalTarget

__all__ = ["ContrastiveHead", "ContrastiveHeadConfig", "Embeddings"]

_MAX_LOG_SCALE = math.log(100.0)
# 1 / temperature and bias at the start: CLIP, section 2.5; SigLIP, section 3.2.
_START = {"infonce": (math.log(1 / 0.07), 0.0), "siglip": (math.log(10.0), -10.0)}


@dataclass(frozen=True, kw_only=True)
class ContrastiveHeadConfig(HeadConfig):
    """A joint embedding space: embeddings of the same row are pulled together and those of other rows pushed apart.

    Attributes:
        size: Dimension of the embeddings.
        loss: infonce: which of all rows belongs to this one (CLIP); better in large batches. siglip: does this pair
            belong together, for each pair by itself.
        duplicates: Handling of other rows of the batch with the same text or file, or with an equal value in
            the target's `same` column: "positives" are pulled together, "ignored" are left out of the loss, "negatives"
            are pushed apart.
        learn_temperature: Whether the logit scale, 1 / temperature, (and SigLIP's bias) is learned.
        chunk: Rows whose similarities to all others are in memory at once.
        reads: What a column's embedding is made of. "auto": its feature vector, where it has one, else its summary;
            "summaries": its summary, whatever it has.
        feature_dropout: On the numbers of a feature vector.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"retrieval"})
    contrasts_rows: ClassVar[bool] = True
    reads_features: ClassVar[bool] = True
    replaced: ClassVar[Mapping[str, str]] = {
        "matching": "model.objectives={matching: {type: image_text_matching, weight: 0.5}}"
    }
    type: Literal["contrastive"] = "contrastive"
    size: PositiveInt = 128
    loss: ContrastiveLoss = "infonce"
    duplicates: Duplicates = "positives"
    learn_temperature: bool = True
    chunk: PositiveInt = 256
    reads: Literal["auto", "summaries"] = "auto"
    feature_dropout: FractionBelowOne = 0.5


@pytree_node
@dataclass(frozen=True, eq=False)
class Embeddings:
    """Where each column lies in the joint embedding space.

    Attributes:
        values: Of length 1; zeros where the column is absent.
        logit_scale: What cosines are multiplied by, 1 / temperature; the same in every row.
        bias: What is added to them; likewise.
    """

    values: Float[Tensor, "batch columns size"]
    logit_scale: Float[Tensor, " batch"]
    bias: Float[Tensor, " batch"]


class ContrastiveHead(Head[Embeddings], config=ContrastiveHeadConfig):
    """Gives each column's embedding.

    Attributes:
        members: The columns, in the order of the outputs.
        directions: Which columns look for which: positions in `members`.
    """

    contrasts_rows = True

    target: RetrievalTarget

    def __init__(self, config: ContrastiveHeadConfig, target: RetrievalTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self._loss, self._duplicates, self._chunk = config.loss, config.duplicates, config.chunk
        self.members = target.members
        names = range(len(self.members))
        anchor = self.members.index(target.anchor) if target.anchor else None
        self.directions = tuple(pair for pair in itertools.permutations(names, 2) if anchor is None or anchor in pair)
        self._size, self._feature_dropout = config.size, config.feature_dropout
        if config.reads == "auto":
            self.reads_features = self.members
        self.projections = nn.ModuleList(readout(width, config.hidden, config.dropout, config.size) for _ in names)
        logit_scale, bias = _START[config.loss]
        learned = config.learn_temperature
        self.log_scale = nn.Parameter(torch.full((1,), logit_scale), requires_grad=learned)
        self.bias = nn.Parameter(torch.full((1,), bias), requires_grad=learned and config.loss == "siglip")

    def connect(self, columns: Sequence[Column]) -> None:
        names = [column.name for column in columns]
        if missing := [name for name in self.members if name not in names]:
            raise ConfigError(
                f"target {self.target.name!r} brings {', '.join(self.members)} into one space, and {missing[0]!r} "
                f"is no input column (there are: {', '.join(names)})"
            )

    def connect_features(self, sizes: Mapping[str, int]) -> None:
        for index, name in enumerate(self.members):
            if sizes[name]:
                self.projections[index] = FeatureProjection(sizes[name], self._size, self._feature_dropout)

    @property
    def learns_from_features(self) -> bool:
        return any(isinstance(projection, FeatureProjection) for projection in self.projections)

    def fit_features(self, features: Mapping[str, Float[Tensor, "rows _"]], present: Mapping[str, Tensor]) -> None:
        for name, projection in zip(self.members, self.projections, strict=True):
            if isinstance(projection, FeatureProjection):
                projection.fit(features[name][present[name]])

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Embeddings:
        if self.training:
            with torch.no_grad():  # a clamp within the graph would have no gradient to come back with
                self.log_scale.clamp_(max=_MAX_LOG_SCALE)
        values = []
        for name, projection in zip(self.members, self.projections, strict=True):
            column = fused.columns[name]
            source = column.summary
            if isinstance(projection, FeatureProjection):
                assert column.features is not None, f"{name}: no features, though {type(self).__name__} asked for them"
                source = column.features
            values.append(F.normalize(projection(source).float(), dim=1) * column.present[:, None])
        # Sums and no views of parameters: shards free what they lie in after this method. And the summary, of no use to
        # this head, is touched: where this loss is taken over several micro-batches there may be no other.
        nothing = fused.pooled.float().sum(dim=1) * 0.0
        return Embeddings(torch.stack(values, dim=1), self.log_scale.exp() + nothing, self.bias + nothing)

    def loss(self, output: Embeddings, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ValueTruth)
        embeddings = output.values
        rows = slice(0, len(embeddings)) if own is None else own
        ids = torch.arange(len(embeddings), device=embeddings.device)[rows]
        present, paired = (embeddings != 0).any(dim=2), truth.present[rows]
        total = embeddings.new_zeros(len(ids), dtype=torch.float32)
        for one, other in self.directions:
            # What says whether two rows hold the same: either column, and the column named for it.
            keys = truth.values[:, [one, other, *range(len(self.members), len(self.target.columns))]]
            comparison = Comparison(
                ids=ids,
                keys=keys[rows],
                present=present[rows, one] & paired,
                candidate_keys=keys,
                candidate_present=present[:, other],
                loss=self._loss,
                duplicates=self._duplicates,
                chunk=self._chunk,
            )
            # The first row's scale is everybody's.
            scale, bias = output.logit_scale[:1], output.bias[:1]
            total = total + contrastive_losses(comparison, embeddings[rows, one], embeddings[:, other], scale, bias)
        return {"loss": RowLoss(total, self.count(truth)["loss"][rows])}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        """In how many directions a row has both columns, as the table says."""
        assert isinstance(truth, ValueTruth)
        there = truth.values[:, : len(self.members)] != 0
        both = torch.stack([there[:, one] & there[:, other] for one, other in self.directions])
        return {"loss": both.sum(dim=0).float() * truth.present}

    def arrays(self, output: Embeddings) -> dict[str, Tensor]:
        """Embeddings, NaN where the column is absent."""
        embeddings = output.values.float()
        return {"values": embeddings.masked_fill(~(embeddings != 0).any(dim=2)[..., None], torch.nan)}
