"""The model: encode every column, fuse, read every target.

An absent column is an all-False mask on every path: a missing cell, a column that a request lacks, modality dropout and
an audited subset of columns are the same thing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polysense.config.base import Config
from polysense.core.batch import Batch, TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Loss, Prediction
from polysense.core.schema import Requirements, Schema
from polysense.core.tokens import Fused, Tokens
from polysense.errors import ConfigError
from polysense.nn.absence import hidden, some_columns, stand_in
from polysense.nn.alone import own_scores, own_target, own_targets
from polysense.nn.decoding import DecodingConfig
from polysense.nn.encoder import EncoderConfig
from polysense.nn.fusion import FusionConfig
from polysense.nn.fusion.gated import GatedFusionConfig
from polysense.nn.head import HeadConfig
from polysense.nn.objectives.image_text_matching import matching_losses
from polysense.nn.parts import held_encoders, parameter_groups
from polysense.nn.truth import seen, with_truth

__all__ = ["ModelConfig", "MultimodalModel"]

Targets: TypeAlias = Mapping[str, TargetBatch]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """The model: one encoder per input column, one fusion, one head per target.

    Attributes:
        width: Width of the tokens that pass between the parts.
        encoders: Per input column, how it becomes tokens.
        fusion: How the columns are joined.
        heads: Per target, how it is read.
        unimodal_loss: Weight of each column's own loss: in training every column also predicts every target alone,
            from its own summary, so that the column that learns first does not leave the others lazy. 0 builds no such
            heads. A target that is a text has none: a decoder for each column would cost more than the rest.
        ranking_loss: Weight of max(0, l(all columns) - l(some of them)), which asks that a column more never makes a
            row's loss worse (SimMLM, Li et al., 2025). 0 switches it off.
        missing: What stands in for an absent column: "masked": nothing at all, or "learned": a learned token.
    """

    width: int = 128
    encoders: Mapping[str, EncoderConfig] = field(default_factory=dict)
    fusion: FusionConfig = field(default_factory=GatedFusionConfig)
    heads: Mapping[str, HeadConfig] = field(default_factory=dict)
    unimodal_loss: float = 0.0
    ranking_loss: float = 0.0
    missing: Literal["masked", "learned"] = "masked"

    def __post_init__(self) -> None:
        for name in ("unimodal_loss", "ranking_loss"):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name} must be at least 0; found {getattr(self, name)}")

    def requirements(self, modalities: Mapping[str, str]) -> dict[str, Requirements]:
        """Per column, what its encoder asks of the preprocessing.

        Args:
            modalities: Of the columns.
        """
        return {name: encoder.requirements(name, modalities[name]) for name, encoder in self.encoders.items()}

    def target_requirements(self) -> dict[str, Requirements]:
        """Per target, what its head asks of the preprocessing."""
        return {name: head.requirements(name) for name, head in self.heads.items()}

    def build(self, schema: Schema, resources: Path | None = None) -> MultimodalModel:
        """Builds the model.

        Args:
            schema: The fitted columns and targets.
            resources: The folder that `save_resources` wrote, where a bundle is loaded.

        Raises:
            ConfigError: A column has no encoder, a target no head, or one that can't serve it.
        """
        for kind, wanted, given in (
            ("encoder", schema.names, self.encoders),
            ("head", tuple(target.name for target in schema.targets), self.heads),
        ):
            for name in wanted:
                if name not in given:
                    raise ConfigError(f"model.{kind}s: {name!r} has no {kind} (given: {', '.join(given) or 'none'})")
            for name in given:
                if name not in wanted:
                    raise ConfigError(f"model.{kind}s.{name}: no such column among {', '.join(wanted)}")
        return MultimodalModel(self, schema, resources)


class MultimodalModel(nn.Module):
    """Encoders, a fusion and heads over one schema.

    Attributes:
        loss_weights: [1 + columns], of the joint loss and of each column's own; what balances columns may change it.
            None where columns have no losses of their own.
        held: The parts that are held fixed, see `nn.parts`.
        part_scales: Parts that learn at a rate of their own, and that rate over the rest's.
    """

    loss_weights: Tensor | None

    def __init__(self, config: ModelConfig, schema: Schema, resources: Path | None = None) -> None:
        super().__init__()
        self.schema = schema
        self.width = config.width
        # A column's name may hold dots or be one of ModuleDict's own methods' names; a position never clashes.
        self.encoders = nn.ModuleList(
            config.encoders[column.name].create(column, config.width, _folder(resources, str(index)))
            for index, column in enumerate(schema.columns)
        )
        self.fusion = config.fusion.build(schema.names, config.width)
        experts, columns = self.fusion.num_experts, len(schema.columns)
        self.own_targets = own_targets(schema, config.heads, config.fusion.type if experts else None)
        # Where only the columns' own heads decide, there is no other.
        self.heads = _heads(config, schema, resources=resources) if experts != columns else nn.ModuleList()
        # Built after the rest, so that a weight of 0 leaves every other initial weight as it is.
        own = experts > 0 or (config.unimodal_loss > 0 and columns > 1 and bool(self.own_targets))
        self.unimodal_heads = nn.ModuleList(
            _heads(config, schema, self.own_targets) for _ in (schema.columns if own else ())
        )
        # Experts that are combined only after training learn from their own losses.
        apart = experts > 0 and not self.fusion.trains_votes
        alone = 1.0 if apart and experts == columns else config.unimodal_loss
        joint = 0.0 if apart and experts == columns else 1.0
        self.register_buffer("loss_weights", torch.tensor([joint, *[alone] * columns]) if own else None)
        self.votes_are_trained = not apart
        self.ranking_loss = config.ranking_loss if columns > 1 else 0.0
        self.missing = (
            nn.ParameterList(nn.Parameter(torch.randn(config.width) * 0.02) for _ in schema.columns)
            if config.missing == "learned"
            else None
        )
        self.head_weights = {target.name: config.heads[target.name].loss_weight for target in schema.targets}
        parts: list[tuple[str, Any]] = [("fusion", self.fusion), *zip(schema.names, self.encoders, strict=True)]
        parts += [(head.target.name, head) for head in self._heads]
        for part, module in parts:
            for name, weight in module.auxiliary_losses.items():
                self.head_weights[f"{part}/{name}"] = weight
        self.learning_rate_scales = {
            column.name: float(getattr(config.encoders[column.name], "learning_rate_scale", 1.0))
            for column in schema.columns
        }
        # What started from another model (`nn.parts`).
        self.held: tuple[str, ...] = ()
        self.part_scales: dict[str, float] = {}

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, "batch ..."]]:
        """Raw outputs per target; in training also those of each column alone and the losses of the parts."""
        targets = with_truth(self._heads, batch)
        batch = seen(self._heads, batch) if self.training else batch
        tokens = self.encode(batch)
        if not self.training:
            return self.read(tokens, batch)
        # 1. Everything that is there.
        fused = self._fuse(tokens, batch)
        outputs = self._outputs_apart(fused, targets)
        # 2. The parts' own losses, per row.
        for name, losses in fused.losses.items():
            outputs[_key(f"fusion/{name}")] = losses
        own_encoders: list[Any] = list(self.encoders)
        for name, encoder in zip(self.schema.names, own_encoders, strict=True):
            for loss, losses in encoder.own_losses(batch.columns[name], tokens[name]).items():
                outputs[_key(f"{name}/{loss}")] = losses
        for head in self._heads:
            if head.auxiliary_losses:
                name, places = head.target.name, outputs[head.target.name]
                found = matching_losses(head, tokens, places, batch, lambda mixed: self._join(mixed, batch))
                outputs[_key(f"{name}/matching")] = found
        # 3. Some of what is there.
        if self.ranking_loss > 0:
            subset = self._fuse(some_columns(tokens), batch)
            for target, output in self._read_all(subset, targets)[0].items():
                outputs[_key(target, "some columns")] = output
        return outputs

    def encode(self, batch: Batch) -> dict[str, Tokens]:
        """Tokens per column."""
        return {
            name: encoder(batch.columns[name]) for name, encoder in zip(self.schema.names, self.encoders, strict=True)
        }

    def read(self, tokens: Mapping[str, Tokens], batch: Batch) -> dict[str, Float[Tensor, "batch ..."]]:
        """Raw outputs per target from encoded columns; a column masked out here was never there.

        Args:
            tokens: Per column.
            batch: What was encoded. Its targets are for heads that are trained to go on from the truth.
        """
        fused = self._fuse(tokens, batch)
        targets = with_truth(self._heads, batch)
        return self._read(fused, {} if fused.votes is None else self._read_alone(fused), targets)

    def _fuse(self, tokens: Mapping[str, Tokens], batch: Batch) -> Fused:
        fused = self._join(tokens, batch)
        # A head that must not read a column doesn't read what was fused with it either.
        views = {
            head.target.name: self._join(hidden(tokens, head.without), batch.only({*batch.columns} - {*head.without}))
            for head in self._heads
            if head.without
        }
        return replace(fused, views=views) if views else fused

    def _join(self, tokens: Mapping[str, Tokens], batch: Batch) -> Fused:
        if self.missing is not None:
            tokens = {
                name: stand_in(tokens[name], token) for name, token in zip(self.schema.names, self.missing, strict=True)
            }
        fused: Fused = self.fusion(tokens)
        lengths = {name: column.lengths for name, column in batch.columns.items()}
        grids = {name: tokens[name].grid for name in fused.spans}
        return replace(fused, rows=batch.rows, lengths=lengths, prompts=batch.prompts, grids=grids)

    def _read_all(self, fused: Fused, targets: Targets) -> tuple[dict[str, Tensor], dict[tuple[str, int], Tensor]]:
        """Outputs per target, and each column's own."""
        if fused.votes is None:
            # In this order, so that columns' own heads leave the joint one's dropout as it is without them.
            return self._read(fused, {}, targets), self._read_alone(fused)
        alone = self._read_alone(fused)
        return self._read(fused, alone, targets), alone

    def _outputs_apart(self, fused: Fused, targets: Targets) -> dict[str, Tensor]:
        outputs, alone = self._read_all(fused, targets)
        for (column, index), output in alone.items():
            outputs[_key(self.schema.targets[index].name, column)] = output
        return outputs

    def _read_alone(self, fused: Fused) -> dict[tuple[str, int], Float[Tensor, "batch ..."]]:
        """Each column's own heads' outputs, by column and the target's position."""
        return {
            (column, index): head(replace(fused, pooled=fused.unimodal[column], votes=None))
            for column, heads in self._unimodal
            for index, head in heads.items()
        }

    def _read(
        self, fused: Fused, alone: Mapping[tuple[str, int], Float[Tensor, "batch ..."]], targets: Targets
    ) -> dict[str, Float[Tensor, "batch ..."]]:
        outputs = {}
        for index, head in enumerate(self._heads):
            # Without any vote (a row with nothing at all), what is read is the learned summary.
            output = head(fused.of(head.target.name), targets.get(head.target.name))
            if fused.votes is not None:
                experts = [alone[column, index] for column in self.schema.names]
                if len(self.heads):
                    experts.append(output)
                # Experts that learn apart are combined afterwards; until then the joint loss sees the joint head alone.
                if not self.training or self.votes_are_trained:
                    voted = head.combine(torch.stack(experts, dim=1), fused.votes, self.fusion.space)
                    some = (fused.votes.sum(dim=1) > 0).view(-1, *[1] * (output.dim() - 1))
                    output = torch.where(some, voted, output.float())
            outputs[head.target.name] = output
        return outputs

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Loss]:
        """Per target, and per loss of a part, the sum and what to divide it by; parts have theirs in training only.

        With the columns' own losses it is L = w_0 L_joint + sum_m w_m L_m, each L_m over the rows that have column m.
        All are divided by the joint count, so splitting a batch changes nothing.
        """
        found = {}
        targets = with_truth(self._heads, batch)
        batch = seen(self._heads, batch) if self.training and self.own_targets else batch
        for index, head in enumerate(self._heads):
            name, target = head.target.name, targets[head.target.name]
            loss = head.loss(outputs[name], target, batch.weights)
            total = loss.total
            if self.loss_weights is not None and _key(name, self.schema.names[0]) in outputs:
                total = self.loss_weights[0] * total
                for position, alone in enumerate(self._losses_alone(index, outputs, batch)):
                    total = total + self.loss_weights[1 + position] * alone.total
            # A place in a shared space is of one column, whatever else there is.
            if (key := _key(name, "some columns")) in outputs and name not in self.whole_batch_heads:
                more, fewer = head.row_losses(outputs[name], target), head.row_losses(outputs[key], target)
                total = total + self.ranking_loss * ((more - fewer).clamp(min=0) * batch.weights).sum()
            found[name] = Loss(total, loss.count)
        rows = self._num_rows(batch)
        for name in self._auxiliary:
            if _key(name) in outputs:
                found[name] = Loss(outputs[_key(name)].sum(), rows)
        return found

    @property
    def whole_batch_heads(self) -> dict[str, Any]:
        """The heads whose loss compares the rows of a batch, by their targets."""
        return {head.target.name: head for head in self._heads if head.target.task is Task.RETRIEVAL}

    def own_outputs(self, batch: Batch) -> dict[str, Float[Tensor, "batch ..."]]:
        """Raw outputs per target and, as in training, each column's own, whatever the mode."""
        return self._outputs_apart(self._fuse(self.encode(batch), batch), with_truth(self._heads, batch))

    def own_losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, list[Loss]]:
        """Each loss apart: per target that of all columns together, then each column's own over the rows that have it.

        Args:
            outputs: From `own_outputs`, or from `forward` in training.
            batch: With targets.
        """
        found, targets = {}, with_truth(self._heads, batch)
        for index, head in enumerate(self._heads):
            name = head.target.name
            together = head.loss(outputs[name], targets[name], batch.weights)
            found[name] = [together, *self._losses_alone(index, outputs, batch)]
        return found

    def own_scores(
        self, outputs: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Float[Tensor, " columns"], Float[Tensor, " columns"]]:
        """How right each column is alone: a row's probability of its class, or exp(-loss) where there is no class.

        Args:
            outputs: From `own_outputs`, or from `forward` in training.
            batch: With targets.

        Returns:
            Per column the summed scores, and the summed weights of the rows that they are of.
        """
        return own_scores(self._unimodal, lambda name, column: outputs[_key(name, column)], batch, self.head_weights)

    @property
    def column_encoders(self) -> dict[str, nn.Module]:
        """Each column's encoder, in order."""
        return dict(zip(self.schema.names, self.encoders, strict=True))

    def _losses_alone(self, index: int, outputs: Mapping[str, Tensor], batch: Batch) -> list[Loss]:
        """Each column's own loss of the target at that position."""
        name = self.schema.targets[index].name
        return [
            heads[index].loss(outputs[_key(name, column)], own_target(batch, name, column), batch.weights)
            for column, heads in self._unimodal
            if index in heads
        ]

    def counts(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Per target, and per loss of a part, what its sum is divided by, without a forward."""
        targets = with_truth(self._heads, batch)
        counts = {head.target.name: head.count(targets[head.target.name], batch.weights) for head in self._heads}
        return counts | dict.fromkeys(self._auxiliary, self._num_rows(batch))

    @staticmethod
    def _num_rows(batch: Batch) -> Float[Tensor, ""]:
        return (batch.rows >= 0).sum().float()

    @property
    def _auxiliary(self) -> list[str]:
        return list(self.head_weights)[len(self.schema.targets) :]

    @property
    def _heads(self) -> list[Any]:
        """The heads of what was fused; those of the first column where only columns decide."""
        chosen: Any = self.heads if len(self.heads) else self.unimodal_heads[0]
        return list(chosen)

    @property
    def _unimodal(self) -> list[tuple[str, dict[int, Any]]]:
        """Per column its own heads by their targets' positions; empty without losses of their own."""
        own: list[Any] = list(self.unimodal_heads)
        return [
            (column.name, dict(zip(self.own_targets, heads, strict=True)))
            for column, heads in zip(self.schema.columns, own, strict=False)
        ]

    @torch.inference_mode()
    def expert_outputs(self, batch: Batch) -> tuple[dict[str, Float[Tensor, "batch experts ..."]], Fused]:
        """Of a decision-level fusion each expert's outputs per target, and what was fused."""
        fused = self._fuse(self.encode(batch), batch)
        alone = self._read_alone(fused)
        found = {}
        for index, head in enumerate(self._heads):
            experts = [alone[column, index] for column in self.schema.names]
            found[head.target.name] = torch.stack([*experts, head(fused)] if len(self.heads) else experts, dim=1)
        return found, fused

    @torch.inference_mode()
    def fused(self, batch: Batch) -> Fused:
        """What all columns are made into, before any head reads it; the caller has the model in eval mode."""
        return self._fuse(self.encode(batch), batch)

    def redecoded(self, decodings: Mapping[str, DecodingConfig]) -> MultimodalModel:
        """The same model, weights shared, that writes some targets in another way."""
        other = copy.copy(self)
        other._modules = dict(self._modules)  # which a shallow copy shares, and the next line would change
        other.heads = nn.ModuleList(
            head.redecoded(decodings[head.target.name]) if head.target.name in decodings else head
            for head in self._heads
        )
        return other

    def head(self, target: str) -> Any:
        """The head of a target."""
        return next(head for head in self._heads if head.target.name == target)

    def decode(self, outputs: Mapping[str, Tensor]) -> dict[str, Prediction]:
        """Raw outputs in the table's own terms."""
        return {head.target.name: head.predict(outputs[head.target.name]) for head in self._heads}

    @torch.inference_mode()
    def predict(self, batch: Batch, *, write: bool = True) -> dict[str, Prediction]:
        """Predictions per target; the caller has the model in eval mode.

        Args:
            batch: Where it has targets, a text's prediction also says how likely the true one is.
            write: Whether texts are written at all.
        """
        return self._predictions(self.encode(batch), batch, write=write)

    @torch.inference_mode()
    def predict_subsets(
        self, batch: Batch, subsets: list[frozenset[str]], *, write: bool = True
    ) -> list[dict[str, Prediction]]:
        """Predictions as if only these columns were there, for several sets of columns, encoding once."""
        tokens = self.encode(batch)
        nothing = torch.zeros(len(batch), dtype=torch.bool, device=batch.device)
        everything = ~nothing
        return [
            self._predictions(
                {n: t.masked(everything if n in subset else nothing) for n, t in tokens.items()},
                batch,
                write=write,
            )
            for subset in subsets
        ]

    def _predictions(self, tokens: Mapping[str, Tokens], batch: Batch, *, write: bool) -> dict[str, Prediction]:
        fused = self._fuse(tokens, batch)
        if fused.votes is not None:
            return self.decode(self._read(fused, self._read_alone(fused), batch.targets))
        targets = with_truth(self._heads, batch)
        names = {head.target.name: head for head in self._heads}
        return {name: head.read(fused.of(name), targets.get(name), write=write) for name, head in names.items()}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable parameters by learning-rate scale: pretrained parts learn more slowly."""
        return parameter_groups(self)

    def train(self, mode: bool = True) -> MultimodalModel:
        """Encoders that are held fixed stay in evaluation mode: no dropout, and no running statistics move."""
        super().train(mode)
        for encoder in held_encoders(self):
            encoder.eval()
        return self

    def save_resources(self, folder: Path) -> None:
        """Writes what building needs besides config and weights."""
        for index, encoder in enumerate(self.encoders):
            encoder.save_resources(folder / str(index))  # type: ignore[operator]
        for index, head in enumerate(self.heads):
            head.save_resources(folder / f"head_{index}")  # type: ignore[operator]


def _heads(
    config: ModelConfig, schema: Schema, chosen: Sequence[int] | None = None, resources: Path | None = None
) -> nn.ModuleList:
    """A head for each target, or for those at the chosen positions."""
    heads = [
        config.heads[target.name].create(target, config.width, _folder(resources, f"head_{index}"))
        for index, target in enumerate(schema.targets)
        if chosen is None or index in chosen
    ]
    for head in heads:
        head.connect([column for column in schema.columns if column.name not in head.without])
    return nn.ModuleList(heads)


def _key(name: str, column: str = "") -> str:
    """The outputs' key of a column's own head or of a part's loss; no target is named so, since names hold no NUL."""
    return f"{name}\0{column}"


def _folder(resources: Path | None, name: str) -> Path | None:
    return None if resources is None else resources / name
