"""Preferences: the published losses, a reference that is exact however it is kept, and rows without a pair."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_writer import Writer, writer

from polysense.errors import ConfigError
from polysense.nn.layers.causal_lm import lora_parameters
from polysense.tasks.generation.heads.ctc import CTCHeadConfig
from polysense.tasks.generation.heads.language_model import LanguageModelHeadConfig
from polysense.tasks.generation.objectives.preference import PreferenceConfig, preference_losses
from polysense.tasks.generation.truth import GenerationTruth


def moved(one: Writer, seed: int = 1) -> Writer:
    """The same after a training of some kind."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in one.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return one


def test_without_a_margin_the_loss_is_ln_2() -> None:
    assert preference_losses(torch.zeros(3), "dpo", 0.7).tolist() == pytest.approx([math.log(2)] * 3)
    assert preference_losses(torch.zeros(1), "ipo", 0.25).item() == pytest.approx(4.0)  # (1 / (2 * .25))^2


@given(margin=st.floats(-50, 50), beta=st.floats(0.01, 2.0), smoothing=st.floats(0.0, 0.49))
def test_the_losses_are_those_of_the_papers(margin: float, beta: float, smoothing: float) -> None:
    exact = np.logaddexp(0, -beta * margin) * (1 - smoothing) + np.logaddexp(0, beta * margin) * smoothing
    given_margin = torch.tensor([margin], dtype=torch.float64)
    assert preference_losses(given_margin, "dpo", beta, smoothing).item() == pytest.approx(exact, rel=1e-9, abs=1e-12)
    ipo = preference_losses(given_margin, "ipo", beta).item()
    assert ipo == pytest.approx((margin - 1 / (2 * beta)) ** 2, rel=1e-9)


