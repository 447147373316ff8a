from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.regression.heads.scaling import Scaling
from polysense.tasks.regression.scale import NumberScale, choose_transform, fit_scale, plausible_range

RNG = np.random.default_rng


def samples(name: str, num: int = 400, seed: int = 0) -> np.ndarray:
    rng = RNG(seed)
    return {
        "normal": lambda: rng.normal(20, 3, num),
        "uniform": lambda: rng.uniform(-5, 5, num),
        "price": lambda: rng.lognormal(12, 1.0, num),
        "losses": lambda: -rng.lognormal(3, 1.2, num),
        "counts": lambda: rng.poisson(4, num).astype(float),
        "t3": lambda: rng.standard_t(3, num),
        "cauchy": lambda: rng.standard_cauchy(num),
        "mostly zero": lambda: np.where(rng.random(num) < 0.7, 0.0, rng.lognormal(2, 1.2, num)),
        "kelvin": lambda: rng.normal(290, 5, num),
    }[name]()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["normal", "uniform", "price", "losses", "counts", "t3", "mostly zero", "kelvin"])
def test_no_value_of_a_distribution_is_an_outlier_of_it(name, seed):
    values = samples(name, 400, seed)
    bounds = plausible_range(values)
    assert bounds is None or np.mean((values >= bounds[0]) & (values <= bounds[1])) == 1.0


def test_hardly_a_value_of_a_heavy_tail_is_an_outlier():
    for seed in range(20):
        values = samples("cauchy", 1_000, seed)
        bounds = plausible_range(values)
        assert bounds is None or np.mean((values < bounds[0]) | (values > bounds[1])) <= 0.003


@pytest.mark.parametrize("wrong", [1e9, -1e9, 1e5])
@pytest.mark.parametrize("name", ["normal", "uniform", "counts", "t3", "kelvin", "mostly zero"])
def test_a_mistyped_value_is_outlying_and_changes_nothing_of_the_scale(name, wrong):
    values = samples(name, 150)
    spoiled = np.append(values, wrong)
    bounds = plausible_range(spoiled)
    assert bounds is not None
    assert not bounds[0] <= wrong <= bounds[1]
    assert np.all((values >= bounds[0]) & (values <= bounds[1]))
    clean, scale = fit_scale(values, "none", None), fit_scale(spoiled, "none", bounds)
    assert (scale.center, scale.scale) == (clean.center, clean.scale)


def test_a_code_for_missing_numbers_is_outlying_though_it_is_frequent():
    values = np.concatenate([samples("normal", 90), np.full(10, -999.0)])
    bounds = plausible_range(values)
    assert bounds is not None
    assert bounds[0] > -999
    # As many different values far out are the tail of what the column holds.
    assert plausible_range(np.concatenate([samples("normal", 90), RNG(0).uniform(900, 2000, 10)])) is None


def test_a_few_values_have_no_outlier():
    assert plausible_range(np.array([1.0, 2.0, 3.0, 1e9])) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("normal", "none"), ("uniform", "none"), ("counts", "none"), ("kelvin", "none"), ("price", "log"),
        ("losses", "log"), ("cauchy", "quantile"), ("t3", "none"),
    ],
)  # fmt: skip
def test_the_transform_is_chosen_by_skewness_and_tails(name, expected):
    values = samples(name)
    assert choose_transform(values, plausible_range(values)) == expected
    # One mistyped value decides nothing.
    spoiled = np.append(values, 1e12)
    assert choose_transform(spoiled, plausible_range(spoiled)) == expected


@pytest.mark.parametrize("transform", ["none", "log", "quantile"])
@pytest.mark.parametrize("name", ["normal", "price", "losses", "cauchy", "mostly zero"])
def test_the_inverse_is_exact_and_tensors_agree(name, transform):
    values = samples(name)
    scale = fit_scale(values, transform, plausible_range(values))
    scaled = scale.standardized(values)
    assert scaled.mean() == pytest.approx(0, abs=1e-9)
    assert scaled.std() == pytest.approx(1)
    assert np.allclose(scale.restored(scaled), values, rtol=1e-9, atol=1e-9 * values.std())
    head, column = Scaling([scale]), torch.tensor(values[:, None], dtype=torch.float32)
    assert np.allclose(head.standardized(column)[:, 0].numpy(), scaled, atol=2e-4)
    assert np.allclose(head.restored(head.standardized(column)).numpy(), column.numpy(), rtol=2e-4, atol=1e-4 * 3)


@given(st.floats(-1e6, 1e6, width=32), st.sampled_from(["log", "quantile"]), st.sampled_from(["price", "cauchy"]))
def test_whatever_the_head_says_the_prediction_is_finite_and_near_the_training_values(number, transform, name):
    values = samples(name)
    scale = fit_scale(values, transform, plausible_range(values))
    restored = float(Scaling([scale]).restored(torch.tensor([[number]])))
    assert np.isfinite(restored)
    assert scale.restored(np.array([number])) == pytest.approx(restored, rel=1e-3)
    if transform == "quantile":
        slack = 1e-6 * np.abs(values).max()
        assert values.min() - slack <= restored <= values.max() + slack


def test_standardized_values_keep_their_order():
    values = np.sort(samples("cauchy"))
    for transform in ("log", "quantile"):
        scaled = fit_scale(values, transform, None).standardized(values)
        assert np.all(np.diff(scaled) >= 0)


def test_a_broken_scale_is_refused():
    with pytest.raises(ValueError, match="finite"):
        NumberScale(scale=float("nan"))
    with pytest.raises(ValueError, match="increase"):
        NumberScale(transform="quantile", knots=(1.0, 0.0), scores=(0.0, 1.0))
    with pytest.raises(ValueError, match="at least two knots"):
        dataclasses.replace(NumberScale(), transform="quantile")
