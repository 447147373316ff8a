from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from polysense.core.cell_parts import Place
from polysense.core.sample import Sample, SourceInfo, Unreadable
from polysense.core.schema import Schema
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.evaluation.explanation_result import CellMap, ColumnExplanation, RowExplanation, TargetExplanation
from polysense.evaluation.part_attribution import MapTest
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.record import TextColumn
from polysense.reports.explanation import explanation_text, render_explanations
from polysense.tasks.classification.record import ClassificationTarget

HOSTILE = "<img src=x onerror=alert(1)>"
SCHEMA = Schema(
    columns=(
        ImageColumn(name="photo", image_size=(8, 8), num_channels=1, mean=(0.5,), std=(0.3,)),
        TextColumn(name=HOSTILE, vocabulary_size=300, typical_length=8),
        NumberColumn(name="size", mean=0.0, std=1.0),
    ),
    targets=(ClassificationTarget(name="label", columns=("label",), classes=(HOSTILE, "b")),),
)
GOOD = MapTest(deletion=0.2, insertion=0.8, random=0.5)
BAD = MapTest(deletion=0.6, insertion=0.4, random=0.5)


class Unread:
    """Preprocessing that is never asked for anything."""

    schema = SCHEMA

    def prepared(self, table: Table) -> Table:
        return table

    def transform(self, *_: object, **__: object) -> Sample:
        raise AssertionError("the page reads what is there")

    def add_features(self, *_: object) -> None:
        raise AssertionError("the page reads what is there")


def row(test: MapTest | None = GOOD) -> RowExplanation:
    text = f"one {HOSTILE} two"
    places = [Place(item=0, name="row 1, column 1", box=(0.0, 0.0, 0.5, 1.0)),
              Place(item=0, name="row 1, column 2", box=(0.5, 0.0, 1.0, 1.0))]  # fmt: skip
    words = [Place(item=0, name="'one'", span=(0, 3)), Place(item=0, name=f"'{HOSTILE}'", span=(4, 4 + len(HOSTILE)))]
    columns = [
        ColumnExplanation(
            name="photo", modality="image", is_present=True, share=0.4, without=0.3, answer_without="b",
            swapped=[0.1, 0.9], num_flipped=1,
            map=CellMap(places=places, shares=np.array([0.3, -0.1]), removed="gray", without=0.5, test=test),
        ),
        ColumnExplanation(
            name=HOSTILE, modality="text", is_present=True, share=-0.1, without=0.8,
            map=CellMap(
                places=words, shares=np.array([0.0, -0.2]), removed="left out", without=0.9, test=test, texts=[text]
            ),
        ),
        ColumnExplanation(name="size", modality="number", is_present=False, share=0.0, no_map="a number has no parts"),
    ]  # fmt: skip
    sample = Sample(
        row=0,
        values={"photo": [np.zeros((1, 8, 8), dtype=np.uint8)], HOSTILE: [np.array([5], dtype=np.int32)]},
        unreadable=(Unreadable(source=SourceInfo(table="t", row=7, column="size"), reason=f"found {HOSTILE}"),),
    )
    target = TargetExplanation(
        target="label", title=f"probability of '{HOSTILE}'", answer=HOSTILE, value=0.7, prior=0.4, columns=columns,
        is_exact=True,
    )  # fmt: skip
    return RowExplanation(position=0, row=7, sample=sample, targets=[target], refused={"caption": "a text"})


def page(one: RowExplanation) -> str:
    frame = pl.DataFrame({"photo": ["a.png"], HOSTILE: [f"one {HOSTILE} two"]})
    table = Table(name="t.csv", frame=frame, root=Path("nowhere"), rows=np.array([7]))
    dataset = TableDataset(table, Unread(), with_targets=False)
    return render_explanations("t.csv: 1 explained prediction", [one], SCHEMA, dataset, ["a note"])


def test_nothing_of_a_table_becomes_markup() -> None:
    html = page(row())
    assert HOSTILE not in html
    assert html.count("&lt;img src=x") >= 5


def test_a_map_is_drawn_and_said_in_words() -> None:
    html = page(row())
    assert html.count("<rect") - html.count('class="bar') >= 2
    assert 'class="raises" x="0.00"' in html
    assert 'class="lowers" x="50.00"' in html
    assert "row 1, column 1</bdi> +0.300" in html
    assert "The map holds." in html
    assert '<span class="lowers" style="--s:1.00">&lt;img' in html
    assert "missing" in html
    assert "caption can't be explained: a text" in html


@pytest.mark.parametrize(("test", "sentence"), [(BAD, "The map does not hold: don't read it"), (None, "Not tested")])
def test_a_map_that_fails_its_test_says_so(test: MapTest | None, sentence: str) -> None:
    assert sentence.replace("'", "&#39;") in page(row(test))
    assert ("(fails its own test)" in explanation_text([row(test)])) == (test is BAD)


def test_the_text_fits_a_terminal() -> None:
    lines = explanation_text([row()]).splitlines()
    assert lines[0].startswith("row 7: label = ")
    assert [line for line in lines if "missing" in line] == [f"  {'size':<24}  missing"]
    assert max(map(len, lines[2:])) <= 100  # names are never cut
    assert "1 of 2 other cells" in " ".join(" ".join(lines).split())
