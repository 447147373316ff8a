"""The energy of logits agrees with its definition and does not depend on a fitted temperature."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from polysense.nn.head import Logits
from polysense.tasks.classification.heads.classification import ClassificationHead, ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.heads.multilabel import MultilabelHead, MultilabelHeadConfig
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.regression.heads.regression import RegressionHead, RegressionHeadConfig
from polysense.tasks.regression.record import RegressionTarget

NAMES = ("a", "b", "c")
LOGITS = 20 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


def test_the_energy_of_classes_is_that_of_their_logits() -> None:
    target = ClassificationTarget(name="y", columns=("y",), classes=NAMES, class_counts=(1,) * 3, num_rows=3)
    head = ClassificationHead(ClassificationHeadConfig(), target, 8)
    assert head.has_energy
    expected = -scipy.special.logsumexp(LOGITS.double().numpy(), axis=1)
    np.testing.assert_allclose(head.energy(Logits(LOGITS)), expected, rtol=1e-5)
    head.temperature.fill_(3.0)
    np.testing.assert_allclose(head.energy(Logits(LOGITS)), expected, rtol=1e-5)


def test_the_energy_of_labels_is_the_sum_of_each_one() -> None:
    target = MultilabelTarget(name="y", columns=("y",), classes=NAMES, class_counts=(1,) * 3, num_rows=3)
    head = MultilabelHead(MultilabelHeadConfig(), target, 8)
    assert head.has_energy
    expected = -np.logaddexp(0, LOGITS.double().numpy()).sum(axis=1)
    np.testing.assert_allclose(head.energy(Logits(LOGITS)), expected, rtol=1e-5)


def test_numbers_have_none() -> None:
    target = RegressionTarget(name="y", columns=("y",), num_rows=3, mean=(1.0,), std=(2.0,))
    head = RegressionHead(RegressionHeadConfig(), target, 8)
    assert not head.has_energy
    with pytest.raises(AssertionError, match="has no energy"):
        head.energy(Logits(LOGITS))
