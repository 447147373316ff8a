"""Feature vectors to outputs: the standardization against scikit-learn's."""

from __future__ import annotations

import pytest
import torch
from sklearn.preprocessing import StandardScaler

from polysense.nn.layers.feature_projection import FeatureProjection


def test_standardized_as_scikit_learn_does() -> None:
    features = torch.randn(50, 6) * torch.tensor([1.0, 10.0, 0.01, 3.0, 1e3, 1.0]) + 5.0
    projection = FeatureProjection(6, 4, dropout=0.5).eval()
    projection.fit(features)
    expected = torch.tensor(StandardScaler().fit_transform(features.double().numpy())).float()
    torch.testing.assert_close(projection(features), projection.linear(expected), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("constant", [0.0, 7.25, 1e6])
def test_a_constant_feature_says_nothing_wherever_it_is_later(constant: float) -> None:
    features = torch.cat([torch.randn(20, 2), torch.full((20, 1), constant)], dim=1)
    projection = FeatureProjection(3, 4, dropout=0.0).eval()
    projection.fit(features)
    other = features.clone()
    other[:, 2] = -3.0
    torch.testing.assert_close(projection(other), projection(features))
    assert projection(other).isfinite().all()


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_to_know_a_deviation_of(rows: int) -> None:
    projection = FeatureProjection(3, 2, dropout=0.0).eval()
    projection.fit(torch.full((rows, 3), 4.0))
    values = torch.randn(5, 3)
    torch.testing.assert_close(projection(values), projection.linear(values))
