"""The weights that one column's expert has for itself, so that they may come from an epoch of their own.

An expert of a column reads the column's summary: its encoder, its normalization in the fusion, its head. Where every
head is an ensemble of such experts, nobody else reads these, and experts learn as if each were trained by itself. A
joint expert reads the same encoders, and so do objectives: then an expert's weights of another epoch would be read with
features that the joint one was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping

from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.model import MultimodalModel
from polysense.nn.objectives.encoder_losses import EncoderLosses

__all__ = ["expert_parts", "why_experts_share"]


def why_experts_share(model: MultimodalModel) -> str | None:
    """Why experts can't have weights of epochs of their own, in words; None where they can."""
    for name, head in model.by_target().items():
        if not isinstance(head, EnsembleHead) or not head.fits_weights:
            return f"the head of {name!r} is no ensemble whose weights are fitted on validation rows"
        if len(head.expert_names) > len(head.columns):
            return f"the joint expert of {name!r} reads the columns' encoders too"
        if len(head.columns) < 2:
            return f"{name!r} has one expert"
    for name, objective in model.by_objective().items():
        if not isinstance(objective, EncoderLosses):
            return f"the objective {name!r} reads the columns' encoders too"
    return None


def expert_parts(model: MultimodalModel) -> Mapping[str, tuple[str, ...]]:
    """Per column the names of its expert's trainable weights and running statistics in the model's state.

    Args:
        model: Whose experts share nothing.
    """
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    names = [name for name in model.state_dict() if name in trained or name not in fixed]
    results = {}
    for index, column in enumerate(model.schema.names):
        prefixes = [f"encoders.{index}.", f"fusion.norms.{index}."]
        for position, head in enumerate(model.by_target().values()):
            assert isinstance(head, EnsembleHead)
            if column in head.columns:
                prefixes.append(f"heads.{position}.experts.{head.columns.index(column)}.")
        own = tuple(n for n in names if n == f"fusion.missing.{index}" or n.startswith(tuple(prefixes)))
        if own:
            results[column] = own
    return results
