"""What is masked is 0, whatever an encoder's junk holds: a head that reads values can't see what is absent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from polysense.config.base import members
from polysense.core.batch import Batch
from polysense.core.schema import Schema
from polysense.errors import ConfigError
from polysense.nn.encoder import Encoder, EncoderConfig


def encoders(schema: Schema) -> list[tuple[str, str]]:
    """(column, encoder type) of all that can be built from a config without files."""
    pairs = []
    for name, config in members("encoder").items():
        assert issubclass(config, EncoderConfig)
        pairs += [(column.name, name) for column in schema if column.modality in config.modalities]
    return pairs


def build(schema: Schema, column: str, name: str) -> Encoder:
    torch.manual_seed(0)
    config = members("encoder")[name]
    try:
        made = config()
        assert isinstance(made, EncoderConfig)
        return made.create(next(each for each in schema if each.name == column), 32)
    except (ConfigError, TypeError, ModuleNotFoundError, AssertionError):
        pytest.skip(f"{name} needs a path, or weights")
    raise AssertionError


def test_every_encoder_gives_zeros_where_masked(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    tried = 0
    for column, name in encoders(schema):
        try:
            encoder = build(schema, column, name)
        except pytest.skip.Exception:
            continue
        tried += 1
        for mode in (True, False):
            encoder.train(mode)
            batch = make_batch().columns[column]
            tokens = encoder(batch.masked(torch.tensor([True, False, True, False])))
            assert not tokens.values[~tokens.mask].any(), name
            assert not tokens.mask[1].any(), name
            assert tokens.values[tokens.mask].any(), name
    assert tried >= 15
