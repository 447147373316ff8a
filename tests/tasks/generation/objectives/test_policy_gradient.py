"""Policy gradients: advantages by hand, a bandit with a known optimum, and what is logged of the samples."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_writer import COLORS, writer

from polysense.core.batch import Batch
from polysense.errors import ConfigError
from polysense.tasks.generation.heads.ctc import CTCHeadConfig
from polysense.tasks.generation.objectives.policy_gradient import PolicyGradientConfig, advantages
from polysense.tasks.generation.rewards.bundle import BundleRewardConfig
from polysense.tasks.generation.rewards.function import FunctionRewardConfig
from polysense.tasks.generation.rewards.rule import RuleConfig
from polysense.tasks.generation.rewards.text_metric import TextMetricConfig

BLUE = RuleConfig(has=(r"^the blue one$",))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_advantages_are_those_of_the_papers(rewards: list[float]) -> None:
    given_rewards = torch.tensor([rewards], dtype=torch.float64)
    others = [np.mean(rewards[:i] + rewards[i + 1 :]) for i in range(len(rewards))]
    expected = np.array(rewards) - others
    assert advantages(given_rewards, "rloo")[0].numpy() == pytest.approx(expected, abs=1e-9)
    centered = (np.array(rewards) - np.mean(rewards)) / (np.std(rewards, ddof=1) + 1e-4)
    assert advantages(given_rewards, "grpo")[0].numpy() == pytest.approx(centered, abs=1e-9)
    baseline = torch.tensor([[0.5]], dtype=torch.float64)
    assert advantages(given_rewards, "scst", baseline)[0].numpy() == pytest.approx(np.array(rewards) - 0.5, abs=1e-12)


def keyed(batch: Batch, step: int) -> Batch:
    """The batch of another epoch: other texts are sampled."""
    return type(batch)(**{**vars(batch), "keys": batch.rows * 1009 + step * 7919})


@pytest.mark.parametrize("algorithm", ["rloo", "grpo", "scst"])
def test_a_bandit_with_a_known_optimum_is_solved(algorithm: Any) -> None:
    """One text of three is right whatever the row says, and only the reward tells."""
    config = PolicyGradientConfig(
        algorithm=algorithm, reward=BLUE, num_samples=8, kl=0.0, reference="none", max_new_tokens=4
    )
    rows = [{"color": color, "say": f"the {other} one"} for color in COLORS for other in COLORS]
    one = writer({"rl": config}, rows=rows)
    optimizer = torch.optim.Adam(one.model.parameters(), lr=0.01)
    # The three texts come first, as a model has them that was trained on such sentences.
    for _ in range(40):
        losses = one.losses()
        (losses["say"].total.sum() / losses["say"].count.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    rewards = []
    for step in range(40):
        losses = one.losses(keyed(one.batch, step))
        rewards.append(float(losses["rl/reward"].total.sum() / losses["rl/reward"].count.sum()))
        losses["rl/loss"].total.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert np.mean(rewards[:3]) < 0.6
    assert np.mean(rewards[-5:]) > 0.95


def test_the_gradient_is_the_advantage_times_that_of_the_log_probability() -> None:
    config = PolicyGradientConfig(reward=RuleConfig(per_word=1.0), num_samples=2, kl=0.0, reference="none")
    one = writer({"rl": config})
    losses = one.losses()
    assert losses["rl/loss"].total.requires_grad
    assert not losses["rl/reward"].total.requires_grad
    again = one.losses()
    assert torch.equal(losses["rl/reward"].total, again["rl/reward"].total), "samples are a function of the row's key"
    other = one.losses(keyed(one.batch, 1))
    assert not torch.equal(losses["rl/reward"].total, other["rl/reward"].total)


def test_what_is_logged_says_how_the_samples_are() -> None:
    one = writer({"rl": PolicyGradientConfig(reward=RuleConfig(most_words=100), algorithm="scst", num_samples=3)})
    means = one.means()
    assert means["rl/reward"] == means["rl/greedy_reward"] == 1
    assert means["rl/kl"] == pytest.approx(0, abs=1e-5), "a model that is still its reference"
    assert 0 < means["rl/unique"] <= 1
    assert 0 < means["rl/diversity"] <= 1
    assert means["rl/length"] >= 1
    assert one.model.rewards == {"rl/reward": 3}
    assert {name: one.model.loss_weights[name] for name in means if name not in ("say", "rl/loss")} == dict.fromkeys(
        ("rl/reward", "rl/length", "rl/unique", "rl/diversity", "rl/kl", "rl/greedy_reward"), 0.0
    )


def test_rows_without_references_are_not_counted_where_the_reward_needs_them() -> None:
    rows = [
        {"color": "red", "say": "the red one"},
        {"color": "blue", "say": None},
        {"color": "red", "say": "a red one"},
    ]
    config = PolicyGradientConfig(reward=TextMetricConfig(metric="token_f1"), reference="none", kl=0.0)
    one = writer({"rl": config}, rows=rows)
    losses = one.losses()
    counts = dict(zip(one.batch.rows.tolist(), losses["rl/loss"].count.tolist(), strict=True))
    assert counts == {0: 1, 1: 0, 2: 1}
    assert losses["rl/loss"].total[one.batch.rows.tolist().index(1)] == 0


def test_held_out_rows_are_judged_by_nobody() -> None:
    """Their numbers are those of another table, whose references are not the training rows'."""
    one = writer({"rl": PolicyGradientConfig(reward=FunctionRewardConfig(name=f"{__name__}:nobody"), num_samples=2)})
    one.model.eval()
    losses = one.model.losses(one.batch).losses
    assert {name: float(row.total.detach().sum()) for name, row in losses.items() if name != "say"} == dict.fromkeys(
        ("rl/loss", "rl/reward", "rl/length", "rl/unique", "rl/diversity", "rl/kl"), 0.0
    )
    one.model.train()
    with pytest.raises(AssertionError, match="asked"):
        one.losses()


