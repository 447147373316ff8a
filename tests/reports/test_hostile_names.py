"""Whatever a table calls its columns, classes and files: no page and no model card takes it for markup."""

from __future__ import annotations

import math
import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from html_page import HOSTILE, assert_harmless
from row_statistics import Texts, statistics_of

from polysense.core.finding import Finding, Severity
from polysense.core.metric import higher
from polysense.core.preview import CellPreview
from polysense.core.sample import SourceInfo, Unreadable
from polysense.core.schema import Schema, Target
from polysense.evaluation.baselines import constant_baseline
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.comparison import Entry, Kind, Measure, compare_entries
from polysense.evaluation.evaluator import Evaluation, score
from polysense.evaluation.few_shot import RANDOM, TRAINED, FewShot, Score
from polysense.evaluation.label_curves import LabelCurves, compare_curves
from polysense.evaluation.simple_baselines import SimpleModel, TargetBaselines, compare_with_simple
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.augment import TextTransformConfig
from polysense.reports import environment
from polysense.reports.augmented import AugmentedCell, AugmentedColumn, render_augmented
from polysense.reports.check import Check
from polysense.reports.check_page import render_check
from polysense.reports.column_facts import ColumnFacts, Distribution
from polysense.reports.comparison import render_comparison
from polysense.reports.embedding_map import Layout, MapPoint, render_map
from polysense.reports.environment import render
from polysense.reports.few_shot import render_few_shot
from polysense.reports.label_curves import render_label_curves
from polysense.reports.model_card import ModelCard, render_model_card
from polysense.reports.neighbors import Search, Tile, render_neighbors
from polysense.reports.report import Report, render_markdown, render_report
from polysense.reports.sample_log import Output, SampleRow, render_samples
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.reconstruction.record import ReconstructionTarget
from polysense.tasks.tagging.record import TaggingTarget
from polysense.tasks.tagging.tagged import Marked, marked_section
from polysense.workflows.representation.reconstructions import ReconstructedCell, ReconstructedRow

SOURCE = Path(str(files("polysense")))

CELL = CellPreview(column=HOSTILE, texts=[HOSTILE, "b"], images=[b"x"], audio=[(b"x", "audio/wav")], note=HOSTILE)
ABSENT = CellPreview(column=HOSTILE, note=HOSTILE, is_absent=True)


def targets() -> tuple[Target, ...]:
    """One of each task that has a section of its own, and many classes beside few."""
    many = (HOSTILE, *map(str, range(29)))
    return (
        ClassificationTarget(name=HOSTILE, columns=("a",), classes=(HOSTILE, "b"), class_counts=(2, 1)),
        ClassificationTarget(name="many", columns=("b",), classes=many, class_counts=(1,) * 30),
        GenerationTarget(name=f"text {HOSTILE}", columns=("c",), vocabulary_size=5),
        TaggingTarget(name=f"spans {HOSTILE}", columns=("d",), classes=(HOSTILE,), class_counts=(2,)),
        ReconstructionTarget(name=f"all {HOSTILE}", columns=(HOSTILE,), members=(HOSTILE,)),
    )


def evaluation() -> Evaluation:
    few, many, text, spans, columns = targets()
    segments = np.array([[[0.0, 9.0, np.nan], [1.0, 3.0, 0.0]], [[0.0, 9.0, np.nan], [2.0, 8.0, 0.0]]], np.float32)
    likely = np.concatenate([segments, np.ones((2, 2, 1), np.float32)], axis=2)
    errors = torch.tensor([[1.0], [2.0]])
    nothing = np.zeros((2, 1), dtype=np.int64)
    texts = Texts([HOSTILE, "b"], [[HOSTILE] * 7, ["c"]])
    generated = {"values": torch.zeros(2, 3, dtype=torch.int64), "scores": torch.zeros(2)}
    found = score(
        targets(),
        np.arange(2),
        {
            few.name: statistics_of(
                few,
                {"values": torch.tensor([1, 1]), "probabilities": torch.tensor([[0.2, 0.8], [0.1, 0.9]])},
                np.array([0, 1]),
            ),
            many.name: statistics_of(
                many, {"values": torch.tensor([3, 0]), "probabilities": torch.full((2, 30), 1 / 30)}, np.array([0, 1])
            ),
            text.name: statistics_of(text, generated, nothing, reader=texts),
            spans.name: statistics_of(spans, {"values": torch.tensor(likely)}, segments),
            columns.name: statistics_of(columns, {"values": torch.zeros(2, 1), "errors": errors}, nothing),
        },
        bootstrap=5,
    )
    source = SourceInfo(table="t.csv", row=1, column=HOSTILE, file=HOSTILE)
    return replace(found, unreadable=(Unreadable(source=source, reason=HOSTILE),) * 30)


