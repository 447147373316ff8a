"""Several items in one cell: a sequence keeps their order, a set does not know it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polysense.config.base import describe, members
from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.text.record import TextColumn
from polysense.nn.encoder import Encoder, EncoderConfig

COLUMN = ImageColumn(
    name="photos",
    multiple=True,
    max_items=4,
    image_size=(6, 6),
    num_channels=1,
    mean=(0.5,),
    std=(0.2,),
)


def build(items: Literal["sequence", "set"], name: str = "image_cnn", **options: Any) -> Encoder:
    torch.manual_seed(0)
    config = members("encoder")[name](items=items, **options)
    assert isinstance(config, EncoderConfig)
    return config.create(COLUMN, 8).eval()


def cells(lengths: list[list[int]], seed: int) -> ColumnBatch:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), len(lengths[0]), 1, 6, 6)
    values = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    return ColumnBatch(values=values, lengths=torch.tensor(lengths))


def by_item(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Values [batch, items, tokens of one, width] and mask."""
    items = tokens.grid[0]
    return tokens.values.unflatten(1, (items, -1)), tokens.mask.unflatten(1, (items, -1))


presence = st.integers(1, 4).flatmap(
    lambda items: st.lists(st.lists(st.integers(0, 1), min_size=items, max_size=items), min_size=1, max_size=3)
)


@settings(max_examples=25)
@given(lengths=presence, order=st.permutations(range(4)), seed=st.integers(0, 99))
def test_permuting_a_sets_items_permutes_its_tokens_and_no_more(
    lengths: list[list[int]], order: list[int], seed: int
) -> None:
    encoder = build("set")
    batch = cells(lengths, seed)
    permutation = [index for index in order if index < len(lengths[0])]
    values, mask = by_item(encoder(batch))
    tokens = encoder(ColumnBatch(values=batch.values[:, permutation], lengths=batch.lengths[:, permutation]))
    permuted, permuted_mask = by_item(tokens)
    torch.testing.assert_close(permuted, values[:, permutation], rtol=1e-5, atol=1e-5)
    assert permuted_mask.equal(mask[:, permutation])
    torch.testing.assert_close(tokens.mean(), encoder(batch).mean(), rtol=1e-5, atol=1e-5)


@settings(max_examples=25)
@given(lengths=presence, seed=st.integers(0, 99))
def test_a_sequence_is_a_set_whose_tokens_know_their_item(lengths: list[list[int]], seed: int) -> None:
    batch = cells([[1] * len(lengths[0])], seed)
    added = by_item(build("sequence")(batch))[0] - by_item(build("set")(batch))[0]
    # One vector for each place in the cell, whatever the row, the picture and its token.
    torch.testing.assert_close(added, added[:1, :, :1].expand_as(added), rtol=1e-4, atol=1e-4)
    if len(lengths[0]) > 1:
        assert torch.pdist(added[0, :, 0]).min() > 0.1


def test_order_matters_in_a_sequence_alone() -> None:
    batch = cells([[1, 1]], seed=0)
    swapped = ColumnBatch(values=batch.values.flip(1), lengths=batch.lengths)
    sequence, unordered = build("sequence"), build("set")
    assert (by_item(sequence(batch))[0].flip(1) - by_item(sequence(swapped))[0]).abs().max() > 0.1
    torch.testing.assert_close(by_item(unordered(batch))[0].flip(1), by_item(unordered(swapped))[0])


def test_absent_items_between_present_ones_change_no_other() -> None:
    encoder = build("sequence")
    batch = cells([[1, 1, 1]], seed=0)
    values, _ = by_item(encoder(batch))
    batch.lengths[0, 1] = 0
    batch.values[0, 1] = 255
    tokens = encoder(batch)
    changed, mask = by_item(tokens)
    torch.testing.assert_close(changed[:, [0, 2]], values[:, [0, 2]])
    assert mask[0].all(dim=1).tolist() == [True, False, True]
    assert tokens.grid[0] == 3


@settings(max_examples=25)
@given(lengths=presence, seed=st.integers(0, 99))
def test_training_encodes_what_is_there_alone(lengths: list[list[int]], seed: int) -> None:
    batch = cells(lengths, seed)
    encoder = build("sequence")
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    tokens = encoder(batch)
    seen: list[int] = []
    encode = encoder.encode_items

    def counted(values: Tensor, lengths: Tensor, draws: Tensor | None) -> Tokens:
        seen.append(len(values))
        return encode(values, lengths, draws)

    encoder.encode_items = counted  # type: ignore[method-assign]
    trained = encoder.train()(batch)
    present = int(batch.lengths.sum())
    if not present:  # one masked token, and every parameter is touched
        assert seen == []
        assert not trained.values.any()
        trained.values.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in encoder.parameters() if p.requires_grad)
        return
    assert seen == [present]
    assert trained.grid == tokens.grid
    assert trained.mask.equal(tokens.mask)
    torch.testing.assert_close(trained.values[tokens.mask], tokens.values[tokens.mask], rtol=1e-5, atol=1e-5)
    gradients = [
        torch.autograd.grad(one.mean().sum(), list(encoder.parameters()), allow_unused=True)
        for one in (tokens, trained)
    ]
    for dense, compact in zip(*gradients, strict=True):
        torch.testing.assert_close(dense, compact, rtol=1e-4, atol=1e-5)


