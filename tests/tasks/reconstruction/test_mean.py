"""The mean predictor's errors, in the decoders' own units, against the same by hand."""

from __future__ import annotations

import math

import pytest
import torch

from polysense.core.batch import ColumnBatch
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.category.record import CategoryColumn
from polysense.modalities.date.record import DateColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.record import TextColumn
from polysense.nn.column_decoder import ColumnDecoder
from polysense.tasks.reconstruction.decoders import DecodingLimits, column_decoder
from polysense.tasks.reconstruction.mean import MeanPredictor, correct

COLUMNS = [
    NumberColumn(name="number", mean=5.0, std=2.0),
    CategoryColumn(name="kind", num_categories=4),
    TextColumn(name="text", vocabulary_size=6, padding_id=0, typical_length=3),
    ImageColumn(name="photo", image_size=(4, 6), num_channels=1, mean=(0.5,), std=(0.25,), max_items=1),
    AudioColumn(name="sound", sample_rate=8000, typical_length=800),
    DateColumn(name="clock", mean=0.0, std=1.0, num_values=2, has_dates=False, has_times=True),
]


@pytest.fixture
def decoders() -> list[ColumnDecoder]:
    torch.manual_seed(0)
    return [column_decoder(column, 8, DecodingLimits(num_mels=16)) for column in COLUMNS]


def _one(values: torch.Tensor, lengths: list[int]) -> ColumnBatch:
    return ColumnBatch(values=values[:, None], lengths=torch.tensor(lengths)[:, None])


@pytest.fixture
def batch() -> dict[str, ColumnBatch]:
    torch.manual_seed(1)
    return {
        "number": _one(torch.tensor([[1.0], [3.0], [99.0], [-1.0]]), [1, 1, 0, 1]),
        "kind": _one(torch.tensor([[1], [2], [2], [0]]), [1, 1, 1, 1]),
        "text": _one(torch.tensor([[3, 4, 5, 5], [3, 4, 0, 0], [3, 9, 9, 9], [0, 0, 0, 0]]), [4, 2, 1, 0]),
        "photo": _one(torch.randint(0, 256, (4, 1, 4, 6), dtype=torch.uint8), [1, 1, 1, 0]),
        "sound": _one(torch.randint(-3000, 3000, (4, 1600), dtype=torch.int16), [800, 600, 0, 1600]),
        "clock": _one(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [7.0, 7.0]]), [1, 1, 1, 0]),
    }


def test_errors_by_hand(decoders: list[ColumnDecoder], batch: dict[str, ColumnBatch]) -> None:
    mean = MeanPredictor(decoders)
    assert mean.errors(batch).isnan().all()  # not fitted
    mean.fit([batch])
    errors, right = mean.errors(batch), mean.correct(batch)
    assert errors[:, 0].tolist() == pytest.approx([0.0, 4.0, math.nan, 4.0], nan_ok=True)
    # Categories 1, 2, 2 and one unknown, which is no truth; every id was seen once more.
    shares = torch.tensor([1.0, 2.0, 3.0, 1.0]) / 7
    assert errors[:, 1].tolist() == pytest.approx([*(-shares[[1, 2, 2]].log()).tolist(), math.nan], nan_ok=True)
    assert right[:, 1].tolist() == pytest.approx([0.0, 1.0, 1.0, math.nan], nan_ok=True)
    # Tokens 3 4 5 | 3 4 end | 3 end: the first three places of each, the end among them.
    counts = torch.tensor([2.0, 0, 0, 3, 2, 1]) + 1
    nll = -(counts / counts.sum()).log()
    expected = [nll[[3, 4, 5]].mean(), nll[[3, 4, 0]].mean(), nll[[3, 0]].mean()]
    assert errors[:3, 2].tolist() == pytest.approx([float(value) for value in expected])
    assert right[:3, 2].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 2])
    pixels = (batch["photo"].values[:3, 0].float() / 255 - 0.5) / 0.25
    assert torch.allclose(errors[:3, 3], ((pixels - pixels.mean(dim=0)) ** 2).mean(dim=(1, 2, 3)), atol=1e-5)
    assert errors[3, 2:4].isnan().all()
    assert errors[:3, 5].tolist() == pytest.approx([0.5 * (1 / 9 + 1), 0.5 * (4 / 9), 0.5 * (1 / 9 + 1)])
    assert right[:, [0, 3, 4, 5]].isnan().all()


def test_a_decoder_that_says_the_mean_makes_its_errors(
    decoders: list[ColumnDecoder], batch: dict[str, ColumnBatch]
) -> None:
    mean = MeanPredictor(decoders)
    mean.fit([batch])
    errors = mean.errors(batch)
    for index, decoder in enumerate(decoders):
        output = decoder.output
        assert isinstance(output, torch.nn.Linear)
        torch.nn.init.zeros_(output.weight)
        constant = mean.get_buffer(f"mean_{index}")
        name = decoder.column.name
        with torch.no_grad():
            if name in ("number", "clock", "text", "kind"):
                output.bias.copy_(constant)
            elif name == "sound":
                output.bias.copy_(constant.expand(-1, output.out_features // 16).flatten())
            else:
                continue  # a patch has one bias for all places
        known = decoder.known(batch[name])
        tokens = torch.zeros(4, decoder.num_positions, 8)
        if name == "kind":
            continue  # the decoder leaves the unknown one out of its shares
        found = decoder.eval().losses(tokens, batch[name], known).masked_fill(~known.any(dim=1), torch.nan)
        assert torch.allclose(found, errors[:, index], atol=1e-5, equal_nan=True), name


def test_batches_and_absent_columns_add_up(decoders: list[ColumnDecoder], batch: dict[str, ColumnBatch]) -> None:
    whole, parts = MeanPredictor(decoders), MeanPredictor(decoders)
    whole.fit([batch])
    halves = [
        {name: ColumnBatch(values=column.values[rows], lengths=column.lengths[rows]) for name, column in batch.items()}
        for rows in (slice(0, 1), slice(1, 4))
    ]
    parts.fit(halves)
    assert torch.allclose(whole.errors(batch), parts.errors(batch), equal_nan=True)
    without = {name: column for name, column in batch.items() if name != "text"}
    assert whole.errors(without)[:, 2].isnan().all()
    again = MeanPredictor(decoders)
    again.load_state_dict(whole.state_dict())
    assert torch.equal(again.errors(batch).nan_to_num(), whole.errors(batch).nan_to_num())


def test_hits_count_tokens_and_categories(decoders: list[ColumnDecoder], batch: dict[str, ColumnBatch]) -> None:
    predicted = {
        "kind": torch.tensor([1, 1, 2, 3]),
        "text": torch.tensor([[3, 4, 5], [3, 0, 0], [3, 0, 0], [3, 0, 0]]),
        "number": torch.zeros(4),
    }
    found = correct(decoders, predicted, batch)
    assert found[:, 1].tolist() == pytest.approx([1.0, 0.0, 1.0, math.nan], nan_ok=True)
    assert found[:, 2].tolist() == pytest.approx([1.0, 2 / 3, 1.0, math.nan], nan_ok=True)
    assert found[:, [0, 3, 4, 5]].isnan().all()