def simple_baselines(found: Evaluation) -> dict[str, TargetBaselines]:
    few = targets()[0]
    models = [SimpleModel(name=HOSTILE, columns=(HOSTILE,) * repeats, weight=weight) for repeats, weight in
              ((1, 0.0), (7, None))]  # fmt: skip
    statistics = {HOSTILE: found.statistics[few.name]}
    compared = compare_with_simple(
        found, few, models, statistics, bootstrap=5, notes=[HOSTILE], left_out=[HOSTILE], chose=True
    )
    return {few.name: compared}


def report() -> str:
    return render_report(hostile_report())


def hostile_report() -> Report:
    found = evaluation()
    return Report(
        title=HOSTILE,
        evaluation=found,
        num_columns=2,
        split=HOSTILE,
        comparisons={HOSTILE: found, "constant": constant_baseline(found, bootstrap=0)},
        simple_baselines=simple_baselines(found),
        fusion_weights={targets()[0].name: HOSTILE},
        history=[{"epoch": 1, "loss": 1.0, "validation": {f"{HOSTILE}/accuracy": 0.5}}],
        missing={HOSTILE: {HOSTILE: 0.5}},
        facts={HOSTILE: HOSTILE},
        settings=HOSTILE + "\n" + HOSTILE,
        samples="samples.html",
        pages={"map.html": HOSTILE},
    )


def check() -> str:
    column = {"name": HOSTILE, "role": "input", "type": "text", "missing": 0.5, "reason": HOSTILE}
    findings = [
        Finding(
            kind="drift", severity=each, columns=(HOSTILE,), rows=(1, 2), table=HOSTILE, message=HOSTILE, action=HOSTILE
        )
        for each in Severity
    ]
    unreadable = Unreadable(reason=HOSTILE, source=SourceInfo(table=HOSTILE, row=3, column=HOSTILE))
    found = Check(
        table=HOSTILE, num_rows=9, columns=[column], classes={HOSTILE: {HOSTILE: 3, "b": 1}}, splits={HOSTILE: 9},
        unreadable=(unreadable,), num_tried=9, problems=(HOSTILE,), warnings=(HOSTILE,), findings=tuple(findings),
    )  # fmt: skip
    length = Distribution(name=HOSTILE, num=9, quantiles=(0.0, 1.0, 2.0, 3.0, 4.0), counts=(1, 2), bounds=(0.0, 4.0))
    facts = ColumnFacts(
        properties=[(HOSTILE, [(HOSTILE, 3)])],
        name=HOSTILE, num_missing=1, num_rows=9, unreadable=[(HOSTILE, 1)], distributions=[length],
        values=[(HOSTILE, 3)], num_values=2, examples=[CELL, ABSENT],
    )  # fmt: skip
    return render_check(found, [facts], 3)


def comparison() -> str:
    values = {"test": {seed: {"a/accuracy": 0.5 + 0.1 * seed, "a/loss": 0.5} for seed in range(3)}}
    entries = [
        Entry(name=HOSTILE, values=values, facts={"parameters": 3.0}),
        Entry(name=f"2 {HOSTILE}", kind=Kind.UNIMODAL, values=values, failures={0: HOSTILE}),
        Entry(name=f"3 {HOSTILE}", failures={0: HOSTILE}),
    ]
    measures = [Measure(key="a/accuracy"), Measure(key="a/loss", higher_is_better=False)]
    found = compare_entries(entries, measures, split="test", seeds=range(3), title=HOSTILE)
    return render_comparison(replace(found, settings={HOSTILE: HOSTILE}))


