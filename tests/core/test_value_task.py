"""What tasks with one small value for a row share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from polysense.core.sample import Sample
from polysense.core.schema import Target
from polysense.core.task_spec import BatchRows
from polysense.core.unsupported import Unsupported
from polysense.core.value_task import ValueTaskSpec
from polysense.evaluation.metrics.base import MeanScorer


@dataclass(frozen=True, kw_only=True)
class _Target(Target):
    task: str = "pair"


def test_a_spec_still_has_to_answer_what_the_base_leaves_open() -> None:
    with pytest.raises(TypeError, match="does not say what its name, record, rank, answer"):

        class Incomplete(ValueTaskSpec[_Target]):
            pass


class _PairSpec(ValueTaskSpec[_Target], is_base=True):
    def nothing(self, target: _Target, num_rows: int) -> np.ndarray:
        return np.full((num_rows, 2), np.nan, dtype=np.float32)


# Abstract methods are not asked here.
_PairSpec.__abstractmethods__ = frozenset()
SPEC, TARGET = _PairSpec(), _Target(name="y", columns=("y",))


def test_rows_without_a_value_are_absent() -> None:
    samples = [Sample(row=0, targets={"y": np.array([1, 2], np.float32)}), Sample(row=1)]
    truth = SPEC.collate(TARGET, samples, 3, all_references=False, prompt_length=0)
    assert truth["present"].tolist() == [True, False, False]
    np.testing.assert_array_equal(truth["values"], [[1, 2], [np.nan, np.nan], [np.nan, np.nan]])
    assert truth["values"].dtype == np.float32


def test_what_a_head_predicts_beside_its_values_keeps_its_name() -> None:
    values, spread = np.zeros((3, 2)), np.ones(3)
    truth = {"values": np.ones((3, 2)), "present": np.array([True, True, False])}
    statistics = SPEC.row_statistics(
        TARGET, [{"values": values, "spread": spread}], truth, BatchRows(numbers=np.arange(3))
    )
    assert list(statistics) == ["present", "truth", "predicted", "spread"]
    assert statistics["predicted"] is values


def test_what_it_refuses_has_a_reason() -> None:
    refused = [name for name in dir(SPEC) if isinstance(getattr(SPEC, name), Unsupported)]
    assert {"infer", "align", "report_section"} <= set(refused)


def test_means_follow_the_weights() -> None:
    scorer = MeanScorer({"error": np.array([1.0, 2.0, 6.0])})
    result = scorer(np.array([[1, 1, 1], [0, 2, 1], [0, 0, 0]], dtype=np.float64))["error"]
    np.testing.assert_allclose(result, [3.0, 10 / 3, np.nan])
