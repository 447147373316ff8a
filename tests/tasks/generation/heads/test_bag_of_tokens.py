"""The bag of tokens: what is in it, its prior, its mixture of slots, its divisor."""

from __future__ import annotations

import math

import torch

from polysense.tasks.generation.heads.bag_of_tokens import BagOfTokens
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

PADDING, BEGIN, END = 8, 9, 0
TARGET = GenerationTarget(
    name="text", columns=("text",), vocabulary_size=10, padding_id=PADDING, begin_id=BEGIN, end_id=END, max_length=5
)


def truth(*texts: list[int]) -> GenerationTruth:
    lengths = torch.tensor([len(text) and len(text) + 2 for text in texts])
    values = torch.full((len(texts), 7), PADDING)
    for row, text in enumerate(texts):
        if text:
            values[row, : len(text) + 2] = torch.tensor([BEGIN, *text, END])
    return GenerationTruth(values=values, present=lengths > 0, lengths=lengths)


def test_each_token_of_a_text_counts_once_and_its_marks_never() -> None:
    bag = BagOfTokens(TARGET, 8)
    assert bag.ids.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert bag.count(truth([3, 3, 5], [], [7])).tolist() == [2, 0, 1]
    predicted = torch.arange(7.0).expand(3, -1)
    assert bag.losses(predicted, truth([3, 3, 5], [], [7])).tolist() == [-(2 + 4), 0, -6]


def test_how_frequent_tokens_are_is_the_prior() -> None:
    bag = BagOfTokens(TARGET, 8)
    bag.fit([[BEGIN, 3, 3, 5, END], [BEGIN, 3, END], [BEGIN, 2, END]])
    assert bag.ids.tolist() == [2, 3, 5]
    predicted = bag.log_probabilities(torch.zeros(1, 2, 3))
    torch.testing.assert_close(predicted.exp(), torch.tensor([[0.25, 0.5, 0.25]]))
    # A token that is in no training text is neither predicted nor counted.
    assert bag.count(truth([3, 7])).tolist() == [1]
    bag.fit([[BEGIN, END]])
    assert bag.ids.tolist() == [2, 3, 5], "texts without a token say nothing"


def test_slots_share_the_words() -> None:
    bag = BagOfTokens(TARGET, 8)
    sure = torch.full((1, 2, 7), -30.0)
    sure[0, 0, 1] = sure[0, 1, 4] = 30.0
    predicted = bag.log_probabilities(sure)[0]
    torch.testing.assert_close(predicted[[1, 4]], torch.full((2,), -math.log(2)))
    one = bag.log_probabilities(sure[:, :1])[0]
    assert one[4] < -20 < predicted[4], "one slot has no room for two words"


def test_it_is_part_of_what_is_saved() -> None:
    bag, other = BagOfTokens(TARGET, 8), BagOfTokens(TARGET, 8)
    bag.fit([[BEGIN, 3, END], [BEGIN, 5, END]])
    other.load_state_dict(bag.state_dict())
    assert other.ids.tolist() == [3, 5]