def label_curves() -> str:
    metric = replace(higher("accuracy", "Share of rows that are right."), name=HOSTILE)
    scores = {name: np.full((2, 2, 6), 0.5) for name in ("random", HOSTILE)}
    curves, full, goal = compare_curves(scores, np.full(6, 0.9), 0.1, [10, 20], metric, seed=0)
    return render_label_curves(
        LabelCurves(
            target=HOSTILE, metric=metric, numbers=(10, 20), full=full, goal=goal, curves=curves, num_pool=40,
            num_tested=20, num_groups=None, num_seeds=2, split=HOSTILE, features=HOSTILE, notes=(HOSTILE,),
        )
    )  # fmt: skip


def few_shot() -> str:
    value = Interval(0.5, 0.4, 0.6)
    scores = [
        Score(encoder=encoder, method="knn", shots=shots, accuracy=value, balanced=value, draws=(0.5,), gain=value)
        for encoder in (TRAINED, RANDOM)
        for shots in (4, None)
    ]
    return render_few_shot(
        FewShot(
            target=HOSTILE, features=HOSTILE, classes=(HOSTILE, "b"), class_counts=(1, 9), shots=(4, None),
            methods=("knn",), num_draws=2, split=HOSTILE, num_test=9, scores=tuple(scores), majority=0.9,
            notes=(HOSTILE,),
        )
    )  # fmt: skip


def embedding_map() -> str:
    points = [
        MapPoint(row=i, column=f"{i % 2}{HOSTILE}", previews=[CELL if i % 2 else ABSENT, CELL], value=HOSTILE)
        for i in range(9)
    ]
    positions = np.random.default_rng(0).standard_normal((9, 2))
    layouts = [Layout(name=name, positions=positions, note=HOSTILE) for name in (HOSTILE, "PCA")]
    return render_map(HOSTILE, points, layouts, color=HOSTILE, notes=[HOSTILE])


def neighbors() -> str:
    tiles = [Tile(preview=CELL, caption=f"{HOSTILE}\nb", mark=mark) for mark in ("query", "correct", "missed", "")]
    return render_neighbors(HOSTILE, [Search(title=HOSTILE, note=HOSTILE, rows=[tiles])], HOSTILE)


def samples() -> str:
    segments = [(0.0, 3.0, HOSTILE)]
    text = Marked(content=HOSTILE, extent=9.0, truth=segments, predicted=[], classes=(HOSTILE,))
    clip = Marked(content=None, extent=9.0, truth=segments, predicted=segments, classes=("a",))
    outputs = [Output(epoch=i, value=f"{HOSTILE}{i}", probability=0.5, is_correct=True) for i in range(1, 60)]
    row = SampleRow(
        row=7,
        inputs=[CELL, ABSENT],
        references={HOSTILE: [HOSTILE] * 7, "text": [], "clip": []},
        outputs=dict.fromkeys((HOSTILE, "text", "clip"), outputs),
        sections={"text": marked_section(text), "clip": marked_section(clip)},
        neighbors={HOSTILE: [Tile(preview=CELL, caption=HOSTILE)]},
    )
    return render_samples(HOSTILE, [row], 59)


def reconstructions() -> str:
    cell = ReconstructedCell(
        truth=CELL, reconstructed=CELL, imputed=None, error=1.0, imputed_error=math.nan, mean_error=2.0
    )
    return render("reconstructions.html.j2", title=HOSTILE, rows=[ReconstructedRow(row=3, cells=[cell])], split=HOSTILE)


def sections() -> str:
    """What other kinds bring: `example_sections.py` beside their tests."""
    brought = [
        section
        for path in sorted(Path(__file__).parents[1].glob("*/*/example_sections.py"))
        for section in runpy.run_path(str(path))["example_sections"](HOSTILE)
    ]
    assert brought
    named = {f"{i}{HOSTILE}": section for i, section in enumerate(brought)}
    row = SampleRow(
        row=7,
        inputs=[CELL],
        references={name: [HOSTILE] for name in named},
        outputs={name: [Output(epoch=1, value=HOSTILE)] for name in named},
        sections=named,
    )
    return render_samples(HOSTILE, [row], 1)


