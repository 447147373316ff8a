"""Ensemble head (decision-level fusion): every column decides alone, and the decisions are combined.

p = softmax(sum_m w_m l_m), over experts that share encoders: one head per column, reading that column's own summary.
The weights w are uniform over what is present; learned with the rest; given by a gate that sees all columns, a mixture
of experts (Jacobs et al., "Adaptive mixtures of local experts", 1991); or fitted on the validation rows once the
experts are trained. The last is for columns that generalize unequally: training rows say that a memorized column is
excellent, only rows that were not trained on say how much it may be trusted. It calibrates too, since the weights need
not sum to 1.

Decisions add up and do not interact: of two columns whose exclusive or is the answer, each is silent. `joint` adds one
more expert, which reads what was fused. With `apart`, no loss of the combination is trained on: each expert is a model
of its own, and their averaged probabilities are the baseline that a fusion must beat, because balancing methods
"struggle to surpass even simple baselines, such as ensembles" (arXiv 2411.07335).

`estimators` are experts too: linear models and trees over the columns' feature vectors (`nn.estimators`), fitted once
the networks are trained. Until then they have no weight.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.config.base import members
from polysense.config.limits import NonNegativeFloat
from polysense.core.batch import Batch, Truth
from polysense.core.pytree import map_tensors, pytree_node, tensors
from polysense.core.rows import ColumnLosses, RowContext, RowLoss
from polysense.core.schema import Column, Target
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.estimators.base import Estimator, EstimatorConfig
from polysense.nn.head import Head, HeadConfig, Logits, Space
from polysense.nn.temperature import SubsetFactors, SubsetRows
from polysense.nn.tempered_head import TemperedHead
from polysense.nn.vectors_alone import VectorHead

__all__ = ["EnsembleHead", "EnsembleHeadConfig", "Experts"]


@dataclass(frozen=True, kw_only=True)
class EnsembleHeadConfig(HeadConfig):
    """A head per column, their decisions combined (late fusion, unimodal ensemble).

    Attributes:
        hidden: Not used; that of `head` counts.
        dropout: Likewise.
        head: The head that every column has.
        weights: How much each expert counts: "uniform"; "learned" (one weight each, trained with the rest); "gate" (a
            mixture of experts: weights that depend on the row); or "validation" (each expert is trained on its own
            loss, then the weights are fitted on the validation rows).
        joint: Whether one more expert reads what was fused, for what only columns together show.
        space: The space in which experts are combined: "logits", or "probabilities".
        apart: Whether each expert is trained only on its own loss; always the case with weights: validation.
        expert_loss: Weight of each column's own loss; null: where experts are trained apart 0.5 beside a joint one,
            whose weight is 1, and 1 without; else 0.
        estimators: More experts, by a name of your choice: models of the columns' feature vectors, which are fitted
            after the training; with weights: validation.
    """

    type: Literal["ensemble"] = "ensemble"
    head: HeadConfig = field(kw_only=True)
    weights: Literal["uniform", "learned", "gate", "validation"] = "uniform"
    joint: bool = False
    space: Space = "logits"
    apart: bool = False
    expert_loss: NonNegativeFloat | None = None
    estimators: Mapping[str, EstimatorConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.head.unimodal:
            raise ConfigError(
                f"head: a column alone can't have {self.head.type!r}, because it reads more than a summary or combines "
                "no experts; take that head itself, and a fusion such as transformer"
            )
        if self.estimators and self.weights != "validation":
            raise ConfigError(
                f"estimators: found weights: {self.weights}; estimators are fitted after the training, so the weights "
                "must be fitted then too (weights: validation)"
            )

    @classmethod
    def serves(cls) -> frozenset[str]:
        """The tasks of the heads that a column alone can have."""
        heads = [head for head in members(cls.family).values() if issubclass(head, HeadConfig) and head.unimodal]
        return frozenset(task for head in heads for task in head.serves())

    @property
    def trains_apart(self) -> bool:
        """Whether no loss of the combination is trained on."""
        return self.apart or self.weights == "validation"

    @property
    def corrections(self) -> Sequence[str]:
        return self.head.corrections

    def build(self, target: Target, width: int) -> EnsembleHead:
        self.head.check(target)
        return EnsembleHead(self, target, width)

    def for_column(self, column: str) -> EnsembleHeadConfig:
        """Of the estimators those that read the column, each once: of one column alone all columns are the same."""
        kept: dict[str, EstimatorConfig] = {}
        for name, estimator in self.estimators.items():
            own = replace(estimator, columns=(column,))
            if (estimator.columns is None or column in estimator.columns) and own not in kept.values():
                kept[name] = own
        return replace(self, head=self.head.for_column(column), estimators=kept)


@pytree_node
@dataclass(frozen=True, eq=False)
class Experts:
    """What every expert gave, and their combination.

    Attributes:
        combined: As the experts' own head gives it.
        each: Per expert, the columns in order, then the joint one, then the estimators that are fitted.
        present: Which experts each row has; the joint one where it has any column, an estimator where it has one of
            its own.
    """

    combined: object
    each: tuple[object, ...]
    present: Bool[Tensor, "batch experts"]


class EnsembleHead(Head[Experts], VectorHead):
    """The experts and their weights.

    Attributes:
        inputs: The columns that it reads.
        columns: Those that have an expert of their own.
        experts: A head for each of these, then the joint one.
        estimators: In the config's order, those that read any feature.
        fitted: The weights that `fit_ensemble_weights` found, with weights: validation.
        stays: Whether it came from another model and nothing of it is trained; then nothing of it is fitted either.
        subset_factors: Of the temperature of what is combined, by the columns that a row has.
    """

    fitted: Tensor
    stays: bool = False

    def __init__(self, config: EnsembleHeadConfig, target: Target, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self._config, self._width = config, width
        self.columns: tuple[str, ...] = ()
        self.inputs: tuple[str, ...] = ()
        self.estimator_names: tuple[str, ...] = ()
        self.experts, self.estimators = nn.ModuleList(), nn.ModuleList()
        self.subset_factors: SubsetFactors | None = None

    def connect(self, columns: Sequence[Column]) -> None:
        config, self.inputs = self._config, tuple(column.name for column in columns)
        # Of one column alone the joint expert is the column's own.
        self.columns = () if config.joint and len(self.inputs) == 1 else self.inputs
        num = len(self.columns) + config.joint
        self.experts.extend(config.head.build(self.target, self._width) for _ in range(num))
        if isinstance(self.inner, TemperedHead):
            self.subset_factors = SubsetFactors()
        if config.weights == "learned":
            self.scores = nn.Parameter(torch.zeros(num))
        elif config.weights == "gate":
            self.gate = nn.Linear(len(self.inputs) * self._width, num)
        elif config.weights == "validation":
            self.register_buffer("fitted", self.prior())
        self.mixes = self.inner.mixes
        for name, estimator in config.estimators.items():
            for column in estimator.columns or ():
                if column not in self.inputs:
                    raise ConfigError(
                        f"estimators.{name}.columns: there is no input column {column!r} (there are: "
                        f"{', '.join(self.inputs)})"
                    )
        if config.estimators:
            if self.inner.score_kind is None:
                raise ConfigError(
                    f"estimators: the head {config.head.type!r} takes no scores of estimators (`output_of`), so they "
                    "can't be experts beside it; leave them out"
                )
            requested = {column for each in config.estimators.values() for column in each.columns or self.inputs}
            self.reads_features = tuple(column for column in self.inputs if column in requested)

    def connect_features(self, sizes: Mapping[str, int]) -> None:
        head, names = self.inner, []
        assert head.score_kind is not None
        for name, config in self._config.estimators.items():
            own = {column: sizes[column] for column in config.columns or self.inputs if sizes.get(column, 0)}
            if own:
                names.append(name)
                self.estimators.append(config.build(own, head.score_kind, head.num_scores))
        self.estimator_names = tuple(names)
        self.register_buffer("fitted", self.prior())

    @property
    def column_losses(self) -> ColumnLosses:
        """What the experts' own losses are called among all of a model's."""
        names, experts = self.loss_names, self.expert_names
        own = {column: names[expert] for column, expert in zip(self.columns, experts, strict=False)}
        return ColumnLosses(names[experts[-1] if self._config.joint else "loss"], own)

    @property
    def estimator_configs(self) -> Mapping[str, EstimatorConfig]:
        """The estimators' settings by name."""
        return self._config.estimators

    @property
    def space(self) -> Space:
        """What is combined."""
        return self._config.space

    @property
    def inner(self) -> Head[object]:
        """The head that all experts are: the joint one, or the last column's."""
        return self.heads()[-1]

    @property
    def fits_weights(self) -> bool:
        """Whether estimators and weights are to be fitted once everything is trained."""
        stays = self.stays and all(estimator.is_fitted for estimator in self.named_estimators().values())
        return self._config.weights == "validation" and not stays

    @property
    def expert_names(self) -> tuple[str, ...]:
        """What the experts' own losses are called."""
        names = tuple(f"expert {column}" for column in self.columns)
        return (*names, "joint expert") if self._config.joint else names

    @property
    def weight_names(self) -> tuple[str, ...]:
        """What the weights belong to: columns, all columns together, estimators."""
        joint = ("all columns",) if self._config.joint else ()
        return (*self.columns, *joint, *self.estimator_names)

    def prior(self) -> Float[Tensor, " experts"]:
        """The weights before any validation row was seen: the joint expert alone, or all alike."""
        num, more = len(self.columns), [0.0] * len(self.estimators)
        if self._config.joint:
            return torch.tensor([0.0] * num + [1.0] + more)
        return torch.tensor([1 / num] * num + more)

    @property
    def loss_weights(self) -> Mapping[str, float]:
        own = self._config.expert_loss
        apart, joint = self._config.trains_apart, self._config.joint
        if own is None:
            own = (0.5 if joint else 1.0) if apart else 0.0
        weights = dict.fromkeys(self.expert_names, own)
        if joint:
            weights[self.expert_names[-1]] = float(apart)
        # Beside a joint expert that learns apart, the combination is a matter of prediction alone.
        return weights if self._learns_with_joint else {"loss": 0.0 if apart else 1.0, **weights}

    @property
    def _learns_with_joint(self) -> bool:
        return self._config.trains_apart and self._config.joint

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Experts:
        heads = self.heads()
        outputs = [head(fused.unimodal(name), context) for name, head in zip(self.columns, heads, strict=False)]
        there = torch.stack([fused.columns[name].present for name in self.inputs], dim=1)
        present = there[:, : len(self.columns)]
        if self._config.joint:
            outputs.append(heads[-1](fused, context))
            present = torch.cat([present, there.any(dim=1, keepdim=True)], dim=1)
        if self._learns_with_joint and self.training:
            return Experts(outputs[-1], tuple(outputs), present)
        for output, estimated in self._estimated(fused):
            outputs.append(output)
            present = torch.cat([present, estimated[:, None]], dim=1)
        weights = self._weights(fused, present)
        # Experts that learn apart are combined without a gradient: their combination teaches nobody.
        each = [map_tensors(torch.detach, output) for output in outputs] if self._config.trains_apart else outputs
        return Experts(self.combined(each, weights, fused, context), tuple(outputs), present)

    def predict(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        """As what is read, but experts of weight 0 are left out: with 30 columns that is most of the work."""
        if self._config.weights != "validation" or torch.compiler.is_compiling():
            return super().predict(fused, context)
        used, heads = (self.fitted > 0).tolist(), self.heads()
        outputs, there = list[object](), list[Tensor]()
        for index, name in enumerate(self.columns):
            if used[index]:
                outputs.append(heads[index](fused.unimodal(name), context))
                there.append(fused.columns[name].present)
        any_column = torch.stack([fused.columns[name].present for name in self.inputs], dim=1).any(dim=1)
        # A row of which no expert that counts says anything is read by the joint one, or from nothing.
        nothing = heads[-1](fused, context)
        if self._config.joint and used[len(self.columns)]:
            outputs.append(nothing)
            there.append(any_column)
        for output, estimated in self._estimated(fused, self._used_estimators()):
            outputs.append(output)
            there.append(estimated)
        if not outputs:
            return self.inner.arrays(self._divided(nothing, fused))
        weights = torch.stack(there, dim=1) * self.fitted[self.fitted > 0]
        combined = self.inner.combine(outputs, weights, self._config.space)
        combined = _instead(combined, nothing, weights.sum(dim=1) > 0)
        return self.inner.arrays(self._divided(combined, fused))

    @property
    def vectors_read(self) -> tuple[str, ...]:
        return self.reads_features if (used := self._used_estimators()) is None else _columns(used)

    @property
    def read_alone(self) -> tuple[str, ...]:
        used = self._used_estimators()
        if used is None or bool((self.fitted[: len(self.experts)] > 0).any()):
            return ()
        return _columns(used) if all(estimator.is_fitted for estimator in used) else ()

    def _used_estimators(self) -> list[Estimator] | None:
        """Those that have a weight in `predict`; None where it asks for all."""
        if self._config.weights != "validation" or torch.compiler.is_compiling():
            return None
        used = (self.fitted[len(self.experts) :] > 0).tolist()
        return [each for counts, each in zip(used, self.named_estimators().values(), strict=True) if counts]

    def _estimated(
        self, fused: Fused, estimators: Sequence[Estimator] | None = None
    ) -> Iterator[tuple[object, Bool[Tensor, " batch"]]]:
        """The estimators' outputs, by default of all, and the rows that have them: none before they are fitted."""
        head = self.inner
        for estimator in self.named_estimators().values() if estimators is None else estimators:
            there = torch.stack([fused.columns[name].present for name in estimator.columns], dim=1)
            if not estimator.is_fitted:
                scores = fused.pooled.new_zeros(len(there), estimator.num_outputs, dtype=torch.float32)
                yield head.output_of(scores), torch.zeros_like(there[:, 0])
                continue
            features = {name: fused.columns[name].features for name in estimator.columns}
            known = {name: vectors for name, vectors in features.items() if vectors is not None}
            yield head.output_of(estimator(known, there)), there.any(dim=1)

    def named_estimators(self) -> dict[str, Estimator]:
        """The estimators by name, fitted or not yet."""
        each = zip(self.estimator_names, self.estimators, strict=True)
        return {name: estimator for name, estimator in each if isinstance(estimator, Estimator)}

    def combined(
        self, outputs: Sequence[object], weights: Float[Tensor, "batch experts"], fused: Fused, context: RowContext
    ) -> object:
        """The experts' outputs as one. A row without any expert is read from the learned summary of nothing."""
        head = self.inner
        combined = head.combine(outputs, weights, self._config.space)
        nothing = outputs[len(self.columns)] if self._config.joint else head(fused, context)
        return _instead(combined, nothing, weights.sum(dim=1) > 0)

    def translated(self, output: Experts, other: Head[Experts]) -> Experts:
        """The other head's experts under this one's weights, where these are fitted; else as they were combined."""
        assert isinstance(other, EnsembleHead)
        inner, others = self.inner, other.inner
        if self._config.weights != "validation":
            each = tuple(inner.translated(one, others) for one in output.each)
            return Experts(inner.translated(output.combined, others), each, output.present)
        theirs = {name: index for index, name in enumerate(other.weight_names)}
        like = inner.translated(output.each[0], others)
        outputs, present = [], []
        for name in self.weight_names:
            index = theirs.get(name)  # an estimator of a column that has no features in the other's training rows
            outputs.append(map_tensors(torch.zeros_like, like) if index is None else output.each[index])
            present.append(output.present[:, 0] & False if index is None else output.present[:, index])
            if index is not None:
                outputs[-1] = inner.translated(outputs[-1], others)
        there = torch.stack(present, dim=1)
        weights = (there * self.fitted.to(there.device)).float()
        return Experts(inner.combine(outputs, weights, self._config.space), tuple(outputs), there)

    def heads(self) -> list[Head[object]]:
        """The experts."""
        return [head for head in self.experts if isinstance(head, Head)]

    def _weights(self, fused: Fused, present: Bool[Tensor, "batch experts"]) -> Float[Tensor, "batch experts"]:
        match self._config.weights:
            case "uniform":
                return present / present.sum(dim=1, keepdim=True).clamp(min=1)
            case "validation":
                return present * self.fitted
            case "learned":
                scores = self.scores.expand(len(present), -1)
            case _:
                summaries = torch.cat([fused.columns[name].summary for name in self.inputs], dim=1)
                scores = self.gate(summaries).float()
        # A finite floor keeps a row without any column from giving NaN; it has no weights.
        return scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(dim=-1) * present

    def loss(self, output: Experts, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        counts = self.count(truth)
        heads = self.heads()
        losses = {}
        if "loss" in counts:
            losses["loss"] = RowLoss(self._total(heads[-1], output.combined, truth), counts["loss"])
        for index, (name, head) in enumerate(zip(self.expert_names, heads, strict=True)):
            total = self._total(head, output.each[index], truth.masked(output.present[:, index]))
            losses[name] = RowLoss(total, counts[name])
        return losses

    @staticmethod
    def _total(head: Head[object], output: object, truth: Truth) -> Float[Tensor, " batch"]:
        return head.loss(output, truth)["loss"].total

    def truth(self, batch: Batch) -> Truth | None:
        return self.inner.truth(batch)

    def expect_even_classes(self) -> None:
        for head in self.heads():
            head.expect_even_classes()

    @property
    def selection_metric(self) -> str | None:
        return self.inner.selection_metric

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        return dict.fromkeys(self.loss_weights, self.inner.count(truth)["loss"])

    @property
    def calibrates(self) -> bool:
        return self.inner.calibrates

    def calibrate(self, output: Experts, truth: Truth, weights: Float[Tensor, " batch"]) -> str | None:
        return self.inner.calibrate(output.combined, truth, weights)

    def calibrate_subsets(self, subsets: Sequence[SubsetRows[Experts]]) -> str | None:
        head = self.inner
        if self.subset_factors is None or not isinstance(head, TemperedHead):
            return None
        own = [
            SubsetRows[Logits](
                columns=each.columns, output=_logits(each.output.combined), truth=each.truth, weights=each.weights
            )
            for each in subsets
        ]
        return head.fit_factors(self.subset_factors, own)

    def temperature_of(self, columns: Collection[str]) -> float | None:
        own = self.inner.temperature_of(columns)
        return own if own is None or self.subset_factors is None else own * self.subset_factors.of(columns)

    def tempered(self, output: Experts, fused: Fused) -> Experts:
        return replace(output, combined=self._divided(output.combined, fused))

    def _divided(self, combined: object, fused: Fused) -> object:
        head = self.inner
        if self.subset_factors is None or not isinstance(head, TemperedHead):
            return combined
        return head.divided(_logits(combined), self.subset_factors(fused))

    @property
    def has_energy(self) -> bool:
        # The log of a mean of probabilities has the energy 0 in every row.
        return self.inner.has_energy and self._config.space == "logits"

    def energy(self, output: Experts) -> Float[Tensor, " batch"]:
        return self.inner.energy(output.combined)

    def arrays(self, output: Experts) -> dict[str, Tensor]:
        return self.inner.arrays(output.combined)


def _columns(estimators: Sequence[Estimator]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column for estimator in estimators for column in estimator.columns))


def _logits(combined: object) -> Logits:
    assert isinstance(combined, Logits), f"a {type(combined).__name__}, expected Logits"
    return combined


def _instead(combined: object, nothing: object, some: Bool[Tensor, " batch"]) -> object:
    """The rows that any expert speaks of, and the others as they are read without."""
    pairs = zip(tensors(combined), tensors(nothing), strict=True)
    chosen = iter(
        [torch.where(some.view(-1, *[1] * (one.dim() - 1)), one, other.to(one.dtype)) for one, other in pairs]
    )
    return map_tensors(lambda _: next(chosen), combined)
