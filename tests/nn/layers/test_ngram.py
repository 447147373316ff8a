"""The counted language model against the formula, by hand and written out."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from polysense.nn.layers.ngram import NgramModel

VOCABULARY, NEVER = 8, (0, 1)
TEXTS = [[1, *np.random.default_rng(seed).integers(3, VOCABULARY, 1 + seed % 9).tolist(), 2] for seed in range(40)] + [
    [1, 3, 4, 4]
]


def fitted(order: int, texts: list[list[int]] = TEXTS) -> NgramModel:
    model = NgramModel(order, VOCABULARY, NEVER)
    model.fit(texts)
    return model


def expected(order: int, history: list[int], token: int) -> float:
    counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for text in TEXTS:
        for place in range(1, len(text)):
            for length in range(min(order - 1, place) + 1):
                counts[tuple(text[place - length : place])][text[place]] += 1

    def probability(context: tuple[int, ...]) -> float:
        shorter = probability(context[1:]) if context else (0.0 if token in NEVER else 1 / (VOCABULARY - len(NEVER)))
        if context not in counts:
            return shorter
        seen = counts[context]
        return (seen[token] + len(seen) * shorter) / (seen.total() + len(seen))

    return probability(tuple(history[max(len(history) - order + 1, 0) :]) if order > 1 else ())


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_witten_bell_and_sums_to_one(order: int) -> None:
    model = fitted(order)
    # What was seen, what begins like it, and what never was.
    for text in (*TEXTS[:6], TEXTS[-1], [1, 5, 3, 7, 7, 7, 2], [1, 6, 6, 6, 6, 6]):
        contexts = model.start(1)
        for place in range(1, len(text) + 1):
            found = model.log_probabilities(contexts).exp()[0]
            assert float(found.sum()) == pytest.approx(1.0)
            requested = [expected(order, text[:place], token) for token in range(VOCABULARY)]
            np.testing.assert_allclose(found.numpy(), requested, atol=1e-12)
            if place < len(text):
                contexts = model.advance(contexts, torch.tensor([text[place]]))


def test_a_count_by_hand() -> None:
    """Two texts, "a b" and "a c": of a, b, c and the end, each after what."""
    model = fitted(2, [[1, 3, 4, 2], [1, 3, 5, 2]])
    # 6 tokens, 4 different: a twice, b and c once, the end twice; 6 could be written.
    shares = {3: (2 + 4 / 6) / 10, 4: (1 + 4 / 6) / 10, 5: (1 + 4 / 6) / 10, 2: (2 + 4 / 6) / 10, 6: 4 / 60}
    after_a = model.advance(model.start(1), torch.tensor([3]))
    found = model.log_probabilities(after_a).exp()[0]
    for token, share in shares.items():
        count = 1 if token in (4, 5) else 0
        assert float(found[token]) == pytest.approx((count + 2 * share) / 4)
    assert float(model.log_probabilities(model.start(1)).exp()[0, 3]) == pytest.approx((2 + shares[3]) / 3)


def test_rows_are_scored_together_as_alone() -> None:
    model = fitted(4)
    contexts = model.start(3)
    for tokens in ([3, 4, 7], [5, 4, 3], [3, 3, 6]):
        contexts = model.advance(contexts, torch.tensor(tokens))
    whole = model.log_probabilities(contexts)
    for row in range(3):
        assert torch.equal(model.log_probabilities(contexts[row : row + 1])[0], whole[row])


def test_before_it_is_fitted_all_tokens_are_equally_likely() -> None:
    model = NgramModel(3, VOCABULARY, NEVER)
    model.fit([])
    contexts = model.advance(model.start(2), torch.tensor([3, 4]))
    found = model.log_probabilities(contexts).exp()
    np.testing.assert_allclose(found.numpy(), [[0, 0, *[1 / 6] * 6]] * 2)
    assert model.num_sequences == 0


def test_it_is_saved_with_weights() -> None:
    model, other = fitted(4), torch.nn.Sequential(NgramModel(4, VOCABULARY, NEVER))
    other.load_state_dict({f"0.{name}": value for name, value in model.state_dict().items()})
    assert other[0].num_sequences == model.num_sequences > 100
    contexts = model.advance(model.start(1), torch.tensor([5]))
    assert torch.equal(other[0].log_probabilities(contexts), model.log_probabilities(contexts))
