"""Estimators as experts of an ensemble head: fitted after the networks, weighed on rows that they have not seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.schema import Schema, Target
from polysense.errors import ConfigError
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.number.record import NumberColumn
from polysense.nn import ensemble_weights
from polysense.nn.bundled import require_shapes
from polysense.nn.ensemble_head import EnsembleHead, EnsembleHeadConfig, Experts
from polysense.nn.ensemble_weights import EnsembleWeights, fit_ensemble_weights
from polysense.nn.estimators.boosting import BoostingEstimatorConfig
from polysense.nn.estimators.examples import FitRows, OutOfFold, folds_of
from polysense.nn.estimators.forest import ForestEstimatorConfig
from polysense.nn.estimators.linear import LinearEstimatorConfig
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.held_out import read_held_out
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.tasks.classification.heads.classification import ClassificationHead, ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.heads.multilabel import MultilabelHeadConfig
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.regression.heads.regression import RegressionHeadConfig
from polysense.tasks.regression.record import RegressionTarget

NAMES = ("signal", "noise")
ESTIMATORS = {
    "linear signal": LinearEstimatorConfig(columns=("signal",)),
    "linear noise": LinearEstimatorConfig(columns=("noise",)),
    "boosting": BoostingEstimatorConfig(max_iterations=10),
    "forest": ForestEstimatorConfig(num_trees=10),
}
TARGETS: dict[str, tuple[Target, Any]] = {
    "classification": (
        ClassificationTarget(name="label", columns=("label",), classes=("x", "y"), class_counts=(1, 1), num_rows=2),
        ClassificationHeadConfig(dropout=0.0),
    ),
    "multilabel": (
        MultilabelTarget(name="label", columns=("label",), classes=("x", "y"), class_counts=(1, 1), num_rows=2),
        MultilabelHeadConfig(dropout=0.0),
    ),
    "regression": (
        RegressionTarget(name="label", columns=("label",), num_rows=3, mean=(1.0,), std=(2.0,)),
        RegressionHeadConfig(dropout=0.0),
    ),
}


def build(task: str = "classification", *, sizes: tuple[int, int] = (4, 4), **ensemble: Any) -> MultimodalModel:
    torch.manual_seed(0)
    target, head = TARGETS[task]
    schema = Schema(
        columns=tuple(
            NumberColumn(name=name, mean=0.0, std=1.0, num_features=size)
            for name, size in zip(NAMES, sizes, strict=True)
        ),
        targets=(target,),
    )
    settings = {"weights": "validation", "joint": True, "estimators": ESTIMATORS, **ensemble}
    return ModelConfig(
        width=8,
        encoders={name: NumberMLPConfig(hidden=8) for name in NAMES},
        fusion=ConcatFusionConfig(dropout=0.0),
        heads={"label": EnsembleHeadConfig(head=head, **settings)},
    ).build(schema).eval()  # fmt: skip


def head_of(model: MultimodalModel) -> EnsembleHead:
    head = model.head("label")
    assert isinstance(head, EnsembleHead)
    return head


def rows(num: int, seed: int, task: str = "classification") -> Batch:
    """The first column's features tell the target; its values and the other column tell nothing."""
    generator = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(num, 4, generator=generator) for name in NAMES}
    score = features["signal"].sum(dim=1) + 0.5 * torch.randn(num, generator=generator)
    values = (score > 0).long()
    if task == "multilabel":
        values = torch.stack([score > 0, score < 1], dim=1).float()
    elif task == "regression":
        values = (1 + score)[:, None]
    columns = {
        name: ColumnBatch(
            values=torch.randn(num, 1, 1, generator=generator),
            lengths=torch.ones(num, 1, dtype=torch.int64),
            features=features[name],
        )
        for name in NAMES
    }
    truth = ValueTruth(values=values, present=torch.ones(num, dtype=torch.bool))
    return Batch(rows=torch.arange(num), columns=columns, truths={"label": truth})


def fit(model: MultimodalModel, batch: Batch) -> dict[str, OutOfFold]:
    head = head_of(model)
    inner: Any = head.inner
    truth = batch.truths["label"]
    targets = inner.learned_values(truth).numpy()
    folds = folds_of(targets, inner.score_kind, None, 4, 0)
    scores = {}
    for name, estimator in head.named_estimators().items():
        data = FitRows(
            features={column: batch.columns[column].features.numpy() for column in estimator.columns},  # type: ignore[union-attr]
            present=batch.presence(estimator.columns).numpy(),
            targets=targets,
            weights=np.ones(len(batch)),
            folds=folds,
        )
        scores[name] = estimator.fit(data)
    return {"label": OutOfFold(scores=scores, truth=truth, weights=batch.weights)}


