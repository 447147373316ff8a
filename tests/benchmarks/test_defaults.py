"""Both sides get the same rows, a choice never sees test rows, and differences are paired, by group and corrected."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image

import defaults
from defaults_scripts import features, frozen, judge, script
from defaults_scripts.tables import JudgedTable, write_table

WORDS = ["red", "green", "blue"]


def made_table(rows: int, data: Path, folder: Path) -> pl.DataFrame:
    """A class that a text and a number tell, with groups of four rows."""
    draws = np.random.default_rng(0)
    label = draws.integers(0, 3, rows)
    return pl.DataFrame(
        {
            "note": [f"a {WORDS[i]} thing" if draws.random() < 0.9 else None for i in label],
            "size": [None if draws.random() < 0.1 else float(x) for x in label + draws.normal(0, 0.3, rows)],
            "shop": [f"shop {i}" for i in draws.integers(0, 3, rows)],
            "day": [f"2024-0{1 + i}-11" for i in draws.integers(0, 9, rows)],
            "label": [WORDS[i] for i in label],
            "group": [f"group {i // 4}" for i in range(rows)],
            "split": ["test" if i // 4 % 3 == 2 else "val" if i // 4 % 9 == 1 else "train" for i in range(rows)],
        }
    )


def judged_table(rows: int = 180, **options: object) -> JudgedTable:
    table = JudgedTable(
        name="made",
        kinds={"note": "text", "size": "number", "shop": "category", "day": "date"},
        target="label",
        metric="accuracy",
        load=lambda data, folder: made_table(rows, data, folder),
    )
    return dataclasses.replace(table, **options)  # type: ignore[arg-type]


def test_both_sides_get_the_same_rows_and_only_persons_are_shown_to_the_command(tmp_path: Path) -> None:
    facts = write_table(judged_table(persons="speaker"), tmp_path, tmp_path / "a", rows=50, test_rows=20)
    assert (facts["rows"], facts["test_rows"], facts["available"]) == (50, 20, 120)
    command, test = pl.read_csv(tmp_path / "a" / "train.csv"), pl.read_csv(tmp_path / "a" / "test.csv")
    scripts = pl.read_csv(tmp_path / "a" / "scripts.csv")
    assert command.columns == ["speaker", "note", "size", "shop", "day", "label", "split"]
    assert test.columns == ["speaker", "note", "size", "shop", "day", "label"]
    assert command.drop("speaker").equals(scripts.drop("group"))
    assert command.filter(pl.col("split") == "test").drop("split").equals(test)
    write_table(judged_table(), tmp_path, tmp_path / "b", rows=50, test_rows=20)
    other = pl.read_csv(tmp_path / "b" / "train.csv")
    assert other.equals(command.drop("speaker"))  # the sample is the same every time


def test_a_table_without_a_split_gets_one_by_class_and_unknown_classes_are_not_tested(tmp_path: Path) -> None:
    def load(data: Path, folder: Path) -> pl.DataFrame:
        return made_table(100, data, folder).drop("split", "group")

    write_table(judged_table(load=load), tmp_path, tmp_path / "a", rows=None, test_rows=None)
    frame = pl.read_csv(tmp_path / "a" / "scripts.csv")
    shares = frame.group_by("label").agg((pl.col("split") == "test").mean())["split"].to_list()
    assert all(abs(share - 0.3) < 0.02 for share in shares)

    def unknown(data: Path, folder: Path) -> pl.DataFrame:
        return made_table(90, data, folder).with_columns(
            pl.when(pl.col("split") != "test", pl.col("label") == "blue").then(None).otherwise("label").alias("label")
        )

    facts = write_table(judged_table(load=unknown), tmp_path, tmp_path / "b", rows=None, test_rows=None)
    frame = pl.read_csv(tmp_path / "b" / "scripts.csv")
    assert "blue" not in frame["label"].to_list()
    assert facts["test_rows"] == len(frame.filter(pl.col("split") == "test")) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "least"), [("accuracy", 0.85), ("r2", 0.7)])
def test_the_script_learns_and_test_rows_change_nothing_of_it(tmp_path: Path, metric: str, least: float) -> None:
    def load(data: Path, folder: Path) -> pl.DataFrame:
        frame = made_table(90, data, folder)
        number = frame["label"].replace_strict(WORDS, [1.0, 2.0, 3.0])
        return frame.with_columns(number.alias("label")) if metric == "r2" else frame

    def fewer(data: Path, folder: Path) -> pl.DataFrame:
        frame = load(data, folder)
        return frame.filter(~((pl.col("split") == "test") & (pl.int_range(len(frame)) % 2 == 0)))

    written: list[dict[str, np.ndarray]] = []
    for name, loading in (("all", load), ("fewer", fewer)):
        folder = tmp_path / name
        write_table(judged_table(metric=metric, load=loading), tmp_path, folder, rows=None, test_rows=None)
        script.main(folder, folder / "predictions.npz")
        written.append(dict(np.load(folder / "predictions.npz")))
    assert judge.resampled_metrics(tmp_path / "all", tmp_path / "all" / "predictions.npz", 10).values[metric] > least
    assert written[0]["scores"] == written[1]["scores"]
    key = "predicted" if metric == "r2" else "probabilities"
    assert len(written[0][key]) > len(written[1][key])
    assert {round(float(value), 6) for value in written[1][key].ravel()} <= {
        round(float(value), 6) for value in written[0][key].ravel()
    }


def test_features_of_pictures_clips_series_and_dates(tmp_path: Path) -> None:
    red, striped = np.zeros((20, 30, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    red[..., 0], striped[:, ::8] = 255, 255
    vectors = []
    for name, pixels in (("red", red), ("down", striped), ("across", striped.transpose(1, 0, 2))):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        vectors.append(features.image_features(str(tmp_path / f"{name}.png")))
    assert {vector.shape for vector in vectors} == {(2596,)}
    assert vectors[0][768 + 48] == 1  # all of the picture has the fullest red and no other color
    assert abs(vectors[1] - vectors[2])[832:].max() > 0.2  # the same colors, other directions
    np.testing.assert_allclose(vectors[1][768:832], vectors[2][768:832])
    time = np.arange(8000) / 8000
    for name, wave in (("low", np.sin(600 * time)), ("high", np.sin(12000 * time)), ("short", np.zeros(20))):
        soundfile.write(tmp_path / f"{name}.wav", wave, 8000)
    low, high, short = (features.audio_features(str(tmp_path / f"{name}.wav")) for name in ("low", "high", "short"))
    assert low.shape == short.shape == (626,)
    assert np.isfinite(short).all()
    assert low[:40].argmax() < high[:40].argmax()
    pl.DataFrame({"t": [0, 1, 2], "x": [0.0, 1.0, 2.0], "y": [5.0, 5.0, 5.0]}).write_csv(tmp_path / "s.csv")
    series = features.series_features(str(tmp_path / "s.csv"))
    assert series.shape == (128,)
    np.testing.assert_allclose(series[[0, 49, 50, 52, 53]], [0, 2, 1, 0, 2], atol=1e-6)
    assert features.date_features("2024-02-29").tolist() == [2024, 2, 29, 3, 60]


def test_whisper_over_a_clip_s_own_length_is_whisper(tmp_path: Path) -> None:
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=20, num_mel_bins=80, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = WhisperModel(config).eval()
    model.save_pretrained(tmp_path / "weights" / "tiny")
    extractor = WhisperFeatureExtractor()
    extractor.save_pretrained(tmp_path / "weights" / "tiny")
    draws = np.random.default_rng(0)
    for name, seconds in (("full", 30), ("short", 2)):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * draws.standard_normal(16000 * seconds), 16000)
    paths = [str(tmp_path / f"{name}.wav") for name in ("full", "short")]
    vectors = frozen.frozen_features("audio", [paths[1], None, paths[0]], tmp_path / "weights")
    assert vectors.shape == (3, 2 * 2 * 16)
    assert not vectors[1].any()
    np.testing.assert_array_equal(
        vectors[[0]], frozen.frozen_features("audio", [paths[1]], tmp_path / "weights")
    )  # whatever stands beside it
    mel = extractor(features.read_audio(paths[0]), sampling_rate=16000, return_tensors="pt").input_features
    with torch.inference_mode():
        first = model.encoder(mel, output_hidden_states=True).hidden_states[1][0]
    np.testing.assert_allclose(vectors[2][:32], torch.cat([first.mean(0), first.std(0)]).numpy(), atol=1e-5)
    with pytest.raises(SystemExit, match="model_type 'bert'"):
        frozen.frozen_features("text", ["a"], tmp_path / "weights")


def write_predictions(path: Path, truth: list[str], classes: list[str], right: Callable[[int], bool]) -> Path:
    order = {name: i for i, name in enumerate(classes)}
    chosen = [order[name] if right(i) else (order[name] + 1) % len(classes) for i, name in enumerate(truth)]
    np.savez(path, probabilities=np.eye(len(classes))[chosen] * 0.9 + 0.05, classes=np.array(classes))
    return path


def test_differences_are_paired_and_draw_whole_groups(tmp_path: Path) -> None:
    write_table(judged_table(rows=480), tmp_path, tmp_path, rows=None, test_rows=None)
    frame = pl.read_csv(tmp_path / "scripts.csv").filter(pl.col("split") == "test")
    truth = frame["label"].to_list()
    # The classes' order is the file's own.
    good = write_predictions(tmp_path / "good.npz", truth, ["red", "green", "blue"], lambda i: i % 8 > 0)
    poor = write_predictions(tmp_path / "poor.npz", truth, ["blue", "green", "red"], lambda i: i % 8 > 1)
    first, second = (judge.resampled_metrics(tmp_path, path, 800) for path in (good, poor))
    assert first.values["accuracy"] == 1 - 1 / 8
    assert second.values["accuracy"] == 1 - 2 / 8
    better, worse = (judge.difference(*pair, "accuracy") for pair in ((first, second), (second, first)))
    assert better.value.value == pytest.approx(1 / 8)
    assert better.value.low > 0
    assert better.p < 0.01
    assert worse.p == better.p
    assert worse.value.high == pytest.approx(-better.value.low)
    same = judge.difference(first, first, "accuracy")
    assert (same.value.low, same.value.high, same.p) == (0, 0, 1)
    weights = judge.row_weights(frame["group"].to_list(), 50)
    assert weights.shape == (50, len(frame))
    assert (weights.reshape(50, -1, 4) == weights.reshape(50, -1, 4)[:, :, :1]).all()
    alone = judge.row_weights(["a"] * 30 + ["b"] * 30, 50)  # two groups can't be resampled
    assert (alone.sum(axis=1) == 60).all()
    assert not (alone[:, :30] == alone[:, :1]).all()


def test_predictions_of_the_command_are_read_by_class_and_by_number() -> None:
    rows = [{"label": "a", "label_probability": 0.9, "label_probability[a]": 0.9, "label_probability[b]": 0.1}]
    arrays = defaults.predicted_arrays(rows, judged_table())
    assert arrays["classes"].tolist() == ["a", "b"]
    np.testing.assert_allclose(arrays["probabilities"], [[0.9, 0.1]])
    assert defaults.predicted_arrays([{"label": 2.5}], judged_table(metric="r2"))["predicted"].tolist() == [2.5]


def fake_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accuracies: dict[str, float]) -> list[str]:
    """Sides that predict at once; returns the list of what was run."""
    calls: list[str] = []
    cost = {"seconds": 2.0, "processor": 1.0, "peak": 2**30}

    def predict(folder: Path, predictions: Path) -> None:
        frame = pl.read_csv(folder / "scripts.csv").filter(pl.col("split") == "test")
        side = predictions.name.split(".")[1]
        calls.append(side)
        if accuracies[side] < 0:
            raise defaults.Failed("ended with 1: no memory")
        right = round(accuracies[side] * len(frame))
        write_predictions(predictions, frame["label"].to_list(), WORDS, lambda i: i < right)

    def run_script(folder: Path, predictions: Path, log: Path, weights: Path | None) -> dict[str, object]:
        predict(folder, predictions)
        return {**cost, "chosen": "linear"}

    def run_command(
        table: JudgedTable, folder: Path, run: Path, predictions: Path, log: Path, options: list[str]
    ) -> dict[str, object]:
        assert options == ["--pretrained", str(tmp_path / "w") if "+weights" in run.name else "off"]
        predict(folder, predictions)
        return cost

    monkeypatch.setattr(defaults, "TABLES", (judged_table(),))
    monkeypatch.setattr(defaults, "run_script", run_script)
    monkeypatch.setattr(defaults, "run_command", run_command)
    return calls


def test_what_is_done_is_not_run_again_and_what_failed_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = fake_sides(
        tmp_path, monkeypatch, accuracies := {"script": 0.5, "command": -1.0, "command+weights": 1.0, "frozen": 0.75}
    )
    arguments = [str(tmp_path), "--output", str(tmp_path / "out")]
    assert defaults.main(arguments) == 0
    assert calls == ["script", "command"]
    assert "no memory" in capsys.readouterr().out
    accuracies["command"] = 0.25
    defaults.main(arguments)
    assert calls == ["script", "command", "command"]
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("| made"))
    assert row.startswith("| made (120, 60) | accuracy | 0.250")
    assert "-0.250" in row
    assert "**worse**" in row
    assert "| 2 / 2 | 1 / 1 | 1.0 / 1.0 |" in row
    assert "Median of the 1 tables under 2,000 rows: 2 s by the clock, 1 s of processor time." in out
    defaults.main([*arguments, "--pretrained", str(tmp_path / "w")])
    assert calls[3:] == ["frozen", "command+weights"]
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("###")] == [
        f"### {side} against {other}" for side, other in defaults.COMPARISONS
    ]
    assert out.count(" better |") == 4
    records = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text("utf-8").splitlines()]
    assert [record["side"] for record in records] == calls
    with pytest.raises(SystemExit, match="choose another folder"):
        defaults.main([*arguments, "--rows", "50"])
    with pytest.raises(SystemExit):
        defaults.main([*arguments, "--only", "nothing"])


def test_a_child_s_cost_is_its_own_and_its_failure_is_told(tmp_path: Path) -> None:
    cost = defaults.measured(["-c", "x = bytearray(300 << 20)"], tmp_path / "log")
    assert cost["seconds"] > 0
    assert 300 << 20 < cost["peak"] < 600 << 20
    with pytest.raises(defaults.Failed, match="ended with 3: too bad"):
        defaults.measured(["-c", "import sys; print('too bad'); sys.exit(3)"], tmp_path / "log")


def test_every_table_of_an_installed_package_can_be_made(tmp_path: Path) -> None:
    names = []
    for table in defaults.TABLES:
        if table.package == "sklearn":
            facts = write_table(table, tmp_path, tmp_path / table.name, rows=None, test_rows=None)
            assert facts["rows"] > 2 * facts["test_rows"]
            frame = pl.read_csv(tmp_path / table.name / "train.csv")
            assert frame.columns == [*table.kinds, table.target, "split"]
            names.append(table.name)
    assert names == ["breast_cancer", "wine", "diabetes", "digits"]


@pytest.mark.slow
def test_both_sides_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "TABLES", (judged_table(rows=120),))
    quick = ["--override", "training.epochs=1", "--override", "evaluation.bootstrap=10"]
    defaults.main([str(tmp_path), "--output", str(tmp_path / "out"), *quick])
    results = defaults.read_results(tmp_path / "out")
    assert set(results["made"]) == {"script", "command"}, (tmp_path / "out" / "results.jsonl").read_text("utf-8")
    assert results["made"]["script"]["values"]["accuracy"] > 0.8


def test_calibration_is_judged_by_what_the_rows_can_tell(tmp_path: Path) -> None:
    results = {}
    for name, rows, metrics in (
        ("close", 600, {"ece_debiased": {"value": 0.03, "low": 0.01, "high": 0.05}}),
        ("far", 600, {"ece_debiased": {"value": 0.05, "low": 0.03, "high": 0.07}}),
        ("few rows", 499, {"ece_debiased": {"value": 0.05, "low": 0.03, "high": 0.07}}),
        ("prices", 100, {"coverage": {"value": 0.84}}),
        ("narrow", 100, {"coverage": {"value": 0.83}}),
    ):
        run = tmp_path / "runs" / f"{name}.command"
        run.mkdir(parents=True)
        (run / "metrics.json").write_text(json.dumps({"test": {"y": metrics}}))
        results[name] = {"command": {"test_rows": rows}}
    results["no run"] = {"command": {"test_rows": 600}}
    lines = judge.calibration(results, tmp_path, "command").splitlines()[2:]
    # of 100 draws with probability .9, 95% are 84 to 95
    assert [line.split(" | ")[0].strip("| ") for line in lines] == ["close", "far", "prices", "narrow"]
    assert ["**no**" in line for line in lines] == [False, True, False, True]
    assert lines[2].endswith("yes (0.840 to 0.950) |")
