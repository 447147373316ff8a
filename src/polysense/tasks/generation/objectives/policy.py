"""A head that writes as a policy: how probable a text is to it, and to the reference that it is kept near to.

The reference is the model that training starts from. Where nothing but low-rank adapters is trained, and they start as
nothing, that is the model with its adapters switched off; otherwise a copy of what is trained, which shares all that is
frozen. Both give the same numbers; the first needs no copy at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from polysense.core.logs import get_logger
from polysense.core.rows import RowContext
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.head import BaseHead, Head
from polysense.nn.layers.causal_lm import are_untouched, lora_parameters
from polysense.nn.layers.dropout import without_dropout
from polysense.nn.objectives.base import Beginning, Blueprint, TrainingState, WholeModel
from polysense.nn.objectives.reference import ReferenceModel
from polysense.tasks.generation.heads.autoregressive import WritingHead, WritingHeadConfig

__all__ = ["Policy", "ReferenceKind", "evaluating", "find_target"]

ReferenceKind: TypeAlias = Literal["auto", "adapter", "copy", "none"]

_log = get_logger("polysense.training")


def find_target(objective: str, target: str | None, blueprint: Blueprint) -> str:
    """The generated text that an objective is about.

    Raises:
        ConfigError: There is no such target, or none or several could be meant.
    """
    written = [name for name, head in blueprint.heads.items() if isinstance(head, WritingHeadConfig)]
    if (target is None and len(written) != 1) or (target is not None and target not in written):
        raise ConfigError(
            f"{objective}: target is {target or 'null'}; expected the one generated text among "
            f"{', '.join(written) or 'none'}"
        )
    return target or written[0]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within it a module is in evaluation mode, whatever the model around it is in."""
    was = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was)


class Policy:
    """What an objective asks of the head that it trains, and of the reference.

    Args:
        where: The objective, for messages.
        target: Whose head it is.
        kind: Which reference: "adapter" trains the adapters alone, "auto" is that where nothing else is trained anyway,
            and otherwise "copy".
    """

    def __init__(self, where: str, target: str, kind: ReferenceKind) -> None:
        self.target, self._where, self._kind = target, where, kind
        self._copy: ReferenceModel | None = None

    @property
    def has_reference(self) -> bool:
        """Whether there is one."""
        return self._kind != "none"

    def begin(self, beginning: Beginning) -> None:
        """Takes the model as the reference, and switches its dropout off: two passes must be of one network.

        Raises:
            ConfigError: There is no such reference.
        """
        model = beginning.model
        assert isinstance(model, nn.Module)
        without_dropout(model)
        if self._kind == "none":
            return
        others = self._trained_beside_adapters(model)
        obstacle = self._why_no_adapter(model.head(self.target))
        if self._kind == "adapter" and obstacle:
            raise ConfigError(f"{self._where}.reference: adapter: {obstacle}; set it to copy, or to auto")
        if self._kind == "auto":
            self._kind = "copy" if obstacle or others else "adapter"
        if self._kind == "adapter":
            for parameter in others:
                parameter.requires_grad_(False)
            _log.info(
                "%s: the reference is the model with its adapters switched off; nothing else is trained", self._where
            )
            return
        if not beginning.is_trained:
            raise ConfigError(
                f"{self._where}: expected a trained model to start from, found weights that are drawn at random, which "
                "are no reference to stay near to. Name a bundle that was trained to write these texts: "
                f"init_from.bundle=PATH init_from.parts=[...] with heads.{self.target} among them; or set reference to "
                "none"
            )
        self._copy = ReferenceModel(model)
        _log.info(
            "%s: the reference is a copy of what is trained, %s numbers", self._where, f"{self._copy.num_copied:,}"
        )

    def head(self, state: TrainingState) -> WritingHead[Any]:
        """The head that is trained."""
        return _written(state.heads[self.target])

    def view(self, state: TrainingState) -> tuple[Fused, RowContext]:
        """What the head reads of a batch."""
        head, prompts = state.heads[self.target], state.batch.prompts
        fused = state.fuse(state.tokens, head.excludes) if head.excludes else state.fused
        inputs = {"prompt": prompts[self.target]} if self.target in prompts else {}
        return fused, replace(state.context, inputs=inputs)

    @torch.no_grad()
    def of_reference(
        self, state: TrainingState, ask: Callable[[WritingHead[Any], Fused, RowContext], torch.Tensor]
    ) -> torch.Tensor:
        """What the reference answers: `ask` with its head and what this reads of the batch."""
        assert self.has_reference, "there is no reference"
        if self._copy is not None:
            head, fused, context = self._copy.read(state.batch, self.target)
        else:
            head, (fused, context) = state.heads[self.target], self.view(state)
        off = nullcontext() if self._copy is not None else state.adapters_off()
        with off, evaluating(head):
            return ask(_written(head), fused, context)

    def _trained_beside_adapters(self, model: WholeModel) -> list[nn.Parameter]:
        """What else would be trained, so that the model without adapters would not be what training began with."""
        adapters = {id(parameter) for parameter in lora_parameters(model.head(self.target))}
        objectives = {id(parameter) for parameter in model.objectives.parameters()}
        return [each for each in model.parameters() if each.requires_grad and id(each) not in adapters | objectives]

    def _why_no_adapter(self, head: BaseHead) -> str:
        """Why the head without adapters is not what it begins as; "" if it is."""
        if not lora_parameters(head):
            return f"the head of {self.target!r} has no low-rank adapters"
        if not are_untouched(head):
            return "the adapters have been trained before, so without them the model is not what this training began as"
        return ""


def _written(head: BaseHead | Head[object]) -> WritingHead[Any]:
    assert isinstance(head, WritingHead), f"{type(head).__name__} writes no text"
    return head
