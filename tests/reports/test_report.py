from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from html_page import Page, assert_harmless, assert_own_script
from rich.console import Console

from polysense.core.preview import CellPreview
from polysense.core.sample import SourceInfo, Unreadable
from polysense.evaluation.baselines import baseline_name, constant_baseline
from polysense.evaluation.contribution import contributions
from polysense.evaluation.evaluator import evaluate
from polysense.evaluation.target_metrics import reported_metrics
from polysense.reports.environment import render_section
from polysense.reports.numerals import number
from polysense.reports.report import Report, render_markdown, render_report
from polysense.reports.sample_log import Output, SampleRow, render_samples
from polysense.reports.terminal import importance_table, metrics_table, report_text
from polysense.tasks.classification.report_section import confusion_section
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.retrieval.record import RetrievalTarget


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
        num_columns=2,
        comparisons={"labels only": constant_baseline(model, bootstrap=50)},
        contributions=contributions(
            world.predict_subsets, world.batches(), world.targets, world.columns, bootstrap=50, num_available=9999
        ),
        history=history,
        missing={"strong": {"train": 0.25, "test": 0.5}, "weak": {"train": 0.0}},
        facts={"parameters": "12,345"},
        settings="data:\n  table: x.csv\n",
        samples="samples.html",
        pages={"map.html": "a map"},
    )


def test_the_page_says_what_was_measured(report):
    page = render_report(report)
    words = Page(page).text
    assert number(report.evaluation.value("label", "accuracy")) in words
    assert "accuracy, 0 to 1" in words, "an axis has no decimals to no purpose"
    assert report.contributions.targets[0].sentence() in words
    for expected in (
        "labels only", "12,345", "is no help", "ends in the middle", "25.0%", "9,999", "epoch 3", "R²",
        "label: Results", "label: Confusion matrix", "label: Column importance", "price: Results",
        "drop when removed (pp)", "Shapley value (pp)", "others masked", "all but this column", "higher is better",
        "All metrics of price", "8 subsets of the columns",
    ):  # fmt: skip
        assert expected in words, expected
    assert "data:\n  table: x.csv" in page
    links = [a["href"] or "" for tag, a in Page(page).tags if tag == "a"]
    assert [link for link in links if not link.startswith("#")] == ["map.html", "samples.html"]
    anchors = [link.removeprefix("#") for link in links if link.startswith("#")]
    assert anchors == [a["id"] for tag, a in Page(page).tags if tag == "section"], "every section is in the contents"
    assert len({*anchors}) == len(anchors)
    assert anchors[0] == "label-results"


def test_the_page_loads_nothing_and_runs_its_own_script_alone(report):
    page = Page(render_report(report))
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "embed"}
    assert not any(name.startswith("on") or name == "src" for _, attributes in page.tags for name in attributes)
    assert_own_script(render_report(report))
    assert page.policy is not None
    assert page.policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert "url(" not in render_report(report)


def test_many_classes_list_the_most_frequent_confusions(world, make_world):
    few = render_section(confusion_section(world.label, np.array([[5, 1, 0], [0, 0, 0], [2, 0, 3]])))
    cell = {"class": "cell", "style": "--p:0.833", "title": "5 of 6 class 0 predicted as class 0"}
    assert Page(few).tags.count(("td", cell)) == 1
    many = make_world(num_classes=25).label
    counts = 10 * np.eye(25, dtype=np.int64)
    counts[3, 7] = 5
    page = render_section(confusion_section(many, counts))
    assert 'class="matrix"' not in page
    assert "5 of 15" in page
    nothing = render_section(confusion_section(many, 10 * np.eye(25, dtype=np.int64)))
    assert "No row was misclassified" in nothing


def test_a_report_of_nothing_is_still_a_page(world):
    nothing = evaluate(world.predict, [], world.targets)
    page = Page(render_report(Report(title="empty", num_columns=2, evaluation=nothing)))
    assert "no row has this target" in page.text


def test_unreadable_cells_of_every_split_are_listed(report):
    report = replace(report, evaluation=replace(report.evaluation, unreadable=()))
    assert "Every cell could be read." in render_report(report)
    source = SourceInfo(table="t.csv", row=7, column="photo", file="a.png")
    broken = {"train": [Unreadable(source=source, reason="is cut short")], "test": []}
    page = render_report(replace(report, unreadable=broken))
    assert "Every cell could be read." not in page
    words = Page(page).text
    assert "1 cell could not be read, counted as missing: 1 in photo." in words
    assert all(part in words for part in ("train", "a.png", "is cut short"))


