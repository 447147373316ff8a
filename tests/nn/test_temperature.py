"""One number takes overconfidence away and changes no decision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from polysense.core.batch import ValueTruth
from polysense.nn.head import Logits
from polysense.tasks.classification.heads.classification import ClassificationHead, ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.heads.multilabel import MultilabelHead, MultilabelHeadConfig
from polysense.tasks.multilabel.record import MultilabelTarget

NAMES = ("a", "b", "c")
CLASSES = ClassificationTarget(name="y", columns=("y",), classes=NAMES, class_counts=(1, 1, 1), num_rows=3)
LABELS = MultilabelTarget(name="y", columns=("y",), classes=NAMES, class_counts=(1, 1, 1), num_rows=3)


def sampled(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and classes that are drawn by their softmax."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(rows, 3, generator=generator)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_and_changes_no_class(factor: float) -> None:
    logits, classes = sampled(4_000)
    head = ClassificationHead(ClassificationHeadConfig(), CLASSES, 8).eval()
    before = head.arrays(Logits(factor * logits))
    truth = ValueTruth(values=classes, present=torch.ones(4_000, dtype=torch.bool))
    said = head.calibrate(Logits(factor * logits), truth, torch.ones(4_000))
    assert float(head.temperature) == pytest.approx(factor, rel=0.08)
    before_loss, after_loss = (F.cross_entropy(factor * logits / each, classes) for each in (1.0, head.temperature))
    assert after_loss <= before_loss
    expected = f"with which their log loss is {after_loss:.3f} in place of {before_loss:.3f}"
    assert said == f"temperature {float(head.temperature):.2f}, {expected}"
    after = head.arrays(Logits(factor * logits))
    assert torch.equal(after["values"], before["values"])
    torch.testing.assert_close(after["probabilities"], logits.softmax(dim=1), atol=0.03, rtol=0)


def test_a_handful_of_rows_moves_it_little_and_none_not_at_all() -> None:
    logits, classes = sampled(4)
    head = ClassificationHead(ClassificationHeadConfig(), CLASSES, 8)
    truth = ValueTruth(values=logits.argmin(dim=1), present=torch.ones(4, dtype=torch.bool))
    assert head.calibrate(Logits(logits), truth, torch.zeros(4)) is None
    assert float(head.temperature) == 1.0
    head.calibrate(Logits(logits), ValueTruth(values=classes, present=torch.ones(4, dtype=torch.bool)), torch.ones(4))
    assert 0.4 < float(head.temperature) < 2.5


def test_labels_have_one_temperature_too() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3_000, 3, generator=generator)
    values = torch.bernoulli(logits.sigmoid(), generator=generator)
    head = MultilabelHead(MultilabelHeadConfig(), LABELS, 8).eval()
    truth = ValueTruth(values=values, present=torch.ones(3_000, dtype=torch.bool))
    before = head.arrays(Logits(2.5 * logits))["values"]
    head.calibrate(Logits(2.5 * logits), truth, torch.ones(3_000))
    assert float(head.temperature) == pytest.approx(2.5, rel=0.1)
    assert torch.equal(head.arrays(Logits(2.5 * logits))["values"], before)
