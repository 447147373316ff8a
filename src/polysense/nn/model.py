"""The model: corrupt, encode every column, fuse, read every target, and in training the losses.

An absent column is an all-False mask on every path: a missing cell, a column that a request lacks, modality dropout and
an audited subset are the same thing. What touches parameters runs within `forward` or a part's FORWARD_METHODS.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polysense.core.batch import Batch
from polysense.core.prediction import Prediction, with_prior
from polysense.core.rows import ColumnLosses, ModelOutput, RowContext
from polysense.core.schema import Schema
from polysense.core.tokens import Fused, Tokens
from polysense.nn.candidates import CandidateHead
from polysense.nn.encoder import Encoder
from polysense.nn.fusion import Fusion
from polysense.nn.head import BaseHead, Head
from polysense.nn.layers.elementwise import prediction
from polysense.nn.losses import column_losses, loss_counts, loss_rows, loss_weights
from polysense.nn.masking import excluding
from polysense.nn.mixing import mix
from polysense.nn.objectives.base import Objective, TrainingState, adapters_off
from polysense.nn.vectors_alone import VectorHead, fused_vectors

__all__ = ["MultimodalModel"]


class MultimodalModel(nn.Module):
    """Encoders, a fusion, heads and objectives over one schema.

    Attributes:
        loss_weights: Each loss's weight in the sum; what balances columns changes it.
        frozen: The parts that do not learn, see `workflows.finetune.submodules`.
        parameter_scales: Parameters that learn at a rate of their own, and that rate over the rest's.
        candidates: Per target that is chosen from a catalogue, its rows in batches; where there are none, what the head
            has kept of them is used.
    """

    FORWARD_METHODS: ClassVar[tuple[str, ...]] = ("losses", "encode", "fused", "predict")

    def __init__(
        self,
        schema: Schema,
        encoders: Sequence[Encoder],
        fusion: Fusion,
        heads: Sequence[BaseHead],
        objectives: Mapping[str, Objective],
    ) -> None:
        super().__init__()
        self.schema, self.width, self.fusion = schema, fusion.width, fusion
        # A column's name may hold dots or be one of ModuleDict's own methods' names; a position never clashes.
        self.encoders, self.heads = nn.ModuleList(encoders), nn.ModuleList(heads)
        self.objectives, self._objective_names = nn.ModuleList(objectives.values()), tuple(objectives)
        self.loss_weights: dict[str, float] = loss_weights({head.target.name: head for head in heads}, objectives)
        self.frozen: tuple[str, ...] = ()
        self.candidates: dict[str, Callable[[], Iterable[Batch]]] = {}
        self._catalogues: dict[tuple[str, frozenset[str]], Tensor] = {}
        self.register_load_state_dict_post_hook(_forget_catalogues)  # type: ignore[no-untyped-call]
        scales = {id(p): encoder.learning_rate_scale for encoder in encoders for p in encoder.pretrained_parameters()}
        scales |= {id(p): head.learning_rate_scale for head in heads for p in head.pretrained_parameters()}
        self.parameter_scales: dict[str, float] = {
            n: scales[id(p)] for n, p in self.named_parameters() if id(p) in scales
        }

    def forward(
        self,
        batch: Batch,
        only: Collection[str] | None = None,
        deferred: Collection[str] = (),
        tokens: Mapping[str, Tokens] | None = None,
    ) -> ModelOutput:
        """Outputs per target, and in training the losses.

        Args:
            batch: The rows.
            only: The targets that are read, without any loss: the first pass of losses that contrast rows.
            deferred: Targets whose loss the caller takes, over several micro-batches or ranks.
            tokens: What `encode` gives for the batch, where that is known.
        """
        state = self._run(batch, only, tokens)
        losses = loss_rows(state, self.by_objective(), deferred) if self.training and only is None else {}
        return ModelOutput(state.outputs, losses)

    def losses(self, batch: Batch, tokens: Mapping[str, Tokens] | None = None) -> ModelOutput:
        """Outputs and every loss, whatever the mode: in evaluation mode without dropout and corruption.

        Args:
            batch: The rows.
            tokens: What `encode` gives for them, where that is known.
        """
        state = self._run(batch, None, tokens)
        return ModelOutput(state.outputs, loss_rows(state, self.by_objective()))

    def encode(self, batch: Batch) -> dict[str, Tokens]:
        """Tokens per column."""
        return {name: encoder(batch.columns[name]) for name, encoder in self.column_encoders.items()}

    def fuse(self, tokens: Mapping[str, Tokens], batch: Batch, excludes: Collection[str] = ()) -> Fused:
        """Joins tokens, as if some columns had never been there."""
        if excludes:
            tokens = excluding(tokens, excludes)
        columns = {name: column.absent() if name in excludes else column for name, column in batch.columns.items()}
        fused: Fused = self.fusion(tokens, columns)
        return fused

    def counts(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """What each loss is divided by, without a forward."""
        return loss_counts(batch, self.by_target(), self.by_objective())

    def _run(
        self, batch: Batch, only: Collection[str] | None, tokens: Mapping[str, Tokens] | None = None
    ) -> TrainingState:
        heads = {name: head for name, head in self.by_target().items() if only is None or name in only}
        truths = {name: truth for name, head in heads.items() if (truth := head.truth(batch)) is not None}
        parts: list[BaseHead | Objective] = [*self.by_target().values(), *self.by_objective().values()]
        for part in parts if self.training else ():
            batch = part.corrupt(batch)
        tokens = self.encode(batch) if tokens is None else tokens
        if batch.mixed is not None:
            batch, tokens = mix(batch, tokens, self.encode(batch.mixed.batch), batch.mixed)
        views = self._views(tokens, batch)

        def read(name: str, view: Fused) -> object:
            return heads[name](view, self.context(batch, name), truths.get(name))

        outputs = {name: read(name, views[head.excludes]) for name, head in heads.items()}
        return TrainingState(
            batch, truths, self.context(batch), tokens, views[()], heads, outputs, {}, self.column_encoders,
            self.encode, lambda mixed, excludes: self.fuse(mixed, batch, excludes), read,
            lambda: adapters_off(heads.values()),
        )  # fmt: skip

    @prediction
    def predict(
        self,
        batch: Batch,
        subsets: Sequence[Collection[str]] | None = None,
        *,
        write: bool = True,
        tokens: Mapping[str, Tokens] | None = None,
        draw: bool = False,
    ) -> list[dict[str, Prediction]]:
        """Predictions per target, from each subset of the columns as if there were no others; of nothing, the prior.

        Args:
            batch: Where it has truths, the predictions say how well these are explained.
            subsets: Of column names, encoded once; None is one of all columns.
            write: Whether what is costly, texts and reconstructed columns, is predicted.
            tokens: What `encode` gives for the batch, where that is known.
            draw: Whether heads that can be drawn are, by the batch's keys.
        """
        whole = tokens is None and subsets is None and write and not draw
        if whole and (alone := self._from_vectors(batch)) is not None:
            return [alone]
        tokens, predictions = self.encode(batch) if tokens is None else tokens, list[dict[str, Prediction]]()
        for subset in [tuple(tokens)] if subsets is None else subsets:
            remaining = {n: t if n in subset else t.masked(torch.zeros_like(t.mask[:, 0])) for n, t in tokens.items()}
            views, empty = self._views(remaining, batch), ~batch.presence(tuple(subset)).any(dim=1)
            predictions.append({})
            for name, head in self.by_target().items():
                context = replace(self.context(batch, name), is_drawn=draw)
                if isinstance(head, CandidateHead):
                    context = replace(context, candidates=self._catalogue(name, head, subset))
                arguments = views[head.excludes], context
                arrays = head.predict(*arguments) if write else head.brief(*arguments)
                truth, arrays = head.truth(batch), with_prior(arrays, head.target, empty)
                predictions[-1][name] = arrays | ({} if truth is None else head.score(*arguments, truth))
        return predictions

    @property
    def reads_vectors(self) -> bool:
        """Whether a prediction of it, as it stands, reads any cell's feature vector."""
        heads = [h.vectors_read if isinstance(h, VectorHead) else h.reads_features for h in self.by_target().values()]
        return any(heads) or any(encoder.reads_features for encoder in self.column_encoders.values())

    def _from_vectors(self, batch: Batch) -> dict[str, Prediction] | None:
        """The predictions of rows without truths whose heads read feature vectors alone; None where one does not."""
        if batch.truths:
            return None
        empty, predictions = ~batch.presence(self.schema.names).any(dim=1), dict[str, Prediction]()
        for name, head in self.by_target().items():
            view = fused_vectors(head, head.excludes, batch, self.column_encoders, self.width)
            if view is None:
                return None
            predictions[name] = with_prior(head.predict(view, self.context(batch, name)), head.target, empty)
        return predictions

    def _catalogue(self, name: str, head: CandidateHead[object], columns: Collection[str]) -> Tensor:
        """What a head says of the candidates by some of the columns; kept until the model is trained further."""
        if name not in self.candidates:
            return head.catalogue
        key = name, frozenset(head.candidate_columns).intersection(columns)
        if key not in self._catalogues:
            catalogue = torch.zeros_like(head.catalogue)
            for batch in self.candidates[name]():
                moved = batch.to(catalogue.device).only(key[1])
                values = head.candidates(self.fuse(self.encode(moved), moved), self.context(moved), moved.truths[name])
                catalogue[moved.rows[moved.rows >= 0]] = values[moved.rows >= 0]  # rows come by length
            self._catalogues[key] = catalogue
        return self._catalogues[key]

    def forget_catalogues(self) -> None:
        """Has candidates encoded anew: the weights have changed, or the candidates."""
        self._catalogues.clear()

    @torch.no_grad()
    def keep_catalogues(self) -> None:
        """Has heads keep what they say of the candidates, with a bundle; the caller has the model in eval mode."""
        self.forget_catalogues()
        for name, head in self.by_target().items():
            if isinstance(head, CandidateHead) and name in self.candidates:
                head.catalogue.copy_(self._catalogue(name, head, self.schema.names))

    @prediction
    def fused(self, batch: Batch, target: str | None = None) -> Fused:
        """All columns together, as a target's head reads them; the caller has the model in eval mode."""
        return self.fuse(self.encode(batch), batch, () if target is None else self.head(target).excludes)

    def context(self, batch: Batch, target: str | None = None) -> RowContext:
        """What a head is told of the rows; at prediction they sample by their place in the table."""
        inputs = {"prompt": batch.prompts[target]} if target is not None and target in batch.prompts else {}
        return RowContext(batch.rows, batch.rows if batch.keys is None else batch.keys, batch.progress, inputs)

    @property
    def column_encoders(self) -> dict[str, Encoder]:
        """Each column's encoder, in order."""
        return {n: e for n, e in zip(self.schema.names, self.encoders, strict=True) if isinstance(e, Encoder)}

    def by_target(self) -> dict[str, Head[object]]:
        """Each target's head, in order."""
        return {head.target.name: head for head in self.heads if isinstance(head, Head)}

    def by_objective(self) -> dict[str, Objective]:
        """Each objective by its name."""
        return {n: o for n, o in zip(self._objective_names, self.objectives, strict=True) if isinstance(o, Objective)}

    @property
    def logged(self) -> list[str]:
        """What objectives give to be logged alone, by its name in `loss_weights`."""
        each = self.by_objective().items()
        return [f"{name}/{loss}" for name, one in each for loss, weight in one.weights.items() if weight == 0]

    @property
    def rewards(self) -> dict[str, int]:
        """Losses that are logged rewards, by their names in `loss_weights`, and the patience with each."""
        return {
            f"{name}/{reward}": patience
            for name, objective in self.by_objective().items()
            for reward, patience in objective.rewards.items()
        }

    def unmixable(self) -> str | None:
        """What of the model can't learn from mixed rows, in words; None: all of it can."""
        targets = [f"the head of target {name!r}" for name, head in self.by_target().items() if not head.mixes]
        others = [f"the objective {name!r}" for name, each in self.by_objective().items() if not each.mixes]
        return next(iter([*targets, *others]), None)

    def contrasting(self) -> dict[str, Head[object]]:
        """The heads whose loss compares the rows of a batch, by target."""
        return {name: head for name, head in self.by_target().items() if head.contrasts_rows}

    def unimodal_losses(self) -> dict[str, ColumnLosses]:
        """Per target the losses of each column alone, where there are any."""
        return column_losses(self.by_target(), self.by_objective())

    def head(self, target: str) -> Head[object]:
        """The head of a target."""
        return self.by_target()[target]

    def _views(self, tokens: Mapping[str, Tokens], batch: Batch) -> dict[tuple[str, ...], Fused]:
        """What heads read, by the columns that they exclude; () is all columns."""
        excluded = {(), *(head.excludes for head in self.by_target().values())}
        return {excludes: self.fuse(tokens, batch, excludes) for excludes in sorted(excluded)}

    def with_heads(self, heads: Mapping[str, BaseHead]) -> MultimodalModel:
        """The same model, weights shared, with other heads for some targets."""
        encoders, every = list(self.column_encoders.values()), list({**self.by_target(), **heads}.values())
        return MultimodalModel(self.schema, encoders, self.fusion, every, self.by_objective())

    def parameter_groups(self) -> list[dict[str, object]]:
        """Trainable parameters by learning-rate scale: what came with weights learns more slowly."""
        groups: dict[float, list[nn.Parameter]] = {1.0: []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.parameter_scales.get(name, 1.0), []).append(parameter)
        return [{"params": params, "lr_scale": scale} for scale, params in groups.items()]

    def train(self, mode: bool = True) -> MultimodalModel:
        """Frozen encoders stay in evaluation mode: no dropout, and no running statistics move."""
        super().train(mode)
        self.forget_catalogues()
        for name, encoder in self.column_encoders.items():
            encoder.train(mode and f"encoders.{name}" not in self.frozen)
        return self

    def save_resources(self, folder: Path) -> None:
        """Writes what building needs besides config and weights."""
        for index, encoder in enumerate(self.column_encoders.values()):
            encoder.save_resources(folder / str(index))
        for index, head in enumerate(self.by_target().values()):
            head.save_resources(folder / f"head_{index}")


def _forget_catalogues(model: MultimodalModel, _: object) -> None:
    """For when weights are loaded; at the module's level, so that a model can be pickled."""
    model.forget_catalogues()
