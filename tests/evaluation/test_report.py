from __future__ import annotations

import io
import math
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from polysense.core.modality import Task
from polysense.core.schema import Column, Target
from polysense.evaluation.baselines import baseline_name, constant_baseline
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution import contributions
from polysense.evaluation.evaluator import evaluate
from polysense.evaluation.page import curve, number, span, text, track
from polysense.evaluation.report import Report, headline_metrics, render_report, write_report
from polysense.evaluation.terminal import contribution_table, metrics_table
from polysense.tasks.classification.confusion import confusion_section
from polysense.tasks.generation.texts import Texts

VOID = {"meta", "br", "img", "hr", "input", "link"}


class Checked(HTMLParser):
    """Collects tags and text, and asserts that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parsed(page: str) -> Checked:
    checked = Checked()
    checked.feed(page)
    checked.close()
    assert checked.open == []
    return checked


@pytest.fixture
def report(world):
    model = evaluate(world.predict, world.batches(), world.targets, bootstrap=50)
    history = [
        {"event": "start", "epochs": 3},
        *(
            {
                "event": "epoch",
                "epoch": epoch,
                "loss": 1.0 / epoch,
                "validation": {"loss": None if epoch == 2 else 1.2 / epoch, "label/accuracy": 0.3 * epoch},
                "best": epoch == 3,
            }
            for epoch in (1, 2, 3)
        ),
    ]
    return Report(
        title="a run",
        evaluation=model,
        comparisons={"labels only": constant_baseline(model, bootstrap=50)},
        contributions=contributions(
            world.predict_subsets, world.batches(), world.targets, world.columns, bootstrap=50, num_available=9999
        ),
        history=history,
        missing={"strong": {"train": 0.25, "test": 0.5}, "weak": {"train": 0.0}},
        facts={"parameters": "12,345"},
        settings="data:\n  table: x.csv\n",
    )


def test_the_page_says_what_was_measured(report):
    page = render_report(report)
    words = " ".join(parsed(page).words)
    assert number(report.evaluation.value("label", "accuracy")) in words
    assert "accuracy, 0 to 1" in words, "an axis has no decimals to no purpose"
    assert report.contributions.targets[0].sentence() in words
    for expected in ("labels only", "12,345", "no measurable help", "ends in the middle", "25.0%", "9,999", "epoch 3"):
        assert expected in words
    assert "data:\n  table: x.csv" in page


def test_the_page_loads_nothing_and_runs_nothing(report):
    page = parsed(render_report(report))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "a"}
    assert not any(
        name.startswith("on") or name in ("src", "href") for _, attributes in page.tags for name in attributes
    )
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert "url(" not in render_report(report)


def test_names_from_a_table_can_do_no_harm(world):
    nasty = "<script>alert(1)</script>\" onload='x' & $x$ \u202e\x00"
    target = replace(world.label, name=nasty, classes=(nasty, "b", "c"))
    columns = [Column(name=f"{nasty}{i}", modality=column.modality) for i, column in enumerate(world.columns)]

    def batches():
        for batch in world.batches():
            yield replace(batch, targets={nasty: batch.targets["label"]})

    def predict(batch):
        return {nasty: world.predict(batch)["label"]}

    def subsets(batch, asked):
        return [predict(batch) for _ in asked]

    model = evaluate(predict, batches(), [target], bootstrap=10)
    page = render_report(
        Report(
            title=nasty,
            evaluation=model,
            split=nasty,
            comparisons={nasty: constant_baseline(model, bootstrap=0)},
            contributions=contributions(subsets, batches(), [target], columns, bootstrap=10),
            history=[{"epoch": 1, "loss": 1.0, "validation": {f"{nasty}/accuracy": 0.5}}],
            missing={nasty: {nasty: 0.5}},
            facts={nasty: nasty},
            settings=nasty,
        )
    )
    found = parsed(page)
    assert "script" not in {tag for tag, _ in found.tags}
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert "\u202e" not in page
    assert "\x00" not in page
    assert any("<script>alert(1)</script>" in word for word in found.words)


def test_many_classes_list_the_most_confused_pairs(world, make_world):
    few = confusion_section(world.label, np.array([[5, 1, 0], [0, 0, 0], [2, 0, 3]]))
    assert parsed(few).tags.count(
        ("td", {"class": "on", "style": "--p:0.833", "title": "5 of 6 class 0 taken for class 0"})
    )
    many = make_world(num_classes=25).label
    counts = 10 * np.eye(25, dtype=np.int64)
    counts[3, 7] = 5
    page = confusion_section(many, counts)
    assert "matrix" not in page
    assert "5 of 15" in page
    assert "No row was misclassified" in confusion_section(many, 10 * np.eye(25, dtype=np.int64))


def test_a_report_of_nothing_is_still_a_page(world):
    nothing = evaluate(world.predict, [], world.targets)
    page = parsed(render_report(Report(title="empty", evaluation=nothing)))
    assert "no row has this target" in " ".join(page.words)


def test_a_single_epoch_and_odd_values_draw():
    assert curve("Loss", [("training", [(1.0, 0.5)])], mark=1.0).startswith("<figure>")
    assert curve("Loss", [("training", []), ("validation", [(1.0, math.nan)])]) == ""
    flat = curve("Loss", [("training", []), ("validation", [(1.0, 2.0), (2.0, 2.0)])], mark=2.0)
    parsed(flat)
    assert "nan" not in flat
    parsed(track(Interval(5.0, -7.0, 9.0), (0.0, 1.0), kind="", label="out of range"))
    parsed(track(Interval(math.nan), (0.0, 0.0), kind="", label="undefined"))


def test_numbers_are_short():
    assert [number(v) for v in (0.12345, -0.0001, 12.342, 12345.6, math.nan, -0.5)] == [
        "0.123",
        "0.000",
        "12.34",
        "12,346",
        "–",
        "−0.500",
    ]
    assert span(Interval(math.nan), reason='a "reason"') == '<span title="a &quot;reason&quot;">–</span>'
    assert text("a\nb") == "a\\u000ab"


def test_the_file_is_replaced_whole(report, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(report, path)
    assert path.read_text(encoding="utf-8") == render_report(report)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_the_terminal_tables_fit_80_characters(report, world):
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table(report, world.label))
    console.print(metrics_table(report, world.price))
    console.print(contribution_table(report.contributions.targets[0]))
    shown = console.file.getvalue()
    assert number(report.evaluation.value("label", "log_loss")) in shown
    assert number(report.comparisons["labels only"].value("label", "accuracy")) in shown
    assert "no measurable help" in shown
    assert "…" not in shown


def test_markup_in_a_name_is_shown_in_the_terminal(report, world):
    target = replace(world.label, name="[bold]x[/bold]")
    evaluation = replace(
        report.evaluation,
        metrics={target.name: report.evaluation.metrics["label"]},
        truths={target.name: report.evaluation.truths["label"]},
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table(Report(title="t", evaluation=evaluation), target))
    assert "[bold]x[/bold]" in console.file.getvalue()


def test_the_report_needs_no_plotting_library():
    code = (
        "import sys, polysense.evaluation.report, polysense.evaluation.contribution, polysense.evaluation.terminal\n"
        "heavy = {'matplotlib', 'torchmetrics', 'torchvision', 'sklearn', 'scipy', 'pandas', 'transformers'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr.strip() == ""
    )


def test_the_constant_guess_is_called_what_it_is(report, world):
    found = constant_baseline(report.evaluation, bootstrap=0)
    told = replace(report, comparisons={"majority": found})
    page = "".join(parsed(render_report(told)).words)
    console = Console(file=io.StringIO(), width=80)
    for target, name in ((world.label, "majority"), (world.price, "mean")):
        assert f"; {name} {number(found.value(target.name, 'accuracy' if name == 'majority' else 'r2'))}" in page
        console.print(metrics_table(told, target))
    assert [line.split()[0] for line in console.file.getvalue().splitlines() if "m" in line[:2]] == ["majority", "mean"]
    space = Target(name="space", task=Task.CONTRASTIVE, columns=("a", "b"), members=("a", "b"))
    assert baseline_name("majority", space) == "chance"
    assert baseline_name("ensemble of these", space) == "ensemble of these"


@pytest.mark.parametrize(
    ("references", "first"),
    [
        ([["a red circle"], ["赤い丸"], ["a blue square"]], ("bleu", "wer")),
        ([["ein Kreis"], ["빨간 원"]], ("bleu", "wer")),
        ([["赤い丸", "Kreis"], ["青い四角です"], []], ("cer",)),
        ([["วงกลมสีแดง"]], ("cer",)),
        ([["12"], []], ("bleu", "wer")),
    ],
)
def test_sentences_without_spaces_are_not_counted_in_words(references, first):
    target = Target(name="text", task=Task.GENERATION, columns=("text",))
    names = [info.name for info in headline_metrics(target, Texts(outputs=None, references=references))]
    assert [name for name in names if name in ("bleu", "wer", "cer")] == list(first)
    assert {"chrf", "exact_match", "log_loss"} <= set(names)