def nobody(texts: list[str], references: list[list[str]]) -> list[float]:
    raise AssertionError("asked")


def length_and_references(texts: list[str], references: list[list[str]]) -> list[float]:
    assert len(texts) == len(references)
    return [float(len(text)) for text in texts]


def one_too_few(texts: list[str], references: list[list[str]]) -> list[float]:
    return [0.0] * (len(texts) - 1)


def test_a_function_is_a_reward() -> None:
    config = FunctionRewardConfig(name=f"{__name__}:length_and_references")
    means = writer({"rl": PolicyGradientConfig(reward=config, reference="none", kl=0.0)}).means()
    assert means["rl/reward"] > 0
    short = FunctionRewardConfig(name=f"{__name__}:one_too_few")
    with pytest.raises(ConfigError, match=r"gave \d+ numbers for \d+ texts"):
        writer({"rl": PolicyGradientConfig(reward=short, reference="none", kl=0.0)}).means()
    for name in ("nowhere:at_all", f"{__name__}:nothing"):
        with pytest.raises(ConfigError, match=f"{re.escape(name)} can't be imported"):
            writer({"rl": PolicyGradientConfig(reward=FunctionRewardConfig(name=name), reference="none", kl=0.0)})


def test_a_bundle_is_a_reward() -> None:
    config = BundleRewardConfig(path="judge", column="text", output="score")
    one = writer({"rl": PolicyGradientConfig(reward=config, reference="none", kl=0.0)})
    assert one.means()["rl/reward"] > 0
    wrong = BundleRewardConfig(path="judge", column="text", output="name")
    with pytest.raises(ConfigError, match="predicts no numbers in a column 'name'; it predicts them in score"):
        writer({"rl": PolicyGradientConfig(reward=wrong, reference="none", kl=0.0)}).means()


def test_what_can_not_be() -> None:
    with pytest.raises(ConfigError, match="expected at least 2"):
        PolicyGradientConfig(num_samples=1)
    with pytest.raises(ConfigError, match="without a reference"):
        PolicyGradientConfig(reference="none")
    with pytest.raises(ConfigError, match="closed set of answers"):
        writer({"rl": PolicyGradientConfig(reward=BLUE)}, answers="training")
    ctc = writer({"rl": PolicyGradientConfig(reward=BLUE)}, head=CTCHeadConfig(column="color", upsampling=8))
    with pytest.raises(ConfigError, match="does not write token by token"):
        ctc.losses()
