from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polysense.cli.app import main
from polysense.errors import TrainingInterrupted

FakeApi = Any
LEFT_OUT = {
    "target": None,
    "seeds": 5,
    "output": None,
    "overrides": [],
    "preset": "balanced",
    "columns": None,
    "pretrained": None,
    "split": None,
    "unimodal": True,
    "jobs": 1,
    "keep": False,
}


def test_compare_passes_everything_on(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    line = "compare t.csv training.epochs=3 --over a=b,c --over d=1,2 --target y -c x=text --seeds 3 -o out --jobs 2"
    more = "--split validation --no-unimodal --keep --preset fast --pretrained off"
    assert main([*line.split(), *more.split()]) == 0
    assert api.calls == [
        (
            "compare",
            (Path("t.csv"), ["a=b,c", "d=1,2"]),
            {
                "target": ["y"],
                "seeds": 3,
                "output": Path("out"),
                "overrides": ["training.epochs=3"],
                "preset": "fast",
                "columns": {"x": "text"},
                "pretrained": "off",
                "split": "validation",
                "unimodal": False,
                "jobs": 2,
                "keep": True,
            },
        )
    ]
    assert capsys.readouterr().out == "a library prints this\nranked\n"


def test_compare_leaves_out_what_was_not_given(api: FakeApi) -> None:
    assert main(["compare", "recipe.yaml", "--over", "model.fusion={type: gated, dropout: 0.3},concat"]) == 0
    ((_, arguments, options),) = api.calls
    assert arguments == (Path("recipe.yaml"), ["model.fusion={type: gated, dropout: 0.3},concat"])
    assert options == LEFT_OUT


def test_an_interruption_says_how_to_go_on(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.error = TrainingInterrupted("3 of 8 trainings are done; the same command resumes with the others")
    assert main(["compare", "recipe.yaml", "--over", "a=b"]) == 130
    assert capsys.readouterr().err.endswith(
        "interrupted: 3 of 8 trainings are done; the same command resumes with the others\n"
    )