def test_an_undefined_value_says_why(world):
    nothing = evaluate(world.predict, [], world.targets)
    reason = nothing.undefined["label"]["accuracy"]
    assert f'<span title="{reason}" class="why">–</span>' in render_report(
        Report(title="empty", num_columns=2, evaluation=nothing)
    )


def test_the_terminal_tables_fit_80_characters(report, world):
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table(report, world.label))
    console.print(metrics_table(report, world.price))
    console.print(importance_table(report.contributions.targets[0], {}))
    listed = console.file.getvalue()
    assert number(report.evaluation.value("label", "log_loss")) in listed
    assert number(report.comparisons["labels only"].value("label", "accuracy")) in listed
    for expected in ("no help", "helps", "Fused model", "95% CI low", "95% CI high", "others", "masked"):
        assert expected in listed
    assert "…" not in listed


def test_a_model_of_one_column_fuses_nothing(report, world):
    for num_columns, name in ((1, "Model"), (2, "Fused model")):
        only_this = replace(report, num_columns=num_columns)
        assert f'<th scope="row">{name}</th>' in render_report(only_this)
        console = Console(file=io.StringIO(), width=80)
        console.print(metrics_table(only_this, world.label))
        assert f"\n {name}  " in console.file.getvalue()


def test_a_texts_metrics_are_in_the_terminal_and_none_is_cut(report, world):
    target = GenerationTarget(name="text", columns=("text",))
    names = [info.name for info in reported_metrics(target)]
    values = dict.fromkeys(names, report.evaluation.metrics["label"]["accuracy"])
    evaluation = replace(
        report.evaluation, metrics={"text": values}, statistics={"text": report.evaluation.statistics["label"]}
    )
    console = Console(file=io.StringIO(), width=80)
    told = Report(title="t", num_columns=2, evaluation=evaluation, comparisons={"most frequent text": evaluation})
    table = metrics_table(told, target)
    console.print(table)
    assert len(table.columns) >= 1 + 6
    assert "…" not in console.file.getvalue()
    assert all(word in console.file.getvalue() for name in names[:6] for word in name.split("_"))


def test_markup_in_a_name_is_shown_in_the_terminal(report, world):
    target = replace(world.label, name="[bold]x[/bold]")
    evaluation = replace(
        report.evaluation,
        metrics={target.name: report.evaluation.metrics["label"]},
        statistics={target.name: report.evaluation.statistics["label"]},
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table(Report(title="t", num_columns=2, evaluation=evaluation), target))
    assert "[bold]x[/bold]" in console.file.getvalue()
    found = report.contributions.targets[0]
    odd = replace(report.contributions, targets=(replace(found, target="[red]y[/red]"),))
    assert "[red]y[/red]: " in report_text(replace(report, contributions=odd))


def test_the_constant_guess_is_called_what_it_is(report, world):
    constant = constant_baseline(report.evaluation, bootstrap=0)
    told = replace(report, comparisons={"constant": constant})
    page = "".join(Page(render_report(told)).words)
    console = Console(file=io.StringIO(), width=120)
    for target, name in ((world.label, "majority-class baseline"), (world.price, "mean baseline")):
        assert name in page
        console.print(metrics_table(told, target))
        assert name in console.file.getvalue()
    space = RetrievalTarget(name="space", columns=("a", "b"), members=("a", "b"))
    assert baseline_name("constant", space) == "chance"
    assert baseline_name("anything else", space) == "anything else"


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
    target = GenerationTarget(name="text", columns=("text",))
    texts = np.empty(len(references), dtype=object)
    texts[:] = references
    statistics = {"present": np.ones(len(texts), dtype=bool), "references": texts}
    names = [info.name for info in reported_metrics(target, statistics)]
    assert [name for name in names if name in ("bleu", "wer", "cer")] == list(first)
    assert {"chrf", "exact_match", "log_loss"} <= set(names)


