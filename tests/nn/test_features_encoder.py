"""The encoder of feature vectors: one token of a cell that is there, none of one that is not."""

from __future__ import annotations

import pytest
import torch

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import Encoder
from polysense.nn.features_encoder import FeaturesEncoderConfig

COLUMN = ImageColumn(
    name="x", image_size=(6, 6), num_channels=1, mean=(0.5,), std=(0.2,), num_features=5, multiple=True, max_items=2
)
LENGTHS = torch.tensor([[1, 1], [0, 0], [0, 1]])


def encoder(column: Column = COLUMN) -> Encoder:
    torch.manual_seed(0)
    return FeaturesEncoderConfig(dropout=0.0).create(column, 8)


def cells(features: torch.Tensor | None) -> ColumnBatch:
    return ColumnBatch(values=torch.zeros(3, 2, 1, 6, 6, dtype=torch.uint8), lengths=LENGTHS, features=features)


@pytest.mark.parametrize("training", [True, False])
def test_a_cell_is_one_token_and_an_absent_one_is_none(training: bool) -> None:
    made = encoder().train(training)
    vectors = torch.randn(3, 5)
    tokens = made(cells(vectors))
    assert tokens.values.shape == (3, 1, 8)
    assert tokens.mask.flatten().tolist() == [True, False, True]
    assert not tokens.values[1].any()
    changed = torch.cat([vectors[:1], torch.full((1, 5), torch.nan), vectors[2:] + 1])
    other = made(cells(changed))
    assert torch.equal(other.values[:2], tokens.values[:2])
    assert not torch.equal(other.values[2], tokens.values[2])


def test_a_batch_without_any_vector() -> None:
    made = encoder().eval()
    nothing = made(cells(None).masked(torch.zeros(3, dtype=torch.bool)))
    assert not nothing.mask.any()
    assert made(cells(torch.ones(3, 5)).absent()).values.shape[0] == 3


def test_the_vector_is_given_to_estimators_too() -> None:
    made = encoder().eval()
    assert made.give_features() == 5
    vectors = torch.randn(3, 5)
    features = made(cells(vectors)).features
    assert features is not None
    assert torch.equal(features, vectors * torch.tensor([[1.0], [0.0], [1.0]]))


def test_a_sparse_vector_of_length_1_gives_a_token_of_the_usual_size() -> None:
    wide = ImageColumn(name="x", image_size=(6, 6), num_channels=1, mean=(0.5,), std=(0.2,), num_features=4096)
    vectors = torch.zeros(3, 4096)
    vectors[:, 7] = 1.0
    batch = ColumnBatch(values=torch.zeros(3, 1, 1, 6, 6), lengths=torch.ones(3, 1).long(), features=vectors)
    assert encoder(wide).eval()(batch).values.detach().std().item() == pytest.approx(1.0, abs=0.1)


def test_a_column_without_features_is_refused_with_what_to_do() -> None:
    column = ImageColumn(name="x", image_size=(6, 6), num_channels=1, mean=(0.5,), std=(0.2,))
    with pytest.raises(ConfigError, match=r"has none; name some under data\.features\.x"):
        encoder(column)
