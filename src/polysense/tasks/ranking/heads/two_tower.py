"""Two towers: a user and an item are points, and the product of the two says how likely the one chooses the other.

An item is what describes it, through its columns' encoders, plus an embedding of its own where training held it; a
user likewise, plus what their history says. A user or item that is new has no embedding, and is ranked by the rest: in
training embeddings are hidden at random so that the rest learns to stand alone (DropoutNet; Volkovs et al.,
"DropoutNet: Addressing Cold Start in Recommender Systems", NeurIPS 2017).

The loss compares a row's item with those of the other rows of the batch. Popular items are in many batches, so a
softmax over a batch asks how much more likely than by its popularity an item was chosen; subtracting the log of that
probability makes it one over the catalogue (Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
Recommendations", RecSys 2019, section 4). BPR (Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit
Feedback", UAI 2009) asks that a chosen item lies before each other one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, NonNegativeInt, PositiveInt
from polysense.core.batch import Truth
from polysense.core.pytree import pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Column
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.candidates import CandidateHead
from polysense.nn.head import HeadConfig, readout
from polysense.nn.layers.draws import uniforms
from polysense.tasks.ranking.heads.bpr import FACTORS, fit_bpr
from polysense.tasks.ranking.heads.history import History, HistoryEncoder
from polysense.tasks.ranking.neighbors import NUM_NEIGHBORS
from polysense.tasks.ranking.record import RankingTarget
from polysense.tasks.ranking.truth import RankingTruth

__all__ = ["BASELINES", "MOST_RANKED", "Towers", "TwoTowerHead", "TwoTowerHeadConfig"]

MOST_RANKED = 50
"""Items that a prediction lists."""

BASELINES = ("popularity", "recent_popularity", "item_knn", "bpr")
"""Rankings without a model, beside which every evaluation stands."""

_NEVER = -1e9
_START = 0.05  # standard deviation of embeddings


@dataclass(frozen=True, kw_only=True)
class TwoTowerHeadConfig(HeadConfig):
    """A user's and an item's point, and their product.

    Attributes:
        size: Dimension of the points.
        loss: softmax: which of the batch's items the user chose, corrected for how often each is in a batch. bpr: the
            chosen item lies before each other one.
        history_encoder: How the user's history is read: none, mean, gru or attention.
        id_dropout: How often a row's user and item are without embeddings of their own in training, so that what
            describes them is learned; 0 where new users and items never come.
        hard_negatives: Of the batch's other items those that count, the highest ones of each row; 0: all.
        embedding_dropout: On the numbers of points in training.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"ranking"})
    contrasts_rows: ClassVar[bool] = True
    type: Literal["two_tower"] = "two_tower"
    size: PositiveInt = 64
    loss: Literal["softmax", "bpr"] = "softmax"
    history_encoder: HistoryEncoder = "mean"
    id_dropout: FractionBelowOne = 0.2
    hard_negatives: NonNegativeInt = 0
    embedding_dropout: FractionBelowOne = 0.0


@pytree_node
@dataclass(frozen=True, eq=False)
class Towers:
    """Where users and items lie.

    Attributes:
        users: The last number is 1.
        items: The last number is the item's bias.
        shares: Log of the probability that a batch's row holds the item.
    """

    users: Float[Tensor, "batch size"]
    items: Float[Tensor, "batch size"]
    shares: Float[Tensor, " batch"]