def test_names_from_a_table_can_do_no_harm(world):
    from html_page import HOSTILE

    target = replace(world.label, name=HOSTILE, classes=(HOSTILE, "b", "c"))
    columns = [replace(column, name=f"{HOSTILE}{i}") for i, column in enumerate(world.columns)]

    def batches():
        for batch in world.batches():
            yield replace(batch, truths={HOSTILE: batch.truths["label"]})

    def predict(batch):
        return {HOSTILE: world.predict(batch)["label"]}

    def subsets(batch, requested):
        return [predict(batch) for _ in requested]

    model = evaluate(predict, batches(), [target], bootstrap=10)
    page = render_report(
        Report(
            title=HOSTILE,
            evaluation=model,
            num_columns=2,
            split=HOSTILE,
            comparisons={HOSTILE: constant_baseline(model, bootstrap=0)},
            contributions=contributions(subsets, batches(), [target], columns, bootstrap=10),
            history=[{"epoch": 1, "loss": 1.0, "validation": {f"{HOSTILE}/accuracy": 0.5}}],
            missing={HOSTILE: {HOSTILE: 0.5}},
            facts={HOSTILE: HOSTILE},
            settings=HOSTILE,
            samples=HOSTILE,
            pages={HOSTILE: HOSTILE},
        )
    )
    assert_harmless(page)


def test_the_scores_own_line_says_that_rows_were_left_out(report, world):
    total, counted = report.evaluation.num_rows, report.evaluation.num_counted("label")
    assert counted < total
    title = metrics_table(report, world.label).title
    assert title == f"label: {counted} of {total} test rows ({total - counted} more have no label that can be scored)"
    assert "that can be scored)" in Page(render_report(report)).text


def test_what_the_epoch_was_chosen_by_is_drawn(report):
    def page(*monitored):
        end = {"event": "end", "monitored": list(monitored), "advice": None}
        losses = [
            {"epoch": i, "loss": 1.0, "validation": {"label/log_loss": 1 / i, "label/accuracy": 0.5}} for i in (1, 2)
        ]
        return render_report(replace(report, history=[*losses, end]))

    for key, others in (("label/log_loss", 1), ("label/accuracy", 1)):
        after = page(key).partition("what the epoch is chosen by")[2]
        assert f">{key}</text>" in after
        assert after.count("<figcaption>Validation</figcaption>") == others, "the other one is drawn too"
    assert "what the epoch is chosen by" not in page()


def test_losses_of_different_kinds_share_no_axis(report):
    with_loss = [{"epoch": i, "loss": 1.0, "validation": {"loss": 0.5, "label/log_loss": 0.1}} for i in (1, 2)]
    without = [{"epoch": i, "loss": 1.0, "validation": {"label/log_loss": 0.1}} for i in (1, 2)]
    for history, names in ((with_loss, ["training", "validation"]), (without, ["training"])):
        page = render_report(replace(report, history=history))
        (figure,) = re.findall(r"<figure><figcaption>Loss</figcaption>.*?</figure>", page)
        assert re.findall(r'class="key"[^>]*>([^<]*)<', figure) == names
    assert ">label/log_loss</text>" in page


def test_no_folder_of_this_machine_is_named(report):
    roots = ("/home/somebody/runs", "/home/somebody", "/data")
    source = SourceInfo(table="t.csv", row=7, column="photo", file="/data/set/a.png")
    told = replace(
        report,
        roots=roots,
        unreadable={
            "test": [Unreadable(source=source, reason="/home/somebody/runs/x: no such file in /home/somebody")]
        },
        environment={"command": "polysense train /data/t.csv"},
        settings="table: /data/t.csv\nother: /database\n",
    )
    for text in (render_report(told), render_markdown(told)):
        assert "somebody" not in text
        assert "/data/" not in text
    assert "set/a.png" in render_report(told)
    assert "/database" in render_report(told), "another folder's name that begins alike"


def test_a_page_has_at_most_10_mb_and_says_what_it_left_out():
    images = [bytes([i]) * 2_000_000 for i in range(6)]
    cell = CellPreview(column="photo", images=images, audio=[(b"x" * 100, "audio/wav")])
    row = SampleRow(row=0, inputs=[cell], references={"y": ["a"]}, outputs={"y": [Output(epoch=1, value="a")]})
    page = render_samples("big", [row], 1)
    assert len(page.encode()) <= 10_000_000
    assert page.count("data:image/jpeg") == 3
    assert page.count("data:audio/wav") == 1, "the largest are left out"
    assert "3 of 7 images and sounds were left out: the page would be larger than 10 MB." in page


def test_the_markdown_says_what_the_page_says(report):
    text = render_markdown(report)
    for verdict in report.verdicts:
        assert verdict.sentence() in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in rows if "accuracy" in line or "Fused" in line}) <= 2
    for words in ("# a run", "label, 105 test rows: Results", "Column importance", "others masked", "trained alone"):
        assert words in text
    assert "| Fused model | " in text
