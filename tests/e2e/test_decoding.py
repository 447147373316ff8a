"""Ways of writing, chosen after training: from the API and the command line, saved, streamed, held to a list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from runs import RunOnce

import polysense
from polysense import api
from polysense.cli.app import main
from polysense.errors import ColumnError, ConfigError, TableError
from polysense.escaping import visible

SETTINGS = [
    "model.width=16",
    "training.epochs=2",
    "training.batch_size=16",
    "training.tensorboard=false",
    "data.split.validation=0",
    "data.split.test=0",
]
WORDS = ["sunny ☀️", "雨", "ветер 🌬", "clear sky", "雪 and ice", "fog"]
ROWS = [{"code": f"{i % 6} {i % 5}", "weather": WORDS[i % 6] + (" today" if i % 2 else "")} for i in range(48)]


def fit(folder: Path, *overrides: str, rows: list[dict[str, str]] = ROWS) -> Any:
    return polysense.fit(
        pl.DataFrame(rows),
        target="weather",
        columns={"code": "text", "weather": "generation"},
        output=folder,
        overrides=[*SETTINGS, *overrides],
        progress=False,
    )


@pytest.fixture(scope="module")
def bundle(trained: Callable[[str], polysense.Run]) -> Any:
    """Hardly trained: its bytes are often no characters, which is what streaming has to stand."""
    return trained("generation").bundle


@pytest.fixture(scope="module")
def closed(run_once: RunOnce) -> Any:
    return run_once("closed answers", lambda to: fit(to / "run", "data.targets.weather.answers=training")).bundle


NEW = [{"code": f"{i} {7 * i}"} for i in range(5)]
HOT = {"type": "sample", "temperature": 2.0, "max_new_tokens": 12}


@pytest.mark.parametrize(
    "decoding",
    [None, "beam", {"type": "beam", "beam_size": 3}, HOT, {**HOT, "num_texts": 3}, {**HOT, "seed": 3, "top_k": 40}],
    ids=str,
)
def test_what_is_streamed_is_what_is_predicted(bundle: Any, decoding: Any) -> None:
    texts = bundle.predict(NEW, decoding=decoding).frame["weather"].to_list()
    for row, text in enumerate(texts):
        found = list(bundle.stream(NEW, row=row, decoding=decoding))
        assert "".join(found) == text
        assert all(found)
    assert ["".join(pieces) for pieces in api.stream(bundle, NEW, decoding=decoding)] == texts


def test_several_texts_of_a_row(bundle: Any, tmp_path: Path) -> None:
    found = bundle.predict(NEW, decoding={**HOT, "num_texts": 4})
    frame = found.frame
    assert frame.columns[:5] == [
        "row",
        "weather",
        "weather_log_probability",
        "weather_alternatives",
        "weather_alternative_log_probabilities",
    ]
    for first, score, texts, scores in frame.select(frame.columns[1:5]).iter_rows():
        assert len(texts) == len(scores) <= 3
        assert len({first, *texts}) == 1 + len(texts)
        assert [score, *scores] == sorted([score, *scores], reverse=True)
    found.write(tmp_path / "p.csv")
    cells = pl.read_csv(tmp_path / "p.csv")["weather_alternatives"]
    assert [json.loads(cell) for cell in cells] == frame["weather_alternatives"].to_list()
    found.write(tmp_path / "p.jsonl")
    found.write(tmp_path / "p.parquet")
    assert pl.read_parquet(tmp_path / "p.parquet").equals(frame)
    # A row's draws are its own: not of the rows beside it, nor of their number.
    assert bundle.predict(NEW[:2], decoding={**HOT, "num_texts": 4}).frame.equals(frame[:2])
    assert not bundle.predict(NEW, decoding={**HOT, "seed": 1}).frame["weather"].equals(frame["weather"])


def test_a_decoding_is_saved_with_the_model(bundle: Any, tmp_path: Path) -> None:
    other = bundle.with_decoding([*[f"decoding.{key}={value}" for key, value in HOT.items()], "decoding.seed=5"])
    other.save(tmp_path / "other")
    loaded = polysense.load(tmp_path / "other")
    assert loaded.model_config.heads["weather"].decoding.seed == 5
    expected = other.predict(NEW).frame
    assert loaded.predict(NEW).frame.equals(expected)
    assert bundle.predict(NEW, decoding={**HOT, "seed": 5}).frame.equals(expected)
    # The bundle itself writes as before.
    assert bundle.model_config.heads["weather"].decoding.type == "greedy"
    assert bundle.predict(NEW).frame.equals(polysense.load(bundle.folder).predict(NEW).frame)


def test_wrong_decodings(bundle: Any) -> None:
    for decoding, message in (
        ("bream", "bream"),
        ({"beam_size": 3}, "beam_size"),
        ({"type": "beam", "beam_size": 0}, "beam_size must be at least 1"),
        (["decoding.temperature=1"], "temperature"),
        (["training.epochs=3"], "a trained model's decoding alone can be changed"),
        (["model.heads.weather.num_layers=3"], "beside the decoding of texts, nothing of this model's heads"),
        (["model.heads.caption.decoding=beam"], "a trained model's decoding alone can be changed"),
        ("answers", "ranks a list, and the target 'weather' has none"),
    ):
        with pytest.raises(ConfigError, match=message):
            bundle.predict(NEW, decoding=decoding)
    with pytest.raises(TableError, match="row 9 is asked for, and it has 5 rows"):
        bundle.stream(NEW, row=9)
    with pytest.raises(ConfigError, match="target 'code' is not one of them"):
        bundle.stream(NEW, target="code")


@pytest.mark.parametrize("decoding", [None, "beam", HOT, "answers"], ids=str)
def test_only_listed_answers(closed: Any, decoding: Any) -> None:
    answers = {row["weather"] for row in ROWS}
    frame = closed.predict(NEW, decoding=decoding).frame
    assert set(frame["weather"]) <= answers
    assert "".join(closed.stream(NEW, row=1, decoding=decoding)) == frame["weather"][1]


def test_all_answers_with_their_probabilities(closed: Any, tmp_path: Path) -> None:
    answers = {row["weather"] for row in ROWS}
    ranked = {"type": "answers", "num_texts": len(answers), "normalize": True}
    closed.with_decoding(ranked).save(tmp_path / "closed")
    frame = polysense.load(tmp_path / "closed").predict(NEW).frame
    assert frame.equals(closed.predict(NEW, decoding=ranked).frame)
    for first, score, texts, scores in frame.select(frame.columns[1:5]).iter_rows():
        assert {first, *texts} == answers
        total = pl.Series([score, *scores]).exp().sum()
        assert total == pytest.approx(1.0, abs=1e-5)


def test_answers_that_cant_be_spelled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ColumnError, match=r"1 of 2 answers can't be spelled .* 'hail'; set .*tokens to subwords"):
        fit(tmp_path / "a", "data.targets.weather.tokens=words", "data.targets.weather.answers=[fog,hail]")
    with pytest.raises(ConfigError, match="expected at least one text"):
        fit(tmp_path / "b", "data.targets.weather.answers=[]")
    with caplog.at_level("WARNING", "polysense"):
        run = fit(tmp_path / "c", "data.targets.weather.answers=[fog, never seen]", "training.epochs=1")
    assert "training texts are none of the listed answers" in caplog.text
    assert set(run.bundle.predict(NEW).frame["weather"]) <= {"fog", "never seen"}


def test_on_the_command_line(bundle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    pl.DataFrame(NEW).write_csv(table)
    folder = str(bundle.folder)
    overrides = [f"decoding.{key}={value}" for key, value in HOT.items()]
    expected = bundle.predict(NEW, decoding=HOT).frame["weather"].to_list()
    assert main(["predict", folder, str(table), *overrides]) == 0
    assert [json.loads(line)["weather"] for line in capsys.readouterr().out.splitlines()] == expected
    assert main(["predict", folder, str(table), "decoding=sample", *overrides[1:], "--stream"]) == 0
    assert capsys.readouterr().out == "".join(visible(text) + "\n" for text in expected)
    assert main(["predict", folder, str(table), "--stream", "--json"]) == 2
    assert main(["predict", folder, str(table), "decoding.beam_size=2"]) == 2
    assert "beam_size" in capsys.readouterr().err
    pl.DataFrame(ROWS[:8]).write_csv(table)
    assert main(["evaluate", folder, str(table), "decoding=beam", "--bootstrap", "0", "--json"]) == 0
    assert "chrf" in json.loads(capsys.readouterr().out)["metrics"]["weather"]


def test_progress_is_told_row_by_row(bundle: Any) -> None:
    told: list[tuple[int, int]] = []
    many = [{"code": str(i)} for i in range(70)]
    polysense.predict(bundle, many, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 70)
    assert told[-1] == (70, 70)
    assert len(told) >= 4
    told.clear()
    polysense.evaluate(bundle, ROWS, bootstrap=0, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 96), "the blind control is a second pass"
    assert told[-1] == (96, 96)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
