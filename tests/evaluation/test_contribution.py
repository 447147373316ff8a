from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.evaluation.baselines import constant_baseline
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution import contribution_rows, contributions
from polysense.evaluation.contribution_result import Verdict
from polysense.evaluation.evaluator import evaluate
from polysense.evaluation.players import Player
from polysense.evaluation.significance import Outcome
from polysense.evaluation.simple_baselines import BaselineScore, SimpleModel, TargetBaselines
from polysense.evaluation.target_metrics import headline_metric
from polysense.modalities.category.record import CategoryColumn
from polysense.modalities.text.record import TextColumn
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.record import MultilabelTarget


@pytest.fixture
def found(world):
    return contributions(world.predict_subsets, world.batches(), world.targets, world.columns, bootstrap=300)


def by_name(target):
    return {column.name: column for column in target.columns}


def test_the_shares_add_up_to_all_less_none(found):
    for target in found.targets:
        for measure in target.measures:
            total = sum(column.shapley[measure].value for column in target.columns)
            assert total == pytest.approx(target.full[measure].value - target.nothing[measure].value, abs=1e-9)


def test_all_and_none_are_the_models_and_the_baselines_scores(world, found):
    model = evaluate(world.predict, world.batches(), world.targets, bootstrap=0)
    nothing = constant_baseline(model, bootstrap=0)
    label, price = found.targets
    for part, evaluation in ((label.full, model), (label.nothing, nothing)):
        assert part["accuracy"].value == pytest.approx(evaluation.value("label", "accuracy"))
        assert part["log_loss"].value == pytest.approx(-evaluation.value("label", "log_loss"), rel=1e-6)
    assert price.full["r2"].value == pytest.approx(model.value("price", "r2"), rel=1e-6)
    assert price.nothing["r2"].value == pytest.approx(nothing.value("price", "r2"), abs=1e-6)


def test_verdicts_and_the_sentence_name_what_helps_and_what_does_not(found):
    label = by_name(found.targets[0])
    assert label["strong"].verdict is Verdict.HELPS
    # Its log loss is missed, and of what it gives alone little is: the score decides.
    assert label["weak"].drop["log_loss"].low > 0
    assert label["weak"].verdict is Verdict.REDUNDANT
    assert label["noise"].verdict is Verdict.NO_HELP
    assert label["strong"].shapley["accuracy"].value > label["weak"].shapley["accuracy"].value
    # Alone, a column that says nothing gives equal probabilities; beside others it changes nothing at all.
    assert label["noise"].drop["log_loss"].value == label["noise"].drop["log_loss"].high == 0.0
    sentence = found.targets[0].sentence()
    assert sentence.startswith("label: strong (image) helps (−")
    assert sentence.endswith("; weak (text) is redundant; noise (number) is no help.")
    assert found.summary_sentence() == f"{sentence} {found.targets[1].sentence()}"


def test_rows_and_presence_are_counted(world, found):
    label = found.targets[0]
    assert label.num_rows == int(world.has_label.sum())
    assert by_name(label)["strong"].num_present == label.num_rows
    assert by_name(label)["weak"].num_present == int(world.has_label[::2].sum())
    assert by_name(label)["noise"].num_present == 0
    assert by_name(label)["noise"].note == "absent in every row measured"
    assert found.num_available == 120


def test_a_regression_is_measured_by_r2(found):
    price = by_name(found.targets[1])
    assert found.targets[1].measures == ("r2",)
    assert price["strong"].verdict is Verdict.HELPS
    assert price["weak"].verdict is price["noise"].verdict is Verdict.NO_HELP
    assert price["weak"].shapley["r2"].value == pytest.approx(0.0, abs=1e-9)


def toy(rule, bits, truth, **options):
    """Contributions to a rule: {column present: its values} -> the probability of "yes" per row."""
    target = ClassificationTarget(name="y", columns=("y",), classes=("no", "yes"), class_counts=(1, 1))
    columns = [CategoryColumn(name=name, num_categories=3) for name in bits]
    num_rows = len(truth)

    def subsets(batch, requested):
        answers = []
        for subset in requested:
            p = np.broadcast_to(np.asarray(rule({name: bits[name] for name in subset}), dtype=np.float64), num_rows)
            p = torch.tensor(p.clip(0.02, 0.98)).float()
            answers.append({"y": {"values": (p > 0.5).long(), "probabilities": torch.stack([1 - p, p], dim=1)}})
        return answers

    lengths = torch.ones(num_rows, 1, dtype=torch.int64)
    batch = Batch(
        rows=torch.arange(num_rows),
        columns={name: ColumnBatch(values=torch.zeros(num_rows, 1, 1), lengths=lengths) for name in bits},
        truths={
            "y": ValueTruth(
                values=torch.tensor(np.asarray(truth, dtype=np.int64)), present=torch.ones(num_rows, dtype=torch.bool)
            )
        },
    )
    return contributions(subsets, [batch], [target], columns, **{"bootstrap": 300, **options}).targets[0]


