from __future__ import annotations

import torch

from polysense.core.prediction import Prediction


def make(start: int, rows: int) -> Prediction:
    values = torch.arange(start, start + rows)
    return Prediction(values, torch.stack([values / 10, 1 - values / 10], dim=1))


def test_concatenating_keeps_the_order() -> None:
    whole = Prediction.concatenate([make(0, 2), make(2, 0), make(2, 3)])
    assert whole.values.tolist() == [0, 1, 2, 3, 4]
    assert whole.probabilities is not None
    torch.testing.assert_close(whole.probabilities[:, 0], torch.arange(5) / 10)


def test_a_regression_has_no_probabilities() -> None:
    whole = Prediction.concatenate([Prediction(torch.zeros(2, 3)), Prediction(torch.ones(1, 3))])
    assert whole.probabilities is None
    assert whole.values.shape == (3, 3)
    assert whole.cpu().probabilities is None


def test_rows_are_taken_by_mask_and_by_position() -> None:
    whole = make(0, 4)
    by_mask = whole[torch.tensor([True, False, False, True])]
    by_position = whole[torch.tensor([3, 0])]
    assert by_mask.values.tolist() == [0, 3]
    assert by_position.values.tolist() == [3, 0]
    assert by_position.probabilities is not None
    torch.testing.assert_close(by_position.probabilities[0], torch.tensor([0.3, 0.7]))
