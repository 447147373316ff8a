"""The model: encode every column, fuse, read every target.

An absent column is an all-False mask on every path: a missing cell, a column that a request lacks, modality dropout and
an audited subset of columns are the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polysense.config.base import Config
from polysense.core.batch import Batch
from polysense.core.prediction import Loss, Prediction
from polysense.core.schema import Requirements, Schema
from polysense.core.tokens import Fused, Tokens
from polysense.errors import ConfigError
from polysense.nn.encoders import EncoderConfig
from polysense.nn.fusion import FusionConfig
from polysense.nn.fusion.gated import GatedFusionConfig
from polysense.nn.heads import HeadConfig

__all__ = ["ModelConfig", "MultimodalModel"]


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
            heads.
    """

    width: int = 128
    encoders: Mapping[str, EncoderConfig] = field(default_factory=dict)
    fusion: FusionConfig = field(default_factory=GatedFusionConfig)
    heads: Mapping[str, HeadConfig] = field(default_factory=dict)
    unimodal_loss: float = 0.0

    def __post_init__(self) -> None:
        if self.unimodal_loss < 0:
            raise ConfigError(f"unimodal_loss must be at least 0; found {self.unimodal_loss}")

    def requirements(self) -> dict[str, Requirements]:
        """Per column, what its encoder asks of the preprocessing."""
        return {name: encoder.requirements(name) for name, encoder in self.encoders.items()}

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
    """Encoders, a fusion and heads over one schema."""

    def __init__(self, config: ModelConfig, schema: Schema, resources: Path | None = None) -> None:
        super().__init__()
        self.schema = schema
        self.width = config.width
        # A column's name may hold dots or be one of ModuleDict's own methods' names; a position never clashes.
        self.encoders = nn.ModuleList(
            config.encoders[column.name].build(column, config.width, _folder(resources, index))
            for index, column in enumerate(schema.columns)
        )
        self.fusion = config.fusion.build(schema.names, config.width)
        self.heads = nn.ModuleList(config.heads[target.name].build(target, config.width) for target in schema.targets)
        # Built last, so that a weight of 0 leaves every other initial weight as it is.
        self.unimodal_loss = config.unimodal_loss
        self.unimodal_heads = nn.ModuleList(
            nn.ModuleList(config.heads[target.name].build(target, config.width) for target in schema.targets)
            for _ in (schema.columns if config.unimodal_loss > 0 and len(schema.columns) > 1 else ())
        )
        self.head_weights = {target.name: config.heads[target.name].loss_weight for target in schema.targets}
        self.learning_rate_scales = {
            column.name: float(getattr(config.encoders[column.name], "learning_rate_scale", 1.0))
            for column in schema.columns
        }

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, "batch ..."]]:
        """Raw outputs per target; in training also those of each column alone, where there are such heads."""
        fused = self.fusion(self.encode(batch))
        outputs = self._read(fused)
        if self.training:
            for column, heads in self._unimodal:
                alone = replace(fused, pooled=fused.unimodal[column])
                for head in heads:
                    outputs[_alone(head.target.name, column)] = head(alone)
        return outputs

    def encode(self, batch: Batch) -> dict[str, Tokens]:
        """Tokens per column. A column that the batch lacks is one masked token."""
        tokens: dict[str, Tokens] = {}
        for column, encoder in zip(self.schema.columns, self.encoders, strict=True):
            values = batch.columns.get(column.name)
            tokens[column.name] = self._absent(batch, encoder) if values is None else encoder(values)
        return tokens

    def read(self, tokens: Mapping[str, Tokens]) -> dict[str, Float[Tensor, "batch ..."]]:
        """Raw outputs per target from encoded columns; a column masked out here was never there."""
        return self._read(self.fusion(tokens))

    def _read(self, fused: Fused) -> dict[str, Float[Tensor, "batch ..."]]:
        return {target.name: head(fused) for target, head in zip(self.schema.targets, self.heads, strict=True)}

    def _absent(self, batch: Batch, encoder: nn.Module) -> Tokens:
        values = torch.zeros(len(batch), 1, self.width, device=batch.device)
        if self.training:
            # Every parameter is touched on every rank, or DDP waits for its gradient for ever. One element each costs
            # nothing.
            touched = sum(p.flatten()[:1].sum() * 0.0 for p in encoder.parameters() if p.requires_grad)
            values = values + touched
        return Tokens(values, torch.zeros(len(batch), 1, dtype=torch.bool, device=batch.device), (1,))

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Loss]:
        """Per target the summed loss and what to divide it by.

        With unimodal losses it is L = L_joint + w sum_m L_m, each L_m over the rows that have column m. All are divided
        by the joint count, so splitting a batch changes nothing.
        """
        found = {}
        for index, head in enumerate(self._heads):
            name, target = head.target.name, batch.targets[head.target.name]
            loss = head.loss(outputs[name], target, batch.weights)
            total = loss.total
            for column, heads in self._unimodal:
                if (key := _alone(name, column)) in outputs:
                    values = batch.columns.get(column)
                    present = target.present & (False if values is None else values.present)
                    alone = heads[index].loss(outputs[key], replace(target, present=present), batch.weights)
                    total = total + self.unimodal_loss * alone.total
            found[name] = Loss(total, loss.count)
        return found

    def counts(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Per target what its summed loss is divided by, without a forward."""
        return {head.target.name: head.count(batch.targets[head.target.name], batch.weights) for head in self._heads}

    @property
    def _heads(self) -> list[Any]:
        return list(self.heads)

    @property
    def _unimodal(self) -> list[tuple[str, list[Any]]]:
        """Per column its own heads, in the targets' order; empty without unimodal losses."""
        own: list[Any] = list(self.unimodal_heads)
        return [(column.name, list(heads)) for column, heads in zip(self.schema.columns, own, strict=False)]

    def decode(self, outputs: Mapping[str, Tensor]) -> dict[str, Prediction]:
        """Raw outputs in the table's own terms."""
        return {head.target.name: head.predict(outputs[head.target.name]) for head in self._heads}

    @torch.inference_mode()
    def predict(self, batch: Batch) -> dict[str, Prediction]:
        """Predictions per target; the caller has the model in eval mode."""
        return self.decode(self.forward(batch))

    @torch.inference_mode()
    def predict_subsets(self, batch: Batch, subsets: list[frozenset[str]]) -> list[dict[str, Prediction]]:
        """Predictions as if only these columns were there, for several sets of columns, encoding once."""
        tokens = self.encode(batch)
        nothing = torch.zeros(len(batch), dtype=torch.bool, device=batch.device)
        everything = ~nothing
        return [
            self.decode(self.read({n: t.masked(everything if n in subset else nothing) for n, t in tokens.items()}))
            for subset in subsets
        ]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable parameters by learning-rate scale: pretrained parts learn more slowly."""
        groups: dict[float, list[nn.Parameter]] = {}
        slow: set[int] = set()
        for column, encoder in zip(self.schema.columns, self.encoders, strict=True):
            for parameter in encoder.pretrained_parameters():  # type: ignore[operator]
                groups.setdefault(self.learning_rate_scales[column.name], []).append(parameter)
                slow.add(id(parameter))
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in slow]
        return [{"params": rest, "lr_scale": 1.0}] + [
            {"params": params, "lr_scale": scale} for scale, params in groups.items()
        ]

    def save_resources(self, folder: Path) -> None:
        """Writes what building needs besides config and weights."""
        for index, encoder in enumerate(self.encoders):
            encoder.save_resources(folder / str(index))  # type: ignore[operator]


def _alone(target: str, column: str) -> str:
    """The outputs' key of a column's own head; no target is named so, since names hold no NUL."""
    return f"{target}\0{column}"


def _folder(resources: Path | None, index: int) -> Path | None:
    return None if resources is None else resources / str(index)