def test_a_model_that_is_still_its_reference_has_no_margin_in_training_mode() -> None:
    means = writer({"prefs": PreferenceConfig()}, rejected="worse").means()
    assert means["prefs/loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert means["prefs/margin"] == pytest.approx(0, abs=1e-5)
    assert means["prefs/right"] < 1


def test_the_margin_is_of_the_log_probabilities_that_the_heads_give() -> None:
    one = moved(writer({"prefs": PreferenceConfig(beta=0.3)}, rejected="worse"))
    before = writer({"prefs": PreferenceConfig(beta=0.3)}, rejected="worse")
    likelihoods = []
    for each in (one, before):
        each.model.eval()
        truth = GenerationTruth.of(each.batch.truths["say"])
        assert truth.rejected is not None
        for text in (truth, truth.rejected):
            head = each.model.head("say")
            fused = each.model.fuse(each.model.encode(each.batch), each.batch)
            likelihoods.append(head.score(fused, each.model.context(each.batch, "say"), text)["likelihood"][:, 0])
    chosen, rejected, chosen_before, rejected_before = likelihoods
    margin = (chosen - chosen_before) - (rejected - rejected_before)
    one.model.train()
    losses = one.losses()
    torch.testing.assert_close(losses["prefs/margin"].total, margin, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        losses["prefs/loss"].total, -torch.nn.functional.logsigmoid(0.3 * margin), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_reference_without_its_adapters_is_a_frozen_copy(language_model: Callable[[str], Path], kind: str) -> None:
    results = {}
    for reference in ("adapter", "copy"):
        head = LanguageModelHeadConfig(path=str(language_model(kind)), tune="lora", connector="none", slots=1)
        one = writer({"prefs": PreferenceConfig(reference=reference)}, head=head, rejected="worse")
        adapters = {id(parameter) for parameter in lora_parameters(one.model)}
        trained = {id(parameter) for parameter in one.model.parameters() if parameter.requires_grad}
        assert (trained == adapters) == (reference == "adapter")
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in lora_parameters(one.model):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        results[reference] = one.means()
    assert abs(results["adapter"]["prefs/margin"]) > 1e-3
    assert results["adapter"] == pytest.approx(results["copy"], rel=1e-4, abs=1e-4)


def test_a_copy_shares_what_is_frozen(language_model: Callable[[str], Path]) -> None:
    head = LanguageModelHeadConfig(path=str(language_model("gpt2")), tune="lora", connector="none", slots=1)
    one = writer({"prefs": PreferenceConfig(reference="copy")}, head=head, rejected="worse")
    objective = one.model.by_objective()["prefs"]
    reference = objective.policy._copy
    own = {parameter.data_ptr() for parameter in reference._model.parameters()}
    frozen = [parameter for parameter in one.model.parameters() if not parameter.requires_grad]
    assert frozen
    assert all(parameter.data_ptr() in own for parameter in frozen)
    trained = sum(parameter.numel() for parameter in one.model.parameters() if parameter.requires_grad)
    assert reference.num_copied == trained
    assert not any("_copy" in name or "policy" in name for name in one.model.state_dict())


def test_rows_without_a_pair_say_nothing() -> None:
    rows = [
        {"color": "red", "say": "the red one", "worse": "well it is red"},
        {"color": "blue", "say": "the blue one", "worse": None},
        {"color": "green", "say": None, "worse": "well it is green"},
        {"color": "red", "say": "a red one", "worse": ["red it is", "well it is red"]},
    ]
    one = moved(writer({"prefs": PreferenceConfig()}, rows=rows, rejected="worse"))
    drawn = {name: truth.drawn(torch.zeros(4)) for name, truth in one.batch.truths.items()}
    batch = type(one.batch)(**{**vars(one.batch), "truths": drawn})
    losses = one.losses(batch)
    order = batch.rows.tolist()
    counts = dict(zip(order, losses["prefs/loss"].count.tolist(), strict=True))
    totals = dict(zip(order, losses["prefs/loss"].total.tolist(), strict=True))
    assert counts == {0: 1, 1: 0, 2: 0, 3: 1}
    assert totals[1] == totals[2] == 0
    assert totals[0] > 0 < totals[3]
    counted = one.model.counts(batch)
    assert counted["prefs/loss"] == 2


def test_a_batch_without_pairs_stays_in_the_graph() -> None:
    rows = [{"color": color, "say": f"the {color} one"} for color in ("red", "green", "blue")]
    losses = writer({"prefs": PreferenceConfig()}, rows=rows).losses()
    assert losses["prefs/loss"].total.tolist() == [0, 0, 0]
    losses["prefs/loss"].total.sum().backward()


def test_per_token_a_longer_text_wins_nothing_by_its_length() -> None:
    plain = moved(writer({"prefs": PreferenceConfig()}, rejected="worse"))
    normal = moved(writer({"prefs": PreferenceConfig(length_normalized=True)}, rejected="worse"))
    truth = GenerationTruth.of(plain.batch.truths["say"])
    lengths = (truth.lengths - 1).float()
    by_text, by_token = plain.losses()["prefs/chosen"].total, normal.losses()["prefs/chosen"].total
    torch.testing.assert_close(by_token * lengths, by_text, rtol=1e-4, atol=1e-4)


def test_a_head_that_reads_frames_learns_from_pairs_too() -> None:
    head = CTCHeadConfig(column="color", upsampling=8)
    one = writer({"prefs": PreferenceConfig()}, head=head, rejected="worse")
    means = one.means()
    assert means["prefs/loss"] == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "nobody"}, "target is nobody"),
        ({"reference": "adapter"}, "has no low-rank adapters"),
    ],
)
def test_what_can_not_be(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        writer({"prefs": PreferenceConfig(**settings)}, rejected="worse")  # type: ignore[arg-type]


def test_a_reference_is_a_trained_model() -> None:
    with pytest.raises(ConfigError, match="expected a trained model to start from"):
        writer({"prefs": PreferenceConfig()}, rejected="worse", is_trained=False)
    writer({"prefs": PreferenceConfig(reference="none")}, rejected="worse", is_trained=False)