def fitted(task: str = "classification", **settings: Any) -> tuple[MultimodalModel, EnsembleWeights]:
    model = build(task, **settings)
    out_of_fold = fit(model, rows(200, 0, task))
    return model, fit_ensemble_weights(model, read_held_out(model, [rows(40, 1, task)]), out_of_fold)["label"]


def experts(model: MultimodalModel, batch: Batch) -> Experts:
    output = model(batch).outputs["label"]
    assert isinstance(output, Experts)
    return output


def logits(output: Any) -> Tensor:
    return output.values  # type: ignore[no-any-return]


@pytest.mark.parametrize("space", ["logits", "probabilities"])
@pytest.mark.parametrize("task", list(TARGETS))
def test_the_weight_is_where_the_signal_is(task: str, space: Any) -> None:
    _, result = fitted(task, space=space)
    weights = dict(result.weights)
    assert list(weights) == [*NAMES, "all columns", *ESTIMATORS]
    assert weights["linear signal"] == max(weights.values())
    assert weights["linear signal"] > 0.6 * sum(weights.values())
    assert weights["linear noise"] == weights["signal"] == weights["noise"] == 0.0
    assert (result.num_held_out, result.num_training) == (40, 200)
    assert "linear noise" in str(result).partition("did not help")[2]


def test_without_validation_rows_estimators_are_weighed_out_of_fold() -> None:
    model = build()
    out_of_fold = fit(model, rows(200, 0))
    result = fit_ensemble_weights(model, None, out_of_fold)["label"]
    weights = dict(result.weights)
    assert weights["all columns"] == 0.5
    assert weights["linear signal"] > 0.3
    assert weights["linear noise"] == 0.0
    assert result.num_held_out == 0


