"""The losses of a classification head: by hand, by other libraries, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from polysense.config.base import members
from polysense.tasks.classification.losses.base import ClassLoss, ClassLossConfig, log_prior
from polysense.tasks.classification.losses.cross_entropy import CrossEntropyConfig
from polysense.tasks.classification.losses.focal import FocalConfig
from polysense.tasks.classification.losses.ldam import LDAMConfig
from polysense.tasks.classification.losses.logit_adjusted import LogitAdjustedConfig
from polysense.tasks.classification.record import ClassificationTarget

TARGET = ClassificationTarget(name="y", columns=("y",), classes=("a", "b", "c"), class_counts=(81, 16, 1), num_rows=98)
EVERY: tuple[ClassLossConfig, ...] = (CrossEntropyConfig(), LogitAdjustedConfig(), FocalConfig(), LDAMConfig())


def built(config: ClassLossConfig) -> ClassLoss:
    return config.build(TARGET)


def rows(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(12, 3, generator=generator, dtype=dtype)
    return logits, torch.randint(3, (12,), generator=generator)


def test_every_loss_is_tested_here() -> None:
    assert {config.type for config in EVERY} == set(members("loss"))


def test_logit_adjusted_by_hand() -> None:
    # Two classes of shares 3/4 and 1/4 and equal logits: the rare one is believed with 1/4, so its loss is log 4.
    target = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(3, 1), num_rows=4)
    losses = LogitAdjustedConfig().build(target)(torch.zeros(2, 2), torch.tensor([0, 1]), 0.0)
    assert losses.tolist() == pytest.approx([math.log(4 / 3), math.log(4)])
    half = LogitAdjustedConfig(tau=0.5).build(target)(torch.zeros(2, 2), torch.tensor([0, 1]), 0.0)
    assert half.tolist() == pytest.approx([math.log(1 + 3**-0.5), math.log(1 + 3**0.5)])


def test_logit_adjusted_is_the_pairwise_margin_loss_of_the_paper() -> None:
    """Equation 10: log(1 + sum over y' != y of (pi_y' / pi_y)^tau exp(f_y' - f_y))."""
    logits, truth = rows()
    shares = torch.tensor(TARGET.class_counts) / 98
    for tau in (0.3, 1.0, 2.0):
        expected = []
        for f, y in zip(logits, truth.tolist(), strict=True):
            others = [k for k in range(3) if k != y]
            pairs = [(shares[k] / shares[y]) ** tau * (f[k] - f[y]).exp() for k in others]
            expected.append(math.log1p(sum(float(pair) for pair in pairs)))
        assert built(LogitAdjustedConfig(tau=tau))(logits, truth, 0.0).tolist() == pytest.approx(expected, rel=1e-4)


def test_focal_by_hand_and_for_two_classes_by_torchvision() -> None:
    # Probabilities 0.8 and 0.2: (1 - 0.8)^2 * -log 0.8.
    logits = torch.tensor([[math.log(0.8), math.log(0.1), math.log(0.1)]])
    losses = built(FocalConfig())(logits, torch.tensor([0]), 0.0)
    assert losses.item() == pytest.approx(-0.04 * math.log(0.8), rel=1e-5)

    from torchvision.ops import sigmoid_focal_loss

    target = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(3, 1), num_rows=4)
    logits, truth = torch.randn(20, 2, generator=torch.Generator().manual_seed(1)), torch.arange(20) % 2
    # Of two classes the softmax is the sigmoid of the difference.
    expected = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], truth.float(), alpha=-1, gamma=1.5)
    torch.testing.assert_close(FocalConfig(gamma=1.5).build(target)(logits, truth, 0.0), expected)


def test_ldam_by_hand() -> None:
    # Margins in proportion to 1/3, 1/2, 1 (81, 16 and 1 rows), the widest 0.5 of a cosine; scale 30.
    margins = 30 * 0.5 * torch.tensor([1 / 3, 1 / 2, 1.0])
    logits, truth = rows()
    moved = logits.clone()
    moved[torch.arange(12), truth] -= margins[truth]
    expected = F.cross_entropy(moved, truth, reduction="none")
    torch.testing.assert_close(built(LDAMConfig())(logits, truth, 0.0), expected)


@pytest.mark.parametrize("config", EVERY, ids=lambda config: config.type)
def test_held_out_rows_are_judged_by_the_cross_entropy_under_their_shares(config: ClassLossConfig) -> None:
    logits, truth = rows()
    shares = torch.tensor(TARGET.class_counts) / 98 if config.type == "logit_adjusted" else torch.ones(3)
    expected = F.cross_entropy(logits + shares.log(), truth, reduction="none")
    torch.testing.assert_close(built(config).eval()(logits, truth, 0.0), expected)


def test_a_target_that_nobody_counted_has_even_classes() -> None:
    target = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"))
    assert log_prior(target).tolist() == pytest.approx([math.log(0.5)] * 2)
    few = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(3, 0), num_rows=3)
    assert log_prior(few).exp().tolist() == pytest.approx([0.75, 0.25])


def test_neutral_settings_are_cross_entropy() -> None:
    logits, truth = rows()
    for smoothing in (0.0, 0.1):
        expected = F.cross_entropy(logits, truth, reduction="none", label_smoothing=smoothing)
        for config in (CrossEntropyConfig(), LogitAdjustedConfig(tau=0.0), FocalConfig(gamma=0.0)):
            assert torch.equal(built(config)(logits, truth, smoothing), expected), config


@pytest.mark.parametrize("config", EVERY, ids=lambda config: config.type)
def test_gradients_are_those_of_finite_differences(config: ClassLossConfig) -> None:
    logits, truth = rows(dtype=torch.float64)
    loss = built(config).double()
    # jaxtyping takes float64 for a float, and gradcheck needs it.
    assert torch.autograd.gradcheck(lambda f: loss(f, truth, 0.1), logits.requires_grad_())


@pytest.mark.parametrize("config", [*EVERY, FocalConfig(gamma=0.5)], ids=lambda config: config.type)
def test_extreme_logits_stay_finite(config: ClassLossConfig) -> None:
    logits = torch.tensor([[90.0, -90.0, 0.0], [-90.0, 90.0, 0.0]], requires_grad=True)
    losses = built(config)(logits, torch.tensor([0, 0]), 0.0)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
