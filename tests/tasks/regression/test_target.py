from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from polysense.core.batch import ValueTruth
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.data.target import TargetProcessor
from polysense.errors import ColumnError
from polysense.modalities.number.column import NumberColumnConfig
from polysense.nn.head import Logits
from polysense.tasks.regression.heads.regression import RegressionHead, RegressionHeadConfig
from polysense.tasks.regression.record import RegressionTarget
from polysense.tasks.regression.target import RegressionTargetConfig


def fitted(values, **config) -> TargetProcessor:
    processor = RegressionTargetConfig(**config).build("kg")
    processor.fit(read_table({"kg": list(values)}, name="fruit"))
    return processor


def record(processor: TargetProcessor) -> RegressionTarget:
    assert isinstance(processor.target, RegressionTarget)
    return processor.target


VALUES = np.random.default_rng(0).normal(10, 2, 120).round(2)


def test_an_outlier_is_told_of_with_its_row_and_value_and_sets_no_scale(caplog):
    spoiled = VALUES.copy()
    spoiled[40] = 1e9
    processor = fitted(spoiled)
    clean = record(fitted(np.delete(VALUES, 40)))
    assert record(processor).mean == clean.mean
    assert record(processor).std == clean.std
    (warning,) = processor.warnings
    assert "1e+09" in warning
    assert "row 40" in warning
    assert "outliers=keep" in warning
    data = DataConfig(columns={"size": NumberColumnConfig()}, targets={"kg": RegressionTargetConfig()})
    with caplog.at_level(logging.WARNING):
        Processor.fit(read_table({"kg": spoiled, "size": VALUES}, name="fruit"), data)
    assert caplog.text.count(f"target 'kg': {warning}") == 1


def test_kept_outliers_count():
    spoiled = [*VALUES, 1e9]
    processor = fitted(spoiled, outliers="keep")
    assert not processor.warnings
    assert record(processor).mean[0] == pytest.approx(np.mean(spoiled))


def test_a_frequent_code_is_named_as_one():
    processor = fitted([*VALUES, *[-999.0] * 8])
    assert "8 of 128" in processor.warnings[0]
    assert "stands for a missing value" in processor.warnings[0]


def test_a_column_that_is_the_same_but_for_a_slip_has_nothing_to_learn():
    with pytest.raises(ColumnError, match="nothing to learn"):
        fitted([3.0] * 30)


def test_the_fitted_target_is_saved_whole():
    processor = fitted(np.exp(VALUES), transform="auto")
    target = record(processor)
    assert target.scales[0].transform == "log"
    restored = TargetProcessor.load(json.loads(json.dumps(processor.save())))
    assert restored.target == target


def test_an_outlier_has_no_loss_and_no_count():
    spoiled = [*VALUES, 1e9]
    head = RegressionHead(RegressionHeadConfig(), record(fitted(spoiled)), 4).eval()
    truth = ValueTruth(values=torch.tensor([[10.0], [1e9], [float("nan")]]), present=torch.ones(3, dtype=torch.bool))
    losses = head.loss(Logits(torch.zeros(3, 1)), truth)["loss"]
    assert losses.count.tolist() == [1, 0, 0] == head.count(truth)["loss"].tolist()
    assert losses.total[1:].tolist() == [0, 0]


def test_an_outlier_of_rows_that_are_not_trained_on_is_named_with_its_row():
    processor = fitted(VALUES)
    train = read_table({"kg": list(VALUES)}, name="fruit")
    held_out = [*VALUES[:20], -4e7, None, "many"]
    (warning,) = processor.held_out_warnings(train, read_table({"kg": list(map(str, held_out))}, name="test"))
    assert "1 of 21 values" in warning
    assert "-4e+07 (test, row 20, column 'kg')" in warning
    assert processor.held_out_warnings(train, read_table({"kg": list(VALUES[:20] + 1)}, name="test")) == ()
    assert processor.held_out_warnings(train, read_table({"mg": [1.0]}, name="test")) == ()
    keeping = fitted(VALUES, outliers="keep")
    assert keeping.held_out_warnings(train, read_table({"kg": held_out[:21]}, name="test")) == ()


def test_a_code_that_the_recipe_names_is_a_missing_value():
    spoiled = [*VALUES, *[-999.0] * 40]
    (warning,) = fitted(spoiled).warnings
    assert "data.targets.kg.missing=[-999]" in warning
    assert "40 of" in warning
    processor = fitted(spoiled, missing=(-999.0,))
    assert not processor.warnings
    assert record(processor).mean == record(fitted(VALUES)).mean
    assert record(processor).num_rows == len(VALUES)
