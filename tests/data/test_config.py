"""The data part of a recipe reads back as written and refuses what can't be meant."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from polysense.config.base import describe
from polysense.config.codec import dump_yaml, from_dict, parse_yaml, to_dict
from polysense.data.config import DataConfig
from polysense.errors import ConfigError
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.text.column import TextColumnConfig
from polysense.tasks.classification.target import ClassificationTargetConfig


def test_it_reads_back_as_written() -> None:
    config = DataConfig(
        table="a.csv",
        columns={"x y": TextColumnConfig(max_tokens=5), "no": ImageColumnConfig(size=(8, 9))},
        targets={"label": ClassificationTargetConfig(column="is.it", classes=("no", 1, True))},
    )
    assert from_dict(DataConfig, to_dict(config)) == config
    assert from_dict(DataConfig, parse_yaml(dump_yaml(config))) == config


def test_short_forms_are_understood() -> None:
    config = from_dict(DataConfig, {"columns": {"a": "text"}, "targets": {"b": "regression"}, "split": "fraction"})
    assert config.columns["a"] == TextColumnConfig()
    assert config.targets["b"].sources("b") == ("b",)


def test_every_setting_is_explained() -> None:
    for config in (DataConfig, TextColumnConfig, ImageColumnConfig, ClassificationTargetConfig):
        _, texts = describe(config)
        assert set(texts) == {field.name for field in dataclasses.fields(config)} - {"type"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"columns": {"a": {"type": "txt"}}}, r"data\.columns\.a.*did you mean 'text'|columns\.a.*did you mean 'text'"),
        ({"columns": {"a": {"type": "text", "max_token": 3}}}, r"columns\.a\.max_token.*did you mean 'max_tokens'"),
        ({"columns": {"y": "text"}, "targets": {"y": "regression"}}, "'y' is also a target"),
        ({"columns": {"q": "text"}, "targets": {"y": {"type": "regression", "columns": ["p", "q"]}}}, "'q' is also"),
        ({"transforms": {"a": "audio"}}, r"there is no input column 'a'"),
        ({"modality_dropout": 1.0}, "modality_dropout"),
        ({"num_workers": -1}, "num_workers"),
        ({"cache": "disk"}, "cache"),
    ],
)
def test_what_can_not_be_meant_is_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(DataConfig, bad)