def random_bits(*names, num_rows=400):
    return dict(zip(names, np.random.default_rng(0).integers(0, 2, (len(names), num_rows)), strict=True))


def test_xor_splits_equally_and_is_said_to_help_only_together():
    bits = random_bits("a", "b", "dummy")
    found = toy(lambda v: v["a"] ^ v["b"] if {"a", "b"} <= set(v) else 0.5, bits, bits["a"] ^ bits["b"])
    columns = by_name(found)
    for measure in found.measures:
        assert columns["a"].shapley[measure].value == pytest.approx(columns["b"].shapley[measure].value)
        assert columns["dummy"].shapley[measure].value == pytest.approx(0.0, abs=1e-7)
    assert columns["a"].verdict is columns["b"].verdict is Verdict.HELPS
    assert columns["a"].note == "helps only together with others"
    assert columns["dummy"].verdict is Verdict.NO_HELP
    assert columns["dummy"].note == ""


def test_equal_columns_share_and_stand_in_for_each_other():
    bits = random_bits("x")
    found = toy(lambda v: v.get("x", v.get("y", 0.5)), {"x": bits["x"], "y": bits["x"]}, bits["x"])
    columns = by_name(found)
    assert columns["x"].shapley["accuracy"].value == pytest.approx(columns["y"].shapley["accuracy"].value)
    assert columns["x"].drop["accuracy"].value == 0.0
    assert columns["x"].verdict is columns["y"].verdict is Verdict.REDUNDANT
    assert "no column is missed as long as the others are there" in found.sentence()
    assert "x (category) and y (category) are redundant" in found.sentence()
    assert columns["x"].stands_in_for == ("y",)
    assert columns["y"].stands_in_for == ("x",)
    assert "adds nothing measurable to y" in columns["x"].note


def test_a_column_that_misleads_hurts():
    bits = random_bits("good", "liar")
    wrong = np.random.default_rng(1).random(400) < 0.3
    found = toy(
        lambda v: np.where(wrong & ("liar" in v), 1 - v["good"], v["good"]) if "good" in v else 0.5, bits, bits["good"]
    )
    columns = by_name(found)
    assert columns["good"].verdict is Verdict.HELPS
    assert columns["liar"].verdict is Verdict.HURTS
    assert columns["liar"].shapley["accuracy"].high < 0
    assert found.sentence().endswith("liar (category) hurts.")


def test_a_column_that_misleads_alone_but_is_missed_does_not_hurt():
    """Beside the other it is needed; alone it is taken for the answer's opposite."""
    bits = random_bits("good", "odd")
    found = toy(
        lambda v: (v["good"] if "odd" in v else 0.5) if "good" in v else (1 - bits["good"] if "odd" in v else 0.5),
        bits,
        np.where(np.arange(400) < 280, bits["good"], 1 - bits["good"]),
    )
    odd = by_name(found)["odd"]
    assert odd.gain_of_only_this["accuracy"].high < 0
    assert odd.drop["accuracy"].low > 0
    assert odd.verdict is not Verdict.HURTS


def test_the_log_loss_alone_does_not_speak_for_a_column_that_is_not_missed():
    """Overconfident on its own, harmless beside the others: not a column that hurts."""
    bits = random_bits("good", "loud")
    found = toy(lambda v: v.get("good", 0.02 if "loud" in v else 0.5), bits, bits["good"])
    loud = by_name(found)["loud"]
    assert loud.gain_of_only_this["log_loss"].high < 0
    # Who has but this column is told to say nothing, so it takes no share from the other.
    assert loud.shapley["log_loss"].value == 0.0
    assert loud.drop["log_loss"].value == 0.0
    assert loud.verdict is Verdict.NO_HELP


def test_more_than_six_columns_are_sampled_and_say_so():
    bits = random_bits(*(f"c{i}" for i in range(8)))
    found = toy(lambda v: v.get("c0", 0.5), bits, bits["c0"])
    assert not found.exact
    columns = by_name(found)
    gain = found.full["accuracy"].value - found.nothing["accuracy"].value
    assert columns["c0"].shapley["accuracy"].value == pytest.approx(gain)
    assert columns["c0"].verdict is Verdict.HELPS
    assert {columns[name].verdict for name in bits if name != "c0"} == {Verdict.NO_HELP}