def augmented() -> str:
    cell = AugmentedCell(row=3, previews=[CELL, ABSENT])
    columns = [
        AugmentedColumn(name=HOSTILE, modality=HOSTILE, config=TextTransformConfig(), cells=each)
        for each in ([cell], [])
    ]
    return render_augmented(HOSTILE, columns, 1)


PAGES: dict[str, Callable[[], str]] = {
    "augmented.html.j2": augmented,
    "check.html.j2": check,
    "comparison.html.j2": comparison,
    "embedding_map.html.j2": embedding_map,
    "few_shot.html.j2": few_shot,
    "label_curves.html.j2": label_curves,
    "neighbors.html.j2": neighbors,
    "reconstructions.html.j2": reconstructions,
    "report.html.j2": report,
    "samples.html.j2": samples,
    "sections": sections,
}


@pytest.mark.parametrize("name", PAGES)
def test_no_name_becomes_markup(name: str) -> None:
    page = assert_harmless(PAGES[name]())
    assert "\\u202egnp.exe\\u0000\\u001b[31m" in page.text


def test_every_template_is_rendered_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a page, or a section of one, that is added is looked at, too."""
    rendered = set()
    real = environment._environment()

    class Watched:
        def get_template(self, name: str) -> object:
            rendered.add(name)
            return real.get_template(name)

    monkeypatch.setattr(environment, "_environment", Watched)
    for page in (*PAGES.values(), model_card, markdown):
        page()
    # importance: see test_report.py; explanation: see test_explanation.py; an audit's parts: their own tests.
    shared = {"base.html.j2", "macros.html.j2", "importance.html.j2", "explanation.html.j2"}
    shared |= {path.name for path in SOURCE.rglob("audit_*.j2")}
    every = {path.relative_to(SOURCE) for path in SOURCE.rglob("*.j2")}
    names = {
        path.name if path.parent.name == "templates" else f"polysense.{'.'.join(path.parent.parts)}:{path.name}"
        for path in every
    }
    assert names - shared == rendered


def markdown() -> str:
    return render_markdown(hostile_report())


def test_the_markdown_has_neither_html_nor_markdown_from_outside() -> None:
    text = markdown()
    assert not re.search(r"<\w", text)
    assert not {"\u202e", "\x00", "\x1b"} & set(text)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) > 5


def model_card() -> str:
    found = evaluation()
    schema = Schema(columns=(NumberColumn(name=HOSTILE, mean=0.0, std=1.0),), targets=tuple(targets()))
    part = {"part": HOSTILE, "from": "x" + HOSTILE, "tensors": 1, "numbers": 2}
    return render_model_card(
        ModelCard(
            schema=schema,
            num_parameters=9,
            encoders={HOSTILE: "mlp"},
            table=HOSTILE,
            num_rows={"train": 5},
            evaluations={"validation": found},
            baselines={"validation": {"constant": found}},
            simple_baselines={"validation": [HOSTILE]},
            contributions=HOSTILE,
            contribution_split="validation",
            init_from={"bundle": f"/a/{HOSTILE.replace('/', '')}", "moved": [part], "frozen": [HOSTILE],
                       "not_moved": {HOSTILE: HOSTILE}},
            impute={"lines": [HOSTILE], "cells": {"train": {HOSTILE: (1, 2)}}},
        )
    )  # fmt: skip


def test_a_model_card_has_neither_html_nor_markdown_from_outside() -> None:
    card = model_card()
    outside_code = card.replace("`this", "")
    assert not re.search(r"<\w|onerror=alert\(1\)>", outside_code)
    assert "&lt;script&gt;" in card
    assert not {"\u202e", "\x00", "\x1b"} & set(card)
    table = [line for line in card.splitlines() if line.startswith("| ")]
    assert len(table) > 5
    assert all(len(re.findall(r"(?<!\\)\|", line)) in (5, 6) for line in table)
    assert "center 0, scale 1" in card
    assert "these rows also chose the epoch" in card
    assert "frozen" in card


def test_a_few_shot_page_has_every_method_and_both_baselines() -> None:
    page = few_shot()
    assert page.count("<figure") == 1
    for words in ("majority class", "chance", "gain over it", "k-NN, all", "k-NN, 4", "trained encoder"):
        assert words in page, words
