"""The page of samples: everything from outside is text, and what stays the same is one line."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from html_page import HOSTILE, assert_harmless
from hypothesis import given
from hypothesis import strategies as st
from row_statistics import Texts, statistics_of

from polysense.core.preview import CellPreview
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import score
from polysense.reports.sample_log import Output, SampleRow, outputs_of, render_samples
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.regression.record import RegressionTarget


def page(*rows: SampleRow, epoch: int = 3) -> str:
    return render_samples("run " + HOSTILE, rows, epoch)


def test_nothing_from_outside_becomes_markup() -> None:
    row = SampleRow(
        row=7,
        inputs=[
            CellPreview(column=HOSTILE, texts=[HOSTILE, "second"], note=HOSTILE),
            CellPreview(column="photo", images=[b"\xff\xd8 jpeg"], audio=[(b"ID3", "audio/mpeg")]),
            CellPreview(column="speech", note="can't be read: " + HOSTILE, is_absent=True),
        ],
        references={HOSTILE: [HOSTILE]},
        outputs={HOSTILE: [Output(epoch=1, value=HOSTILE)]},
    )
    listed = assert_harmless(page(row))
    assert [attributes for name, attributes in listed.tags if name == "img"] == [
        {"alt": "photo", "src": "data:image/jpeg;base64,/9gganBlZw=="}
    ]
    assert [attributes["src"] for name, attributes in listed.tags if name == "audio"] == ["data:audio/mpeg;base64,SUQz"]
    assert listed.policy is not None
    assert listed.policy.endswith("; img-src data:; media-src data:")
    assert "\\u202egnp.exe\\u0000" in listed.text


def generated(value: str) -> str:
    """A text as the page has it."""
    row = SampleRow(row=0, inputs=[CellPreview(column="t", texts=[value])])
    found = re.search(r"<dd>(.*)</dd>", page(row), re.DOTALL)
    assert found
    return found[1].strip()


def test_each_script_has_its_direction_and_each_line_its_place() -> None:
    assert 'dir="auto"' in generated("שלום")
    assert "שלום" in generated("שלום")
    assert generated("one\ntwo").count("<br>") == 1
    assert "empty" in generated("")
    assert "only spaces" in generated(" \n")
    long = generated("word " * 400)
    assert long.startswith("<details>")
    assert "word word" in long
    assert "and 980,000 more characters" in generated("a" * 10**6)
    assert len(generated("a" * 10**6)) < 30_000


def history(values: list[str]) -> list[tuple[str, str]]:
    outputs = [Output(epoch=i + 1, value=value) for i, value in enumerate(values)]
    row = SampleRow(row=0, inputs=[], references={"y": ["wanted"]}, outputs={"y": outputs})
    found = re.findall(r'<th scope="row">([\d–]+)</th><td>(.*?)</td>', page(row, epoch=len(values)))
    return [(epochs, re.sub("<[^>]*>", "", value)) for epochs, value in found]


def test_equal_outputs_are_one_line_the_newest_first() -> None:
    assert history(["a", "a", "b", "a", "a", "a"]) == [("4–6", "a"), ("3", "b"), ("1–2", "a")]
    many = history([str(i) for i in range(300)])
    assert len(many) == 40
    assert (many[0], many[-1]) == (("300", "299"), ("1", "0"))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_every_epoch_is_in_one_line(values: list[str]) -> None:
    seen: dict[int, str] = {}
    for epochs, value in history(values):
        first, _, last = epochs.partition("–")
        for epoch in range(int(first), int(last or first) + 1):
            assert seen.setdefault(epoch, value) == value
    assert [seen[i + 1] for i in range(len(values))] == values


def test_outputs_in_words() -> None:
    targets = (
        ClassificationTarget(name="kind", columns=("kind",), classes=("cat", "dog"), class_counts=(1, 1)),
        MultilabelTarget(name="tags", columns=("tags",), classes=("a", "b", "c"), class_counts=(1, 1, 1)),
        RegressionTarget(name="size", columns=("w", "h"), mean=(0.0, 0.0), std=(1.0, 1.0)),
        GenerationTarget(name="text", columns=("text",), vocabulary_size=5),
    )
    half = torch.full((2, 3), 0.5)
    predicted = (
        (
            {"values": torch.tensor([1, 1]), "probabilities": torch.tensor([[0.25, 0.75], [0.4, 0.6]])},
            np.array([1, 0]),
            [True, True],
            None,
        ),
        (
            {"values": torch.tensor([[True, False, True], [False, False, False]]), "probabilities": half},
            np.array([[1, 0, 1], [0, 1, 0]], dtype=np.float32),
            [True, True],
            None,
        ),
        (
            {"values": torch.tensor([[1.5, -2.0], [0.0, 0.0]])},
            np.array([[1.0, 3.0], [np.nan, np.nan]], dtype=np.float32),
            [True, False],
            None,
        ),
        (
            {"values": torch.zeros(2, 3, dtype=torch.int64), "scores": torch.zeros(2)},
            np.zeros((2, 1), dtype=np.int64),
            [True, True],
            Texts(["a cat", "no"], [["the cat", "a cat"], ["yes"]]),
        ),
    )
    evaluation = score(
        targets,
        np.arange(2),
        {
            target.name: statistics_of(target, prediction, truth, np.array(present), reader)
            for target, (prediction, truth, present, reader) in zip(targets, predicted, strict=True)
        },
        bootstrap=0,
    )

    def found(name: str, i: int) -> tuple[list[str], str, float | None, bool | None] | None:
        target = next(target for target in targets if target.name == name)
        # These tasks read nothing of the rows but the statistics.
        outputs = outputs_of(target, evaluation, i, TableDataset.__new__(TableDataset))
        if not outputs:
            return None
        (output,) = outputs
        return list(output.references), output.value, output.probability, output.is_correct

    assert found("kind", 0) == (["dog"], "dog", pytest.approx(0.75), True)
    assert found("kind", 1) == (["cat"], "dog", pytest.approx(0.6), False)
    assert found("tags", 0) == (["a, c"], "a, c", None, True)
    assert found("tags", 1) == (["b"], "none", None, False)
    assert found("size", 0) == (["w 1, h 3"], "w 1.5, h -2", None, None)
    assert found("size", 1) is None
    assert found("text", 0) == (["the cat", "a cat"], "a cat", None, True)
    assert found("text", 1) == (["yes"], "no", None, False)