def test_sampling_noise_widens_the_interval():
    """A three-way interaction, which pairs of orders do not cancel."""
    bits = random_bits(*(f"c{i}" for i in range(8)))
    rule = lambda v: v["c0"] ^ v["c1"] ^ v["c2"] if {"c0", "c1", "c2"} <= set(v) else 0.5  # noqa: E731
    found = toy(rule, bits, bits["c0"] ^ bits["c1"] ^ bits["c2"])
    share = by_name(found)["c0"].shapley["accuracy"]
    exact = (found.full["accuracy"].value - found.nothing["accuracy"].value) / 3
    assert share.value != pytest.approx(exact, abs=1e-6)
    assert share.low < exact < share.high


def test_multilabel_is_measured_by_each_rows_f1():
    target = MultilabelTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(1, 1), num_rows=4)
    truth = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    perfect = {"values": truth > 0.5, "probabilities": truth}
    batch = Batch(
        rows=torch.arange(3),
        columns={},
        truths={"y": ValueTruth(values=truth, present=torch.ones(3, dtype=torch.bool))},
    )
    column = TextColumn(name="x", vocabulary_size=10)
    found = contributions(
        lambda _, requested: [{"y": perfect}] * len(requested), [batch], [target], [column], bootstrap=10
    )
    label = found.targets[0]
    assert label.measures == ("f1_samples", "log_loss")
    assert label.full["f1_samples"].value == 1.0
    # With nothing no label is predicted: right in the row that has none.
    assert label.nothing["f1_samples"].value == pytest.approx(1 / 3)
    assert "3 rows are too few to measure what a column contributes; 10 are needed" in found.summary_sentence()


def test_no_rows_no_columns_and_no_bootstrap(world):
    empty = contributions(world.predict_subsets, [], world.targets, world.columns)
    assert "no row has this target" in empty.summary_sentence()
    assert math.isnan(empty.targets[0].full["accuracy"].value)
    json.dumps(empty.as_json(), allow_nan=False)
    none = contributions(world.predict_subsets, world.batches(), world.targets, [])
    assert none.targets[0].columns == ()
    assert "no column shows measurable help" in none.summary_sentence()
    quick = contributions(world.predict_subsets, world.batches(), world.targets, world.columns, bootstrap=0)
    assert by_name(quick.targets[0])["strong"].verdict is Verdict.HELPS
    one = contributions(world.predict_subsets, world.batches(), world.targets, world.columns[:1], bootstrap=50)
    only = by_name(one.targets[0])["strong"]
    assert only.shapley["accuracy"].value == pytest.approx(only.drop["accuracy"].value)


def test_json_is_complete_and_strict(found):
    data = json.loads(json.dumps(found.as_json(), allow_nan=False))
    label = data["targets"]["label"]
    assert label["columns"]["strong"]["verdict"] == "helps"
    assert set(label["columns"]["strong"]["shapley"]["accuracy"]) == {"value", "low", "high"}
    assert len(label["subsets"]) == 8
    assert label["subsets"][0]["columns"] == []
    assert label["subsets"][-1]["columns"] == ["strong", "weak", "noise"]
    assert data["summary"] == found.summary_sentence()


def test_the_rows_measured_are_a_sample_that_the_seed_decides():
    rows = contribution_rows(10_000, max_rows=500, seed=3)
    assert len(set(rows.tolist())) == 500
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, contribution_rows(10_000, max_rows=500, seed=3))
    assert rows.mean() == pytest.approx(5000, rel=0.1)
    np.testing.assert_array_equal(contribution_rows(7), np.arange(7))


@pytest.mark.parametrize(("num_rows", "verdict"), [(9, Verdict.INCONCLUSIVE), (40, Verdict.HELPS)])
def test_of_a_handful_of_rows_nothing_is_said_to_help(num_rows, verdict):
    bits = random_bits("a", num_rows=num_rows)
    found = toy(lambda seen: seen.get("a", 0.5), bits, bits["a"])
    assert found.columns[0].verdict is verdict


def test_on_noise_nothing_is_claimed_in_all_but_a_few_tables():
    """Five columns that move a third of the predictions at random, and say nothing of the answer."""
    claims = 0
    for seed in range(100):
        draws = np.random.default_rng(seed)
        bits = {f"c{i}": draws.integers(0, 6, 200) for i in range(5)}
        rule = lambda v: np.mod(sum((x > 4 for x in v.values()), np.zeros(200, dtype=int)), 2)  # noqa: E731
        found = toy(rule, bits, draws.integers(0, 2, 200), bootstrap=400)
        claims += any(column.verdict in (Verdict.HELPS, Verdict.HURTS) for column in found.columns)
    assert claims <= 10  # 5 are expected, and more than 10 in 1 of 100


