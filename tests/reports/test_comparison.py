"""The comparison's page is one whole file, and a plot has a mark for every training."""

from __future__ import annotations

from html_page import Page

from polysense.evaluation.comparison import Entry, Measure, compare_entries
from polysense.reports.comparison import render_comparison
from polysense.reports.comparison_terminal import comparison_text


def entry(name: str, accuracies: list[float]) -> Entry:
    by_seed = {seed: {"a/accuracy": value, "a/loss": 1 - value} for seed, value in enumerate(accuracies)}
    return Entry(name=name, values={"test": by_seed, "validation": by_seed})


def test_the_page_is_whole_and_has_every_training() -> None:
    measures = [Measure(key="a/accuracy"), Measure(key="a/loss", higher_is_better=False)]
    entries = [entry("a", [0.7, 0.8, 0.9]), entry("b & c", [0.6, 0.7, 0.7])]
    compared = compare_entries(entries, measures, split="test", seeds=range(3), title="t")
    content = render_comparison(compared)
    page = Page(content)
    assert not {"img", "link"} & {tag for tag, _ in page.tags}
    assert content.count("<svg") == 2, "one plot for each measure"
    # Two variants of three seeds and a mean each, in two plots.
    assert content.count("<circle") == 2 * 2 * (3 + 1)
    assert "a/accuracy (higher is better)" in page.text
    assert "a/loss (lower is better)" in page.text
    assert "mean on validation" in page.text
    assert "a/loss" in comparison_text(compared)
