from __future__ import annotations

import json

import pytest

from polysense.cli.app import main


def test_the_families_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines[:23]] == [
        "encoders", "fusions", "heads", "losses", "estimators", "objectives", "rewards", "decodings", "columns",
        "cleanings", "imputations", "features", "targets", "transforms", "splits", "batchings", "samplers",
        "optimizers", "balances", "schedules", "importers", "exporters", "strategies",
    ]  # fmt: skip
    assert all(int(line.split()[1]) >= 2 for line in lines[:23])


def test_one_line_for_each_member(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "fusions"]) == 0
    listed = capsys.readouterr().out
    lines = [line.split()[0] for line in listed.splitlines() if not line.startswith(" ")]
    assert lines == sorted(lines)
    assert "gated" in lines
    words = " ".join(listed.split())
    assert (
        "gated Gated multimodal unit: each feature is a mixture of the columns, weighted by gates that see them all."
        in (words)
    )


@pytest.mark.parametrize("line", [[], ["encoders"], ["heads"], ["encoders", "--verbose"], ["fusions", "gated"]])
def test_no_line_is_wider_than_80_characters(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *line]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("line", [["list", "encoders", "number_mlp"], ["list", "encoder", "number_mlp"]])
def test_a_name_shows_parameters_with_defaults_and_meaning(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 0
    listed = capsys.readouterr().out
    assert "number_mlp: A number through a small multilayer perceptron.\n  serves number\n" in listed
    assert "  hidden = 64  (PositiveInt)\n      Width of the hidden layer.\n" in listed
    assert "type" not in listed.replace("\n", " ").split()


def test_verbose_explains_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "splits", "--verbose"]) == 0
    listed = capsys.readouterr().out
    assert "  column must be given  (str)" in listed
    assert listed.count("\n\n") == 4


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    families = json.loads(capsys.readouterr().out)
    assert len(families) == 23
    assert main(["list", "heads", "regression", "--json"]) == 0
    (regression,) = json.loads(capsys.readouterr().out)
    assert regression in families["heads"]
    assert regression["serves"] == ["regression"]
    assert regression["package"] is None
    assert {"name": "loss", "kind": 'Literal["mse", "mae", "huber"]', "default": '"mse"'}.items() <= next(
        parameter for parameter in regression["parameters"] if parameter["name"] == "loss"
    ).items()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["list", "encodres"], "no family is named 'encodres'; did you mean 'encoders'?"),
        (["list", "fusions", "gatd"], "no fusion is named 'gatd'; did you mean 'gated'?"),
    ],
)
def test_an_unknown_name_is_one_message(line: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 2
    listed = capsys.readouterr()
    assert listed.out == ""
    assert listed.err.startswith(f"error: {message}")
