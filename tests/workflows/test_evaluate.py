"""Evaluation against another trained model: paired on the same rows, refused where it predicts something else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import polysense
from polysense.cli.app import main
from polysense.errors import ConfigError

Trained = Callable[[str], polysense.Run]


def test_a_model_does_not_differ_from_itself(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained("classification")
    table = next(run.folder.parent.glob("*.csv"))
    scores = polysense.evaluate(run.folder, table, bootstrap=50, against=[run.folder], simple_baselines=False)
    (target,) = run.bundle.schema.targets
    (paired,) = scores.against
    assert (paired.target, paired.num_rows) == (target.name, scores.evaluation.num_counted(target.name))
    assert {each.difference.value for each in paired.metrics} == {0.0}
    json = scores.as_json()["against"][0]["metrics"]["accuracy"]
    assert json["value"] == json["other"] == scores.evaluation.value(target.name, "accuracy")
    assert main(["evaluate", str(run.folder), str(table), "--against", str(run.folder), "--bootstrap", "20"]) == 0
    assert "no difference" in " ".join(capsys.readouterr().out.split())


def test_a_model_of_something_else_is_refused_by_name(trained: Trained) -> None:
    run, other = trained("classification"), trained("generation")
    table = next(run.folder.parent.glob("*.csv"))
    with pytest.raises(
        ConfigError, match=r"can't be compared: it predicts .*name a model that was trained for the same"
    ):
        polysense.evaluate(run.folder, table, against=[other.folder])