def test_few_rows_move_the_weights_less(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    out_of_fold = fit(model, rows(60, 0))

    def weights() -> np.ndarray:
        each = fit_ensemble_weights(model, None, out_of_fold)["label"].weights
        return np.array([2 * each[name] for name in head_of(model).estimator_names])

    few = weights()
    monkeypatch.setattr(ensemble_weights, "_FEW_ROWS", 59)
    equal = np.full(len(few), 1 / len(few))
    assert np.abs(few - equal).sum() < 0.8 * np.abs(weights() - equal).sum()
    monkeypatch.setattr(ensemble_weights, "_FEW_ROWS", 60)
    np.testing.assert_array_equal(weights(), few)


def test_few_validation_rows_take_little_from_estimators(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that these rows flatter: it knows their answers."""
    model = build()
    out_of_fold, batch = fit(model, rows(200, 0)), rows(40, 1)
    head, part = head_of(model), read_held_out(model, [batch])
    flattered = logits(part.experts["label"][0][0].each[2])  # all columns
    flattered[torch.arange(40), batch.truths["label"].values] += 2.0  # type: ignore[attr-defined]

    def estimators() -> float:
        weights = fit_ensemble_weights(model, part, out_of_fold)["label"].weights
        return float(sum(weights[name] for name in head.estimator_names))

    few = estimators()
    monkeypatch.setattr(ensemble_weights, "_FEW_ROWS", 39)
    assert estimators() < few - 0.2
    assert few > 1.0


def test_until_they_are_fitted_they_have_no_weight() -> None:
    model, batch = build(), rows(32, 3)
    output = experts(model, batch)
    assert not output.present[:, 3:].any()
    assert torch.equal(logits(output.combined), logits(output.each[2]))
    model.train()
    model(batch).losses["label/joint expert"].total.sum().backward()


def test_absence_of_a_column_is_a_table_without_it() -> None:
    model, _ = fitted()
    batch = rows(32, 4)
    without = batch.only(["noise"])
    output = experts(model, without)
    assert not output.present[:, 3].any()  # the estimator of the absent column alone
    assert output.present[:, 4:].all()
    other = dataclasses.replace(
        without,
        columns={
            **without.columns,
            "signal": dataclasses.replace(without.columns["signal"], features=torch.full((32, 4), torch.nan)),
        },
    )
    assert torch.equal(logits(experts(model, other).combined), logits(output.combined))
    assert logits(experts(model, batch.only([])).combined).isfinite().all()
    subset = model.predict(batch, [["noise"]])[0]["label"]["probabilities"]
    assert torch.equal(subset, model.predict(without)[0]["label"]["probabilities"])


def test_a_state_is_loaded_into_a_model_of_the_same_config(tmp_path: Path) -> None:
    model, _ = fitted()
    state, other, batch = model.state_dict(), build(), rows(32, 5)
    require_shapes(build, {name: tuple(value.shape) for name, value in state.items()}, tmp_path)
    other.load_state_dict(state)
    assert torch.equal(logits(experts(other, batch).combined), logits(experts(model, batch).combined))
    names = [name for name in state if "estimators" in name]
    assert any(name.endswith("threshold") for name in names)
    assert all(not isinstance(value, torch.nn.Parameter) for value in state.values())


def test_columns_without_features_have_no_estimators() -> None:
    model = build(sizes=(0, 3))
    assert head_of(model).estimator_names == ("linear noise", "boosting", "forest")
    assert head_of(model).named_estimators()["forest"].columns == ("noise",)
    assert head_of(build(sizes=(0, 0))).estimator_names == ()


def test_one_column_alone_keeps_its_estimators() -> None:
    head = EnsembleHeadConfig(
        head=ClassificationHeadConfig(), weights="validation", joint=True, estimators=ESTIMATORS
    ).for_column("noise")
    assert list(head.estimators) == ["linear noise", "boosting", "forest"]
    twice = {"linear noise": LinearEstimatorConfig(columns=("noise",)), "linear all": LinearEstimatorConfig()}
    head = EnsembleHeadConfig(head=ClassificationHeadConfig(), weights="validation", estimators=twice)
    assert head.for_column("noise").estimators == {"linear noise": LinearEstimatorConfig(columns=("noise",))}


def test_what_can_not_be_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="weights: validation"):
        build(weights="uniform")
    with pytest.raises(ConfigError, match="no input column 'sound'"):
        build(estimators={"linear": LinearEstimatorConfig(columns=("sound",))})
    monkeypatch.setattr(ClassificationHead, "score_kind", None)
    with pytest.raises(ConfigError, match="'classification' takes no scores"):
        build()


def _weighed(model: MultimodalModel, *names: str) -> EnsembleHead:
    head = head_of(model)
    head.fitted.copy_(torch.tensor([float(name in names) for name in head.weight_names]))
    return head


@pytest.mark.parametrize("task", TARGETS)
def test_without_a_network_that_counts_none_is_computed(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = fitted(task)
    batch = dataclasses.replace(rows(8, 2, task), truths={})
    batch.columns["noise"].lengths[0] = 0
    assert _weighed(model, "linear signal", "forest").vectors_read == NAMES
    assert _weighed(model, "linear signal").read_alone == ("signal",)
    (expected,) = model.predict(batch, tokens=model.encode(batch))
    with monkeypatch.context() as patch:
        patch.setattr(MultimodalModel, "encode", lambda *_: pytest.fail("a network was computed"))
        (alone,) = model.predict(batch)
    assert alone["label"].keys() == expected["label"].keys()
    for name, value in expected["label"].items():
        assert torch.equal(alone["label"][name], value)


def test_a_row_that_no_estimator_reads_is_read_by_networks() -> None:
    model, _ = fitted()
    _weighed(model, "linear signal")
    batch = dataclasses.replace(rows(4, 2), truths={})
    batch.columns["signal"].lengths[1] = 0
    (expected,) = model.predict(batch, tokens=model.encode(batch))
    for name, value in model.predict(batch)[0]["label"].items():
        assert torch.equal(value, expected["label"][name])


def test_without_an_estimator_that_counts_no_features_are_read() -> None:
    model, _ = fitted()
    assert model.reads_vectors
    assert _weighed(model, "signal", "all columns").read_alone == ()
    assert not model.reads_vectors
    batch = dataclasses.replace(rows(4, 2), truths={})
    (expected,) = model.predict(batch)
    columns = {name: dataclasses.replace(column, features=None) for name, column in batch.columns.items()}
    for name, value in model.predict(dataclasses.replace(batch, columns=columns))[0]["label"].items():
        assert torch.equal(value, expected["label"][name])