def test_of_many_columns_those_that_matter_are_named_though_small_subsets_mislead():
    """The model was never shown few columns: from less than both signals it answers by a column of noise, wrongly."""
    bits = random_bits(*(f"c{i}" for i in range(8)), num_rows=600)
    truth = bits["c0"] ^ bits["c1"]
    often_wrong = np.where(np.random.default_rng(5).random(600) < 0.7, 1 - truth, truth)

    def rule(v):
        if {"c0", "c1"} <= set(v):
            return v["c0"] ^ v["c1"]
        return 0.5 if "c2" in v else often_wrong

    found = toy(rule, bits, truth)
    assert {column.name for column in found.columns if column.verdict is Verdict.HELPS} == {"c0", "c1"}
    assert by_name(found)["c2"].verdict is Verdict.NO_HELP
    # Without the floor c2 would be credited with what the model gets wrong where it is missing.
    assert abs(by_name(found)["c2"].shapley["accuracy"].value) < 0.02


def test_a_column_with_a_small_uncertain_effect_is_inconclusive_and_says_how_many_rows_would_tell():
    bits = random_bits("good", "maybe", num_rows=300)
    wrong = np.arange(300) % 3 == 0
    mended = wrong & (np.arange(300) % 60 == 0)  # 5 rows of 300 are right because of it, and 2 wrong
    broken = np.arange(300) % 150 == 1

    def rule(v):
        answer = np.where(wrong, 1 - v["good"], v["good"]) if "good" in v else np.full(300, 0.5)
        return np.where(mended | broken, 1 - answer, answer) if {"good", "maybe"} <= set(v) else answer

    maybe = by_name(toy(rule, bits, bits["good"]))["maybe"]
    assert maybe.drop["accuracy"].value == pytest.approx(3 / 300)
    assert maybe.verdict is Verdict.INCONCLUSIVE
    drop = maybe.drop["accuracy"]
    assert maybe.rows_to_tell == pytest.approx(300 * ((drop.high - drop.value) / drop.value) ** 2, rel=0.1)
    assert maybe.note == f"about {maybe.rows_to_tell:,} rows would tell"


def test_what_a_model_gains_that_was_trained_on_a_column_alone_makes_it_redundant():
    """This model does not use the copy at all; another does very well with it."""
    bits = random_bits("x")
    both = {"x": bits["x"], "copy": bits["x"]}
    target = ClassificationTarget(name="y", columns=("y",), classes=("no", "yes"), class_counts=(1, 1))
    model, value = SimpleModel(name="linear copy", columns=("copy",)), Interval(0.97, 0.95, 0.99)
    score = BaselineScore(model=model, value=value, difference=Interval(0.0), outcome=Outcome.NONE)
    metric = headline_metric(target)
    alone = {"y": TargetBaselines(target="y", metric=metric, model=Interval(1.0), num_rows=400, scores=(score,))}
    copies = [
        by_name(toy(lambda v: v.get("x", 0.5), both, bits["x"], trained_alone=each))["copy"] for each in (None, alone)
    ]
    assert [copy.verdict for copy in copies] == [Verdict.NO_HELP, Verdict.REDUNDANT]
    assert copies[1].trained_alone == Interval(0.97, 0.95, 0.99)


def test_columns_that_are_judged_together_are_one_and_nothing_is_said_of_each():
    draws = np.random.default_rng(0)
    bits = {name: draws.integers(0, 2, 400) for name in ("a", "b", "c")}
    truth = bits["a"]
    players = [Player(name="a", columns=("a",)), Player(name="b + 1 more", columns=("b", "c"))]
    result = toy(lambda values: values.get("a", 0.5), bits, truth, players=players)
    alone, group = result.columns
    assert (alone.name, alone.is_group, dict(group.members)) == ("a", False, {"b": "category", "c": "category"})
    assert (group.name, group.modality, group.num_present) == ("b + 1 more", "category", 400)
    assert group.drop["accuracy"].value == 0.0
    assert group.only_this["accuracy"].value == result.subsets[2][1]["accuracy"].value
    assert group.note == "2 columns together; none was measured by itself"
    assert [names for names, _ in result.subsets] == [(), ("a",), ("b + 1 more",), ("a", "b + 1 more")]
    assert result.sentence().endswith(
        "; b + 1 more together are no help. 2 of 3 columns were only measured together, so nothing is said of each of "
        "them."
    )
    assert result.as_json()["columns"]["b + 1 more"]["members"] == {"b": "category", "c": "category"}
