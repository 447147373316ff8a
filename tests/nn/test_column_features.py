"""Feature vectors on their way from a batch through an encoder and a fusion: 0 where a row lacks the column."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from polysense.config.base import members
from polysense.core.batch import ColumnBatch
from polysense.core.tokens import Tokens
from polysense.modalities.image.encoders.feature_map import FeatureMap
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.masking import excluding, stand_in

COLUMN = ImageColumn(
    name="photos", multiple=True, max_items=2, num_features=3, image_size=(6, 6), num_channels=1, mean=(0.5,),
    std=(0.2,),
)  # fmt: skip
LENGTHS = torch.tensor([[1, 1], [0, 1], [0, 0], [1, 0]])


class Pooling(FeatureMap):
    """Gives the mean pixel of each item beside its tokens."""

    @property
    def num_item_features(self) -> int:
        return 1

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        tokens = super().encode_items(values, lengths, draws)
        return dataclasses.replace(tokens, features=values.float().flatten(1).mean(dim=1, keepdim=True))


def encoder(kind: type[Encoder] = FeatureMap) -> Encoder:
    torch.manual_seed(0)
    config = members("encoder")["image_cnn"]()
    assert isinstance(config, EncoderConfig)
    built = config.create(COLUMN, 8).eval()
    built.__class__ = kind  # the same network
    return built


def cells() -> ColumnBatch:
    values = torch.arange(4 * 2, dtype=torch.uint8).view(4, 2, 1, 1, 1).expand(4, 2, 1, 6, 6)
    features = torch.arange(12.0).view(4, 3) + 1
    return ColumnBatch(values=values, lengths=LENGTHS, features=features)


def test_nothing_is_given_that_nobody_asks_for() -> None:
    assert encoder()(cells()).features is None


@pytest.mark.parametrize("training", [False, True])
def test_a_cells_vector_and_the_mean_of_its_items(training: bool) -> None:
    built = encoder(Pooling).train(training)
    built.ordered = True
    assert built.give_features() == 4
    expected = [[1, 2, 3, 0.5], [4, 5, 6, 3], [0, 0, 0, 0], [10, 11, 12, 6]]
    features = built(cells()).features
    assert features is not None
    assert torch.equal(features, torch.tensor(expected))


def test_an_absent_column_has_none() -> None:
    built = encoder(Pooling)
    built.give_features()
    for absent in (cells().absent(), cells().masked(torch.zeros(4, dtype=torch.bool))):
        features = built(absent).features
        assert features is not None
        assert torch.equal(features, torch.zeros(4, 4))


def test_a_fusion_hands_them_on_and_what_is_masked_has_none() -> None:
    built, fusion = encoder(), ConcatFusionConfig().build(["photos"], 8)
    built.give_features()
    tokens = built(cells())
    expected = torch.tensor([[1.0, 2, 3], [4, 5, 6], [0, 0, 0], [10, 11, 12]])
    assert torch.equal(fusion({"photos": tokens}).columns["photos"].features, expected)
    keep = torch.tensor([False, True, True, True])
    assert torch.equal(tokens.masked(keep).features, expected * keep[:, None])
    assert torch.equal(excluding({"photos": tokens}, ["photos"])["photos"].features, torch.zeros(4, 3))
    assert torch.equal(stand_in(tokens, torch.ones(8)).features, expected)
