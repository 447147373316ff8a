"""The parts of a model that can be moved into another, held fixed, or trained at a rate of their own.

A part is an encoder (`encoders.COLUMN`), the fusion (`fusion`) or a head (`heads.TARGET`) with all that belongs to it:
a column's learned stand-in for an absent cell goes with its encoder, the columns' own heads of a target with its head.
Its tensors are named from the part on, so that a part is the same wherever it stands in a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from polysense.nn.model import MultimodalModel

__all__ = ["hold", "mismatch", "move", "parameter_groups", "part_names", "part_tensors"]


def part_names(model: MultimodalModel) -> tuple[str, ...]:
    """All parts of a model, in order."""
    return (
        *(f"encoders.{column.name}" for column in model.schema.columns),
        "fusion",
        *(f"heads.{target.name}" for target in model.schema.targets),
    )


def part_tensors(model: MultimodalModel, part: str) -> dict[str, Tensor]:
    """A part's weights and running statistics, by their names within the part; changing one changes the model."""
    found = {}
    for name, tensor in model.state_dict().items():
        for prefix, within in _prefixes(model, part).items():
            if name == prefix or (prefix.endswith(".") and name.startswith(prefix)):
                found[within + name.removeprefix(prefix)] = tensor
    return found


def mismatch(model: MultimodalModel, part: str, source: MultimodalModel, source_part: str) -> str | None:
    """Why the tensors of one model's part can't be another's; None if each fits."""
    own, theirs = part_tensors(model, part), part_tensors(source, source_part)
    if not own and not theirs:
        return "it has no weights"
    for name in [*own, *theirs]:
        if name not in theirs:
            return f"{name} {_shape(own[name])} is not there"
        if name not in own:
            return f"{name} {_shape(theirs[name])} has no place here"
        if own[name].shape != theirs[name].shape or own[name].dtype != theirs[name].dtype:
            return f"{name} is {_shape(theirs[name])} there and {_shape(own[name])} here"
    return None


@torch.no_grad()
def move(model: MultimodalModel, part: str, source: MultimodalModel, source_part: str) -> tuple[int, int]:
    """Copies a part's tensors, all of them or none.

    Returns:
        How many tensors they are, and how many numbers in all.
    """
    reason = mismatch(model, part, source, source_part)
    assert reason is None, f"{source_part} can't be {part}: {reason}"
    own, theirs = part_tensors(model, part), part_tensors(source, source_part)
    for name, tensor in own.items():
        tensor.copy_(theirs[name])
    return len(own), sum(tensor.numel() for tensor in own.values())


def hold(model: MultimodalModel, parts: Sequence[str]) -> None:
    """Holds parts fixed: nothing of them is trained, decayed or averaged.

    Encoders stay in evaluation mode too (`MultimodalModel.train`): their running statistics stand still.
    """
    for part in parts:
        for parameter in _parameters(model, part):
            parameter.requires_grad_(False)
    model.held = tuple(parts)


def held_encoders(model: MultimodalModel) -> list[nn.Module]:
    """The encoders that are held fixed."""
    return [encoder for name, encoder in model.column_encoders.items() if f"encoders.{name}" in model.held]


def parameter_groups(model: MultimodalModel) -> list[dict[str, Any]]:
    """Trainable parameters by learning-rate scale: pretrained parts, and those of `part_scales`, learn more slowly."""
    scales: dict[int, float] = {}
    encoders: list[Any] = list(model.encoders)
    for column, encoder in zip(model.schema.columns, encoders, strict=True):
        for parameter in encoder.pretrained_parameters():
            scales[id(parameter)] = model.learning_rate_scales[column.name]
    heads: list[Any] = list(model.heads)
    for head in heads:
        for parameter in head.pretrained_parameters():
            scales[id(parameter)] = head.learning_rate_scale
    for part, scale in model.part_scales.items():
        for parameter in _parameters(model, part):
            scales[id(parameter)] = scales.get(id(parameter), 1.0) * scale
    groups: dict[float, list[nn.Parameter]] = {1.0: []}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault(scales.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": params, "lr_scale": scale} for scale, params in groups.items()]


def _parameters(model: MultimodalModel, part: str) -> list[nn.Parameter]:
    prefixes = _prefixes(model, part)
    return [
        parameter
        for name, parameter in model.named_parameters()
        if any(name == prefix or (prefix.endswith(".") and name.startswith(prefix)) for prefix in prefixes)
    ]


def _prefixes(model: MultimodalModel, part: str) -> Mapping[str, str]:
    """What the names of a part's tensors begin with in the model, and what stands for it within the part."""
    kind, _, name = part.partition(".")
    if kind == "fusion":
        return {"fusion.": ""}
    if kind == "encoders":
        index = model.schema.names.index(name)
        return {f"encoders.{index}.": "", f"missing.{index}": "stand-in"}
    index = [target.name for target in model.schema.targets].index(name)
    prefixes = {f"heads.{index}.": ""}
    if index in model.own_targets:
        position = model.own_targets.index(index)
        for column in range(len(model.unimodal_heads)):
            prefixes[f"unimodal_heads.{column}.{position}."] = f"own head {column}/"
    return prefixes


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(map(str, tensor.shape)) + "]"