class TwoTowerHead(CandidateHead[Towers], config=TwoTowerHeadConfig):
    """Ranks the catalogue's items for each row's user."""

    contrasts_rows = True

    target: RankingTarget
    counts: Tensor
    recent_counts: Tensor
    neighbors: Tensor
    similarities: Tensor
    bpr_users: Tensor
    bpr_items: Tensor

    def __init__(self, config: TwoTowerHeadConfig, target: RankingTarget, width: int) -> None:
        super().__init__(target, config.loss_weight, target.num_items, config.size + 1)
        self._config, self._width = config, width
        num_items, num_users, size = target.num_items, target.num_users, config.size
        self.user_ids, self.item_ids = nn.Embedding(num_users + 1, size), nn.Embedding(num_items + 1, size)
        self.item_bias = nn.Embedding(num_items + 1, 1)
        for table in (self.user_ids, self.item_ids):
            nn.init.normal_(table.weight, std=_START)
        nn.init.zeros_(self.item_bias.weight)
        reads = config.history_encoder != "none" and target.history > 0
        self.history = History(config.history_encoder, size, target.history, config.dropout) if reads else None
        self.user_columns: tuple[str, ...] = ()
        self.item_columns: tuple[str, ...] = target.item_columns
        self.user_projections, self.item_projections = nn.ModuleList(), nn.ModuleList()
        self.new_user = nn.Parameter(torch.zeros(size))
        self.points = nn.Dropout(config.embedding_dropout)
        self.register_buffer("counts", torch.zeros(num_items + 1, dtype=torch.int64))
        self.register_buffer("recent_counts", torch.zeros(num_items + 1, dtype=torch.int64))
        num_neighbors = min(NUM_NEIGHBORS, max(num_items - 1, 1))
        self.register_buffer("neighbors", torch.zeros(num_items + 1, num_neighbors, dtype=torch.int64))
        self.register_buffer("similarities", torch.zeros(num_items + 1, num_neighbors))
        self.register_buffer("bpr_users", torch.zeros(num_users + 1, FACTORS + 1))
        self.register_buffer("bpr_items", torch.zeros(num_items + 1, FACTORS + 1))

    def connect(self, columns: Sequence[Column]) -> None:
        names = [column.name for column in columns]
        if unknown := [name for name in self.item_columns if name not in names]:
            raise ConfigError(
                f"target {self.target.name!r}: {unknown[0]!r}, which describes items, is no input column (there are: "
                f"{', '.join(names)})"
            )
        self.user_columns = tuple(name for name in names if name not in self.item_columns)
        for own, projections in (
            (self.user_columns, self.user_projections), (self.item_columns, self.item_projections),
        ):  # fmt: skip
            for _ in own:
                projection = readout(self._width, self._config.hidden, self._config.dropout, self._config.size)
                last = projection[-1]
                assert isinstance(last, nn.Linear)
                nn.init.zeros_(last.weight)  # what popularity says is not drowned at the start
                projections.append(projection)

    @property
    def candidate_columns(self) -> Collection[str]:
        return self.item_columns

    def fit_counts(self, counts: Mapping[str, np.ndarray]) -> None:
        for name in ("counts", "recent_counts", "neighbors", "similarities"):
            getattr(self, name).copy_(torch.from_numpy(np.ascontiguousarray(counts[name])))
        users, items = fit_bpr(counts["users"], counts["items"], self.target.num_users, self.target.num_items)
        self.bpr_users.copy_(users)
        self.bpr_items.copy_(items)
        with torch.no_grad():  # how popular an item is need not be learned step by step; a new one is an average one
            logs = (self.counts.float() + 1.0).log()
            self.item_bias.weight.copy_((logs - logs[1:][self.counts[1:] > 0].mean())[:, None])

    # --- towers --------------------------------------------------------------------------------------------------

    def _described(self, fused: Fused, names: Sequence[str], projections: nn.ModuleList) -> Tensor:
        """What a side's columns say; 0 where all of them are absent."""
        total = fused.pooled.new_zeros(len(fused.pooled), self._config.size, dtype=torch.float32)
        for name, projection in zip(names, projections, strict=True):
            column = fused.columns[name]
            total = total + projection(column.summary).float() * column.present[:, None]
        return total

    def _kept(self, numbers: Int[Tensor, " batch"], context: RowContext, name: str) -> Float[Tensor, "batch 1"]:
        """Where an embedding of its own counts: not of what training did not hold, nor where it is hidden."""
        kept = numbers > 0
        if self.training and self._config.id_dropout:
            kept = kept & (uniforms(context.keys, 1, f"ranking {name}")[:, 0] >= self._config.id_dropout)
        return kept[:, None].float()

    def _prompt(self, context: RowContext, rows: int) -> tuple[Tensor, Tensor]:
        """The users' numbers [batch], and the items that they know [batch, length].

        First come those that they did not choose, as numbers below 0, then their choices in order, then 0.
        """
        if "prompt" not in context.inputs:
            none = torch.zeros(rows, 1, dtype=torch.int64, device=self.counts.device)
            return none[:, 0], none
        prompt = context.inputs["prompt"]
        values = prompt.values[:, 0].long()
        there = torch.arange(values.shape[1], device=values.device) < prompt.lengths
        values = values.masked_fill(~there, 0)
        return values[:, 0], values[:, 1:]

    def _users(self, fused: Fused, context: RowContext) -> Float[Tensor, "batch size"]:
        numbers, items = self._prompt(context, len(fused.pooled))
        kept = self._kept(numbers, context, "user")
        points = self.user_ids(numbers) * kept + self.new_user * (1 - kept)
        points = points + self._described(fused, self.user_columns, self.user_projections)
        if self.history is not None:
            last, mask = _last(items, self.target.history)
            points = points + self.history(self.item_ids(last) * (self.counts[last] > 0)[:, :, None], mask)
        return torch.cat([self.points(points), torch.ones_like(points[:, :1])], dim=1)

    def _items(self, fused: Fused, context: RowContext, numbers: Int[Tensor, " batch"]) -> Float[Tensor, "batch size"]:
        kept = self._kept(numbers * (self.counts[numbers] > 0), context, "item")
        points = self.item_ids(numbers) * kept + self._described(fused, self.item_columns, self.item_projections)
        return torch.cat([self.points(points), self.item_bias(numbers) * kept], dim=1)

    def candidates(self, fused: Fused, context: RowContext, truth: Truth) -> Float[Tensor, "batch size"]:
        return self._items(fused, context, RankingTruth.of(truth).items)

    # --- training ------------------------------------------------------------------------------------------------

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Towers:
        users = self._users(fused, context) + fused.pooled.float().sum(dim=1, keepdim=True) * 0.0
        if truth is None:
            return Towers(users, torch.zeros_like(users), torch.zeros_like(users[:, 0]))
        numbers = RankingTruth.of(truth).items
        shares = (self.counts[numbers].clamp(min=1) / self.counts.sum().clamp(min=1)).log()
        return Towers(users, self._items(fused, context, numbers), shares.float())

    def loss(self, output: Towers, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        of_all = RankingTruth.of(truth)
        rows = slice(0, len(output.users)) if own is None else own
        ids = torch.arange(len(output.users), device=output.users.device)[rows]
        there = of_all.present & (of_all.items > 0)
        scores = output.users[rows] @ output.items.T
        chosen = scores.gather(1, ids[:, None])
        others = there & (of_all.items != of_all.items[rows, None])
        if self._config.loss == "softmax":
            scores, chosen = scores - output.shares, chosen - output.shares[rows, None]
        if self._config.hard_negatives and len(output.users) > self._config.hard_negatives:
            hidden = scores.detach().masked_fill(~others, -math.inf)
            least = hidden.topk(self._config.hard_negatives, dim=1).values[:, -1:]
            others = others & (scores >= least)
        if self._config.loss == "softmax":
            negatives = scores.masked_fill(~others, _NEVER)
            total = torch.logsumexp(torch.cat([chosen, negatives], dim=1), dim=1) - chosen[:, 0]
        else:
            each = F.softplus(scores - chosen) * others
            total = each.sum(dim=1) / others.sum(dim=1).clamp(min=1)
        counted = self.count(truth)["loss"][rows]
        return {"loss": RowLoss(total * counted, counted)}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        own = RankingTruth.of(truth)
        return {"loss": (own.present & (own.items > 0)).float()}

    # --- prediction ----------------------------------------------------------------------------------------------

    def _seen(self, items: Int[Tensor, "batch length"]) -> Tensor:
        """Which candidates each row's user has chosen before, bool [batch, items]; none where they are ranked again."""
        seen = torch.zeros(len(items), self.target.num_items + 1, dtype=torch.bool, device=items.device)
        if self.target.excludes_seen:
            seen.scatter_(1, items.abs(), value=True)
        return seen[:, 1:]

    def _scores(self, fused: Fused, context: RowContext) -> Float[Tensor, "batch items"]:
        catalogue = self.catalogue if context.candidates is None else context.candidates
        return self._users(fused, context) @ catalogue.T

    def predict(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        _, items = self._prompt(context, len(fused.pooled))
        scores = self._scores(fused, context).masked_fill(self._seen(items), -math.inf)
        top = self._top(scores)
        catalogue = self.catalogue if context.candidates is None else context.candidates
        return top | {
            "history": (items > 0).sum(dim=1),
            "because": _nearest(catalogue, top["values"], items.clamp(min=0)),
        }

    def _top(self, scores: Tensor) -> dict[str, Tensor]:
        """The highest items' numbers, 0 where there are fewer, and their scores."""
        best = scores.topk(min(MOST_RANKED, scores.shape[1]), dim=1)
        return {"values": (best.indices + 1).masked_fill(~best.values.isfinite(), 0), "scores": best.values}

    def score(self, fused: Fused, context: RowContext, truth: Truth) -> dict[str, Tensor]:
        """Where the chosen item lies in the ranking of all, and in those of the baselines."""
        chosen = RankingTruth.of(truth).items
        users, items = self._prompt(context, len(fused.pooled))
        seen = self._seen(items)
        seen = seen & ~F.one_hot(chosen, seen.shape[1] + 1)[:, 1:].bool()  # what is asked for is among the candidates
        is_warm = self.counts[1:] > 0
        arrays = {
            "item_count": self.counts[chosen],
            "user_count": (items > 0).sum(dim=1),
        }
        rankings = {"": self._scores(fused, context), **self._baseline_scores(users, items)}
        for name, scores in rankings.items():
            prefix = f"{name}_" if name else ""
            own = scores.gather(1, (chosen - 1).clamp(min=0)[:, None])
            for which, among in (
                ("", ~seen),
                ("_alike", ~seen & (is_warm == is_warm[(chosen - 1).clamp(min=0)][:, None])),
            ):
                before = ((scores > own) & among).sum(dim=1)
                ties = ((scores == own) & among).sum(dim=1).clamp(min=1)  # itself is one of them
                rank = before + (ties + 1) / 2
                arrays[f"{prefix}rank{which}"] = torch.where(chosen > 0, rank.float(), torch.inf)
                arrays[f"{prefix}ties{which}"] = ties.float()
            listed = scores.masked_fill(seen, -math.inf)
            arrays[f"{prefix}listed"] = self._top(listed)["values"]
        popularity = self.counts.float() / self.counts.sum().clamp(min=1)
        for name in rankings:
            prefix = f"{name}_" if name else ""
            arrays[f"{prefix}popularity"] = popularity[arrays[f"{prefix}listed"]]
        return arrays

    def _baseline_scores(self, users: Int[Tensor, " batch"], items: Int[Tensor, "batch length"]) -> dict[str, Tensor]:
        shape = (len(items), self.target.num_items)
        items = items.clamp(min=0)
        near = self.similarities[items] * (items > 0)[:, :, None]
        votes = torch.zeros(len(items), self.target.num_items + 1, device=items.device)
        votes.scatter_add_(1, self.neighbors[items].flatten(1), near.flatten(1))
        # Where nobody like the history's items is known, popularity decides.
        fallback = self.counts[1:].float() / self.counts.sum().clamp(min=1)
        return {
            "popularity": self.counts[1:].float().expand(shape),
            "recent_popularity": self.recent_counts[1:].float().expand(shape),
            "item_knn": votes[:, 1:] + 1e-6 * fallback,
            # Whom it does not know gets what is popular.
            "bpr": torch.where((users > 0)[:, None], self.bpr_users[users] @ self.bpr_items[1:].T, fallback),
        }


def _nearest(
    catalogue: Float[Tensor, "items size"], listed: Int[Tensor, "batch most"], history: Int[Tensor, "batch length"]
) -> Int[Tensor, "batch most"]:
    """The item of the history that lies nearest to each that is listed, by the cosine; 0 without a history."""
    points = F.normalize(torch.cat([catalogue.new_zeros(1, catalogue.shape[1] - 1), catalogue[:, :-1]]), dim=1)
    cosines = points[listed] @ points[history].transpose(1, 2)
    cosines = cosines.masked_fill((history == 0)[:, None, :], -2.0)
    if not history.shape[1]:
        return torch.zeros_like(listed)
    best = history.gather(1, cosines.argmax(dim=2))
    return best.masked_fill(listed == 0, 0)


def _last(items: Int[Tensor, "batch length"], most: int) -> tuple[Tensor, Tensor]:
    """The last choices of each row, right-aligned, and which of them are there; choices come after what is below 0."""
    lengths = (items != 0).sum(dim=1, keepdim=True)
    width = min(most, max(items.shape[1], 1))
    positions = lengths - width + torch.arange(width, device=items.device)
    if not items.shape[1]:
        empty = torch.zeros(len(items), width, dtype=torch.int64, device=items.device)
        return empty, empty.bool()
    last = items.gather(1, positions.clamp(min=0))
    mask = (positions >= 0) & (last > 0)
    return last * mask, mask