TURNS = TextColumn(name="turns", multiple=True, max_items=6, vocabulary_size=50)


def turns(seed: int = 0, rows: int = 8, longest: int = 64) -> ColumnBatch:
    """Lists of texts, most of them short."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(1, 50, (rows, 6, longest), generator=generator).int()
    lengths = torch.randint(0, 9, (rows, 6), generator=generator)
    lengths[::3, 1] = longest
    return ColumnBatch(values=values, lengths=lengths)


def text_encoder(name: str) -> Encoder:
    torch.manual_seed(0)
    config: Any = members("encoder")[name](dropout=0.0)
    encoder: Encoder = config.create(TURNS, 8)
    return encoder


@pytest.mark.parametrize("name", ["text_transformer", "text_cnn", "text_rnn"])
@pytest.mark.parametrize("training", [False, True])
def test_short_texts_are_not_padded_to_the_longest_and_give_the_same(name: str, training: bool) -> None:
    encoder, column = text_encoder(name).train(training), turns()
    shapes: list[tuple[int, ...]] = []
    encode = encoder.encode_items

    def counted(values: Tensor, lengths: Tensor, draws: Tensor | None) -> Tokens:
        shapes.append(tuple(values.shape))
        return encode(values, lengths, draws)

    encoder.encode_items = counted  # type: ignore[method-assign]
    tokens = encoder(column)
    encoded = sum(rows * length for rows, length in shapes if rows > 1)
    assert encoded < column.values.numel() / 2
    encoder._groups = lambda column: []  # type: ignore[method-assign]
    whole = encoder(column)
    assert tokens.grid == whole.grid
    assert tokens.mask.equal(whole.mask)
    torch.testing.assert_close(tokens.values, whole.values, rtol=1e-4, atol=1e-5)
    gradients = [
        torch.autograd.grad(one.mean().square().sum(), list(encoder.parameters()), allow_unused=True)
        for one in (tokens, whole)
    ]
    for grouped, dense in zip(*gradients, strict=True):
        torch.testing.assert_close(grouped, dense, rtol=1e-3, atol=1e-5)


def test_at_prediction_the_bits_of_a_list_are_its_own() -> None:
    encoder = text_encoder("text_transformer").eval()
    column, other = turns(rows=32), turns(seed=1, rows=32)
    with torch.no_grad():
        alone = encoder(column)
        for row in range(0, 32, 5):
            mixed = ColumnBatch(values=other.values.clone(), lengths=other.lengths.clone())
            mixed.values[7], mixed.lengths[7] = column.values[row], column.lengths[row]
            assert encoder(mixed).values[7].equal(alone.values[row])
            assert encoder(mixed).mask[7].equal(alone.mask[row])


def test_one_item_a_cell_gets_no_order() -> None:
    torch.manual_seed(0)
    single = members("encoder")["image_cnn"]()
    assert isinstance(single, EncoderConfig)
    encoder = single.create(dataclasses.replace(COLUMN, multiple=False), 8).eval()
    batch = cells([[1]], seed=0)
    torch.testing.assert_close(encoder(batch).values, build("set")(batch).values)


@pytest.mark.parametrize("name", sorted(members("encoder")))
def test_every_encoder_tells_the_recipes_writer_about_items(name: str) -> None:
    assert "order matters" in describe(members("encoder")[name])[1]["items"]


def test_create_is_build_and_what_all_encoders_have() -> None:
    seen = []

    class Blank(Encoder):
        def encode_items(self, values: Tensor, lengths: Tensor, draws: Tensor | None) -> Tokens:
            return Tokens(torch.zeros(len(values), 1, self.width), (lengths > 0)[:, None], (1,))

    @dataclass(frozen=True, kw_only=True)
    class BlankConfig(EncoderConfig):
        modalities: ClassVar[frozenset[str]] = frozenset({"image"})

        def build(self, column: Column, width: int, resources: Path | None = None) -> Encoder:
            seen.append(resources)
            return Blank(column, width)

    encoder = BlankConfig(type="blank", items="set").create(COLUMN, 8, Path("kept"))
    assert seen == [Path("kept")]
    assert not encoder.ordered
