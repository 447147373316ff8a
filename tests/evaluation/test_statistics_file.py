"""What a finished training left is read as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.statistics_file import read_statistics, write_statistics
from polysense.tasks.generation.record import GenerationTarget


def ragged(rows: list[object]) -> np.ndarray:
    found = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        found[i] = row
    return found


def test_numbers_texts_lists_and_segments_are_read_as_they_were(tmp_path: Path) -> None:
    segments = [np.array([[0.0, 2.0, 1.0]]), np.zeros((0, 3)), np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 1.0]])]
    statistics = {
        "present": np.array([True, False, True]),
        "score": np.array([0.5, np.nan, 2.0]),
        "predicted": ragged(["a cat", "", "été 猫"]),
        "references": ragged([["one", "two"], [], ["three"]]),
        "truth": ragged(segments),
    }
    target = GenerationTarget(name="text/with slash", columns=("text",))
    evaluation = Evaluation(
        targets=(target,), metrics={}, undefined={}, rows=np.array([3, 5, 8]), statistics={target.name: statistics}
    )
    write_statistics(tmp_path / "predictions.npz", {"test": evaluation})
    rows, found = read_statistics(tmp_path / "predictions.npz", "test", [target])
    assert rows.tolist() == [3, 5, 8]
    own = found[target.name]
    assert set(own) == set(statistics)
    np.testing.assert_array_equal(own["score"], statistics["score"])
    assert own["predicted"].tolist() == statistics["predicted"].tolist()
    assert own["references"].tolist() == statistics["references"].tolist()
    for one, expected in zip(own["truth"], segments, strict=True):
        np.testing.assert_array_equal(one, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.npz"]
