"""The parts of a model that can be transferred to another, frozen, or trained at a rate of their own.

A part is an encoder (`encoders.COLUMN`), the fusion (`fusion`) or a head (`heads.TARGET`) with all that belongs to it:
a column's learned stand-in for an absent cell goes with its encoder, the columns' own heads of a target with its head.
Its tensors are named from the part on, so that a part is the same wherever it stands in a model.

Estimators belong to their head, but their sizes are those of the rows that they were fitted on: they move only if the
features that they read do, and are fitted anew otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.estimators.base import Estimator
from polysense.nn.model import MultimodalModel
from polysense.nn.objectives.unimodal import UnimodalHeads

__all__ = ["estimators_of", "freeze", "mismatch", "part_tensors", "scale_learning_rate", "transfer"]


def part_tensors(model: MultimodalModel, part: str) -> dict[str, Tensor]:
    """A part's weights and running statistics, by their names within the part; changing one changes the model."""
    tensors = model.state_dict()
    return {within: tensors[name] for name, within in _names(model, part, list(tensors)).items()}


def mismatch(model: MultimodalModel, part: str, source: MultimodalModel, source_part: str) -> str | None:
    """Why the tensors of one model's part can't be another's; None if each fits. Estimators are not asked."""
    own, theirs = _trained_tensors(model, part), _trained_tensors(source, source_part)
    if not own and not theirs:
        return "it has no weights"
    for name in [*own, *theirs]:
        if name not in theirs:
            return f"{name} {_shape(own[name])} is not there"
        if name not in own:
            return f"{name} {_shape(theirs[name])} has no counterpart here"
        if own[name].shape != theirs[name].shape or own[name].dtype != theirs[name].dtype:
            return f"{name} is {_shape(theirs[name])} there and {_shape(own[name])} here"
    return None


@torch.no_grad()
def transfer(
    model: MultimodalModel, part: str, source: MultimodalModel, source_part: str, moved_columns: Collection[str] = ()
) -> tuple[int, int]:
    """Copies a part's tensors, which fit (`mismatch`).

    Args:
        model: What they are copied into.
        part: Of it.
        source: The trained model.
        source_part: Of it.
        moved_columns: Input columns whose encoder moves, and with it how feature vectors are made of their cells.

    Returns:
        How many tensors they are, and how many numbers in all.
    """
    own, theirs = _trained_tensors(model, part), _trained_tensors(source, source_part)
    for name, tensor in own.items():
        tensor.copy_(theirs[name])
    tensors = [*own.values()]
    estimators, known = estimators_of(model, part), estimators_of(source, source_part)
    for name, estimator in estimators.items():
        if set(estimator.columns) <= set(moved_columns):
            estimator.load_state_dict(known[name].state_dict())
            tensors += estimator.state_dict().values()
    return len(tensors), sum(tensor.numel() for tensor in tensors)


def estimators_of(model: MultimodalModel, part: str) -> Mapping[str, Estimator]:
    """The estimators of a part by name; only an ensemble head has any."""
    kind, _, name = part.partition(".")
    head = model.by_target()[name] if kind == "heads" else None
    return head.named_estimators() if isinstance(head, EnsembleHead) else {}


def _trained_tensors(model: MultimodalModel, part: str) -> dict[str, Tensor]:
    tensors = part_tensors(model, part)
    if not estimators_of(model, part):
        return tensors
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("estimators.")}


def freeze(model: MultimodalModel, parts: Sequence[str]) -> None:
    """Freezes parts: nothing of them is trained, decayed or averaged.

    Encoders stay in evaluation mode too (`MultimodalModel.train`): their running statistics stand still.
    """
    for part in parts:
        for parameter in _parameters(model, part).values():
            parameter.requires_grad_(False)
    model.frozen = tuple(parts)


def scale_learning_rate(model: MultimodalModel, parts: Sequence[str], factor: float) -> None:
    """Lets parts learn at a rate of their own, over the rest's; pretrained parts' own scales are multiplied by it."""
    for part in parts:
        for name in _parameters(model, part):
            model.parameter_scales[name] = model.parameter_scales.get(name, 1.0) * factor


def _parameters(model: MultimodalModel, part: str) -> dict[str, nn.Parameter]:
    parameters = dict(model.named_parameters())
    return {name: parameters[name] for name in _names(model, part, list(parameters))}


def _names(model: MultimodalModel, part: str, names: Sequence[str]) -> dict[str, str]:
    """Which of a model's tensors are a part's, and their names within it."""
    chosen = {}
    for name in names:
        for prefix, within in _prefixes(model, part).items():
            # What stands in for a column goes with its encoder.
            if part == "fusion" and name.startswith("fusion.missing."):
                continue
            if name == prefix or (prefix.endswith(".") and name.startswith(prefix)):
                chosen[name] = within + name.removeprefix(prefix)
    return chosen


def _prefixes(model: MultimodalModel, part: str) -> Mapping[str, str]:
    """What the names of a part's tensors begin with in the model, and what stands for it within the part."""
    kind, _, name = part.partition(".")
    if kind == "fusion":
        return {"fusion.": ""}
    if kind == "encoders":
        index = model.schema.names.index(name)
        return {f"encoders.{index}.": "", f"fusion.missing.{index}": "missing-modality token"}
    index = [target.name for target in model.schema.targets].index(name)
    prefixes = {f"heads.{index}.": ""}
    for position, objective in enumerate(model.by_objective().values()):
        if isinstance(objective, UnimodalHeads) and name in objective.targets:
            prefixes[f"objectives.{position}.heads.{objective.targets.index(name)}."] = "unimodal head "
    return prefixes


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(map(str, tensor.shape)) + "]"
