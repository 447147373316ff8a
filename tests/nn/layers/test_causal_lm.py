from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from polysense.errors import ConfigError
from polysense.nn.layers.causal_lm import CausalLM


class Model:
    """What a language model of some version of transformers is called with, and what it gives."""

    def __init__(self, name: str) -> None:
        self.name, self.calls = name, []

    def _run(self, **options: Any) -> SimpleNamespace:
        self.calls.append(options)
        values = options["inputs_embeds"]
        return SimpleNamespace(logits=values, **{self.name: "new" if options["use_cache"] else None})


class Since524(Model):
    def __call__(self, **options: Any) -> SimpleNamespace:
        return self.forward(**options)

    def forward(self, inputs_embeds: Tensor, cache: object = None, **options: Any) -> SimpleNamespace:
        return self._run(inputs_embeds=inputs_embeds, cache=cache, **options)


class Before524(Model):
    def __call__(self, **options: Any) -> SimpleNamespace:
        return self.forward(**options)

    def forward(self, inputs_embeds: Tensor, past_key_values: object = None, **options: Any) -> SimpleNamespace:
        return self._run(inputs_embeds=inputs_embeds, past_key_values=past_key_values, **options)


class Recurrent(Model):
    def forward(self, inputs_embeds: Tensor, state: object = None) -> None: ...


@pytest.mark.parametrize(("kind", "name"), [(Since524, "cache"), (Before524, "past_key_values")])
def test_the_cache_goes_by_the_name_that_the_installed_version_has(kind: type[Model], name: str) -> None:
    model = kind(name)
    values, mask = torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    logits, cache = CausalLM(model)(values, mask, None, "old", use_cache=True)
    assert cache == "new"
    assert model.calls[0][name] == "old"
    assert torch.equal(logits, values[:, -1:])
    assert CausalLM(model)(values, mask)[1] is None


def test_a_model_without_a_key_value_cache_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"Recurrent: .* none of cache, past_key_values"):
        CausalLM(Recurrent("state"))
