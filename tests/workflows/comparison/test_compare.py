"""`compare`: same split, paired seeds, every baseline; nothing is done twice, nothing stale, nothing stops the rest."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from polysense.core.lock import locked
from polysense.data.processor import Processor
from polysense.errors import ConfigError, LockedError, SplitError, TrainingError, TrainingInterrupted
from polysense.evaluation.comparison import Kind
from polysense.training import step as training_step
from polysense.training.interrupts import Interrupts
from polysense.workflows.comparison.compare import Compared
from polysense.workflows.comparison.trial import TrialRunner

SMALL = ["model.width=16", "training.batch_size=16", "evaluation.bootstrap=20", "data.split.test=0.3"]
WITH_SIMPLE = [*SMALL, "training.epochs=2", "data.split.validation=0.2"]
Compare = Callable[..., Compared]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Notes what is really trained."""
    found: list[tuple[str, int]] = []
    original = TrialRunner.run

    def run(self: TrialRunner, trial: Any) -> dict[str, Any]:
        found.append((trial.name, trial.seed))
        return original(self, trial)

    monkeypatch.setattr(TrialRunner, "run", run)
    return found


def test_every_variant_and_baseline_with_every_seed(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fitted = []
    original = Processor.fit
    monkeypatch.setattr(Processor, "fit", staticmethod(lambda *args: fitted.append(1) or original(*args)))
    with caplog.at_level(logging.INFO, "polysense.workflows"):
        found = compare(output=tmp_path / "c", overrides=WITH_SIMPLE)

    rows = {row.entry.name: row for row in found.comparison.rows}
    assert {name: row.entry.kind for name, row in rows.items()} == {
        "concat": Kind.VARIANT,
        "gated": Kind.VARIANT,
        "x only (trained separately)": Kind.UNIMODAL,
        "y only (trained separately)": Kind.UNIMODAL,
        "Unimodal ensemble": Kind.ENSEMBLE,
        "Best simple model": Kind.SIMPLE,
        "majority-class baseline": Kind.CONSTANT,
    }
    assert len(fitted) == 4, "the variants share one fitted preprocessing; each column alone and simple models have one"
    for row in rows.values():
        assert set(row.entry.measured("test", "label/accuracy")) == {0, 1}
        assert set(row.entry.measured("validation", "label/accuracy")) == {0, 1}
    assert found.comparison.split == "test"
    assert found.comparison.reference in ("concat", "gated")

    # On one split of the rows: the same test rows whatever the seed and the variant.
    tested = []
    for path in sorted(tmp_path.glob("c/runs/*/*/predictions.npz")):
        with np.load(path) as stored:
            tested.append((stored["test/rows"].tolist(), stored["test/0/truth"].tolist()))
    assert len(tested) == 8
    assert all(one == tested[0] for one in tested)

    # The ensemble is the mean of the columns' own probabilities.
    parts, truth = [], None
    for column in "xy":
        with np.load(next(tmp_path.glob(f"c/runs/{column}*only*/1/predictions.npz"))) as stored:
            parts.append(stored["test/0/probabilities"])
            truth = stored["test/0/truth"]
    accuracy = float((np.mean(parts, axis=0).argmax(axis=1) == truth).mean())
    assert rows["Unimodal ensemble"].entry.measured("test", "label/accuracy")[1] == pytest.approx(accuracy)

    # Files and words.
    plain = json.loads((tmp_path / "c/comparison.json").read_text())
    assert plain == json.loads(json.dumps(found.as_json()))
    assert plain["settings"]["rows"] == {"train": 40, "validation": 16, "test": 24}
    assert (tmp_path / "c/comparison.html").is_file()
    assert not list(tmp_path.glob("c/runs/*/*/checkpoints"))
    assert not list(tmp_path.glob("c/runs/*/*/bundle"))
    lines = [record.getMessage() for record in caplog.records if record.name == "polysense.workflows"]
    assert lines[0] == "2 variants and 2 columns alone, 2 seed(s) each: 8 trainings"
    assert len([line for line in lines if line.startswith("[")]) == 8
    assert "majority" in found.summary()

    # The best simple model was chosen within the training rows, and is the same with every seed.
    simple = json.loads((tmp_path / "c/simple/result.json").read_text())
    assert simple["chosen"].keys() == {"label"}
    (value,) = set(rows["Best simple model"].entry.measured("test", "label/accuracy").values())
    assert value == simple["values"]["test"]["label/accuracy"] > 0.6
    assert f"Best simple model: '{simple['chosen']['label']}'" in " ".join(found.summary().split())
    monkeypatch.setattr("polysense.workflows.comparison.simple.fit_simple_baselines", None)
    assert compare(output=tmp_path / "c", overrides=WITH_SIMPLE).as_json() == plain, "what is known is not fitted again"


@pytest.mark.parametrize(
    ("over", "num_fitted"),
    [
        ("data.cleaning.label=[],[merge_variants]", 2),
        ("data.missing={x: {type: mean}},{x: {type: median}}", 2),
        ("data.modality_dropout=0.1,0.2", 1),
    ],
)
def test_preprocessing_is_shared_by_variants_that_read_cells_alike_alone(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: str, num_fitted: int
) -> None:
    fitted = []
    original = Processor.fit
    monkeypatch.setattr(Processor, "fit", staticmethod(lambda *args: fitted.append(1) or original(*args)))
    compare([over], output=tmp_path / "c", unimodal=False, seeds=1)
    assert len(fitted) == num_fitted


def test_seeds_change_the_training_and_pair_the_variants(compare: Compare, tmp_path: Path) -> None:
    found = compare(["data.modality_dropout=0.1,0.10"], output=tmp_path / "c", unimodal=False)
    # Two names for one recipe: each seed gives the same bits in both, and the seeds differ.
    values = [row.entry.values["test"] for row in found.comparison.rows if row.entry.kind is Kind.VARIANT]
    assert values[0] == values[1]
    assert values[0][0]["label/log_loss"] != values[0][1]["label/log_loss"]


def test_finished_trainings_are_read_and_stale_ones_are_not(
    compare: Compare, rows: list[dict[str, Any]], tmp_path: Path, trained: list[tuple[str, int]]
) -> None:
    over = ["model.fusion.type=concat"]
    first = compare(over, output=tmp_path / "c", unimodal=False)
    assert trained == [("concat", 0), ("concat", 1)]
    again = compare(over, output=tmp_path / "c", unimodal=False)
    assert len(trained) == 2
    assert again.as_json() == first.as_json()

    more = compare(["model.fusion.type=concat,gated"], output=tmp_path / "c", unimodal=False, seeds=3)
    assert trained[2:] == [("gated", 0), ("gated", 1), ("concat", 2), ("gated", 2)]
    retained = more.comparison.row("concat").entry.values["test"]
    assert {seed: retained[seed] for seed in (0, 1)} == first.comparison.row("concat").entry.values["test"]

    # Another recipe, another table: what lies there is another's.
    del trained[:]
    overrides = ["model.width=24", "training.epochs=1", "evaluation.bootstrap=0", "data.split.test=0.3"]
    compare(over, output=tmp_path / "c", unimodal=False, seeds=1, overrides=overrides)
    assert trained == [("concat", 0)]
    changed = [rows[0] | {"x": 0.123}, *rows[1:]]
    compare(over, output=tmp_path / "c", unimodal=False, seeds=1, overrides=overrides, source=changed)
    assert trained == [("concat", 0)] * 2


def test_an_interrupted_comparison_goes_on_where_it_was(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[tuple[str, int]]
) -> None:
    whole = compare(output=tmp_path / "whole", unimodal=False)
    del trained[:]
    entered = []

    def enter(self: Interrupts) -> Interrupts:
        entered.append(self)
        if len(entered) == 2:
            self.received = "Ctrl-C"  # in the second training, after its first step
        return self

    with monkeypatch.context() as patch:
        patch.setattr(Interrupts, "__enter__", enter)
        with pytest.raises(TrainingInterrupted, match="1 of 4 trainings are done; the same command resumes"):
            compare(output=tmp_path / "c", unimodal=False)
    assert trained == [("concat", 0), ("gated", 0)]
    assert (tmp_path / "c/runs/gated/0/checkpoints/last.safetensors").is_file()

    steps = []
    original = training_step.Step.__call__
    monkeypatch.setattr(training_step.Step, "__call__", lambda *args: steps.append(1) or original(*args))
    found = compare(output=tmp_path / "c", unimodal=False)
    assert trained[2:] == [("gated", 0), ("concat", 1), ("gated", 1)]
    assert len(steps) == 3 * 6 - 1, "2 epochs of 3 steps each, one of them done before"
    for name in ("concat", "gated"):
        assert found.comparison.row(name).entry.values == whole.comparison.row(name).entry.values


def test_a_damaged_checkpoint_begins_anew(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def enter(self: Interrupts) -> Interrupts:
        self.received = "Ctrl-C"
        return self

    with monkeypatch.context() as patch:
        patch.setattr(Interrupts, "__enter__", enter)
        with pytest.raises(TrainingInterrupted):
            compare(output=tmp_path / "c", unimodal=False, seeds=1)
    path = tmp_path / "c/runs/concat/0/checkpoints/last.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    found = compare(output=tmp_path / "c", unimodal=False, seeds=1)
    assert "begins anew" in caplog.text
    assert found.comparison.row("concat").failure is None


def test_what_fails_is_a_line_and_stops_nothing(
    compare: Compare, tmp_path: Path, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 16 is not a multiple of 3 heads: only building the model shows it.
    over = ["model.fusion={type: transformer, num_heads: 3},concat"]
    found = compare(over, output=tmp_path / "c", unimodal=False)
    broken = found.comparison.rows[-1]
    assert broken.failure is not None
    assert broken.failure.startswith("failed: ConfigError: ")
    assert set(broken.entry.failures) == {0, 1}
    assert trained.count((broken.entry.name, 1)) == 0, "a mistake in the recipe is not tried with another seed"
    assert found.comparison.reference == "concat"
    with pytest.raises(TrainingError, match=r"no variant could be trained.*ConfigError"):
        compare(["model.fusion={type: transformer, num_heads: 3}"], output=tmp_path / "d", unimodal=False)

    def run(self: TrialRunner, trial: Any) -> dict[str, Any]:
        if trial.seed == 1 and trial.name == "concat":
            raise RuntimeError("shapes\ndiffer")
        return original(self, trial)

    original = TrialRunner.run
    monkeypatch.setattr(TrialRunner, "run", run)
    found = compare(output=tmp_path / "e", unimodal=False)
    assert found.comparison.row("concat").entry.failures == {1: "RuntimeError: shapes differ"}
    assert found.comparison.reference == "gated"


def test_models_are_kept_on_request(compare: Compare, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    import polysense

    over = ["model.fusion.type=concat"]
    compare(over, output=tmp_path / "c", unimodal=False, seeds=1)
    found = compare(over, output=tmp_path / "c", unimodal=False, seeds=1, keep=True)
    bundle = polysense.load(tmp_path / "c/runs/concat/0")
    assert len(bundle.predict(rows)) == len(rows)
    assert found.comparison.row("concat").entry.facts["parameters"] == bundle.info["parameters"]


def test_the_rows_to_judge_on(compare: Compare, tmp_path: Path) -> None:
    over = ["model.fusion.type=concat"]
    found = compare(over, output=tmp_path / "c", unimodal=False, seeds=1, split="validation")
    assert found.comparison.split == "validation"
    assert any("too good" in note for note in found.comparison.notes)
    none = ["data.split.test=0", "training.epochs=1"]
    assert (
        compare(over, output=tmp_path / "d", seeds=1, overrides=none, unimodal=False).comparison.split == "validation"
    )
    with pytest.raises(SplitError, match="no 'test' rows"):
        compare(over, output=tmp_path / "d", overrides=none, split="test")
    with pytest.raises(SplitError, match="to compare on"):
        compare(over, output=tmp_path / "d", overrides=[*none, "data.split.validation=0"])


def test_a_folder_of_another_kind_is_left_alone(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="holds a training run"):
        compare(output=tmp_path / "run")
    with pytest.raises(ConfigError, match="is a file"):
        compare(output=tmp_path / "run/recipe.yaml")
    with pytest.raises(ConfigError, match="at least 1 seed"):
        compare(output=tmp_path / "c", seeds=0)


def test_the_same_question_has_the_same_folder(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[tuple[str, int]]
) -> None:
    monkeypatch.chdir(tmp_path)
    over = ["model.fusion.type=concat"]
    first = compare(over, unimodal=False, seeds=1)
    assert compare(over, unimodal=False, seeds=2).folder == first.folder
    assert trained == [("concat", 0), ("concat", 1)]
    assert compare(["model.width=16"], unimodal=False, seeds=1).folder != first.folder


@pytest.mark.slow
def test_several_processes_give_the_same_results(compare: Compare, tmp_path: Path) -> None:
    one = compare(output=tmp_path / "one")
    two = compare(output=tmp_path / "two", jobs=2)
    for name in ("concat", "gated", "x only (trained separately)", "Unimodal ensemble", "majority-class baseline"):
        assert two.comparison.row(name).entry.values == one.comparison.row(name).entry.values
    shutil.rmtree(tmp_path / "two/runs/gated")
    again = compare(output=tmp_path / "two", jobs=2)
    assert again.comparison.row("gated").entry.values == one.comparison.row("gated").entry.values


@pytest.mark.slow
def test_ctrl_c_stops_all_processes_and_the_same_command_goes_on(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    polars.DataFrame(rows).write_csv(tmp_path / "t.csv")
    line = [sys.executable, "-m", "polysense", "compare", str(tmp_path / "t.csv"), *SMALL, "training.epochs=40"]
    line += ["--target", "label", "--over", "model.fusion.type=concat,gated", "--seeds", "2", "--jobs", "2"]
    line += ["-o", str(tmp_path / "c"), "--no-unimodal"]

    def listens() -> None:
        """A shell's background jobs inherit that Ctrl-C is ignored."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, preexec_fn=listens) as process:
        assert process.stderr is not None
        for listed in process.stderr:
            if "[1/4]" in listed:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "the same command resumes" in rest
    assert "Traceback" not in rest
    done = subprocess.run(line, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert "of them done before" in done.stderr
    assert len(list(tmp_path.glob("c/runs/*/*/result.json"))) == 4


def test_a_second_comparison_in_a_folder_is_refused(compare: Compare, tmp_path: Path) -> None:
    with locked(tmp_path / "c"), pytest.raises(LockedError, match="is writing to this folder"):
        compare(output=tmp_path / "c")
    assert list(tmp_path.glob("c/runs/*")) == []
