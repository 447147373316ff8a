"""The head's probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.schema import Schema
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.number.record import NumberColumn
from polysense.nn.head import Logits
from polysense.nn.model_config import ModelConfig
from polysense.tasks.multilabel.heads.multilabel import MultilabelHead, MultilabelHeadConfig
from polysense.tasks.multilabel.record import MultilabelTarget


@pytest.fixture(params=[2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_probabilities_of_thousands_of_labels_are_alike_at_every_position(threads: int) -> None:
    labels = tuple(f"label {i}" for i in range(3001))
    schema = Schema(
        columns=(NumberColumn(name="x", mean=0.0, std=1.0),),
        targets=(
            MultilabelTarget(name="y", columns=("y",), classes=labels, class_counts=(5,) * len(labels), num_rows=10),
        ),
    )
    config = ModelConfig(width=16, encoders={"x": NumberMLPConfig()}, heads={"y": MultilabelHeadConfig()})
    for seed in range(5):
        torch.manual_seed(seed)
        model, values = config.build(schema).eval(), torch.randn(32, 1, 1)
        with torch.no_grad():  # far from even, where roundings differ
            for parameter in model.head("y").parameters():
                parameter.mul_(5.0)
        order = torch.roll(torch.arange(32), 5)
        batches = [
            Batch(
                rows=torch.arange(32),
                columns={"x": ColumnBatch(values=part, lengths=torch.ones(32, 1, dtype=torch.int64))},
                truths={},
            )
            for part in (values, values[order])
        ]
        plain, rolled = (model.predict(batch)[0]["y"]["probabilities"] for batch in batches)
        assert torch.equal(plain[order], rolled), seed


def two_labels(config: MultilabelHeadConfig) -> MultilabelHead:
    target = MultilabelTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(50, 4), num_rows=100)
    head = config.build(target, 4)
    assert isinstance(head, MultilabelHead)
    return head


def test_positives_weigh_by_rows_or_by_effective_numbers() -> None:
    assert two_labels(MultilabelHeadConfig()).positive_weight.tolist() == [1.0, 1.0]
    assert two_labels(MultilabelHeadConfig(class_weights="balanced")).positive_weight.tolist() == [1.0, 24.0]
    effective = two_labels(MultilabelHeadConfig(class_weights="effective_number", class_weight_beta=0.9))
    assert effective.positive_weight.tolist() == pytest.approx([1.0, (1 - 0.9**96) / (1 - 0.9**4)])


def test_focal_loss_is_torchvisions() -> None:
    from torchvision.ops import sigmoid_focal_loss

    logits = 3 * torch.randn(7, 2, generator=torch.Generator().manual_seed(0))
    truth = ValueTruth(present=torch.ones(7, dtype=torch.bool), values=(torch.arange(14).view(7, 2) % 3 == 0).float())
    head = two_labels(MultilabelHeadConfig(focal_gamma=2.0))
    expected = sigmoid_focal_loss(logits, truth.values, alpha=-1, gamma=2.0).mean(dim=1)
    torch.testing.assert_close(head.loss(Logits(logits), truth)["loss"].total, expected)
