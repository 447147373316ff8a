"""Labels of tokens, and segments from them."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from head_helpers import Probe, Rows
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.batch import ValueTruth
from polysense.core.schema import Target
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.text.record import TextColumn
from polysense.tasks.tagging.heads.tagging import StepLabels, TaggingHeadConfig
from polysense.tasks.tagging.record import TaggingTarget

WIDTH = 8
TEXT = TaggingTarget(
    name="tags",
    columns=("tags",),
    classes=("LOC", "PER"),
    class_counts=(3, 5),
    num_rows=8,
    over="text",
    boundaries=True,
    class_lengths=(0.1, 0.2),
)
AUDIO = dataclasses.replace(TEXT, boundaries=False, over="clip", units_per_second=100.0)


def head(target: Target = TEXT, **settings: Any) -> Probe:
    torch.manual_seed(0)
    return Probe(TaggingHeadConfig(**settings).build(target, WIDTH).eval())


def fused(lengths: list[int], steps: int, over: str = "text", raw: list[int] | None = None, seed: int = 0) -> Rows:
    """A column of these many valid tokens, behind three tokens of another one."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(lengths), 3 + steps, WIDTH, generator=generator)
    own = torch.arange(steps) < torch.tensor(lengths)[:, None]
    mask = torch.cat([torch.ones(len(lengths), 3, dtype=torch.bool), own], dim=1)
    pooled = torch.randn(len(lengths), WIDTH, generator=generator)
    return Rows(
        Tokens(values, mask, (3 + steps,)),
        pooled,
        {"other": (0, 3), over: (3, 3 + steps)},
        lengths={over: torch.tensor(raw or lengths)[:, None]},
    )


def segments(*rows: list[tuple[float, float, int]], lengths: list[float]) -> ValueTruth:
    most = max(map(len, rows))
    values = torch.zeros(len(rows), 1 + most, 3)
    values[:, :, 2] = -1
    for i, row in enumerate(rows):
        values[i, 0, 1] = lengths[i]
        if row:
            values[i, 1 : 1 + len(row)] = torch.tensor(row)
    return ValueTruth(values=values, present=torch.ones(len(rows), dtype=torch.bool))


def one_hot(labels: torch.Tensor, num_labels: int, mask: torch.Tensor) -> StepLabels:
    """Outputs that are sure of these labels."""
    return StepLabels(torch.nn.functional.one_hot(labels, num_labels).float() * 50, mask)


def test_bio_labels_of_tokens() -> None:
    truth = segments([(0, 2, 1), (2, 3, 1), (4, 5, 0)], [], lengths=[6, 4])
    mask = torch.arange(6) < torch.tensor([6, 4])[:, None]
    found = head().labels(truth, mask)
    assert found.tolist() == [[3, 4, 3, 0, 1, 0], [0] * 6]


def test_a_token_has_the_class_that_fills_most_of_it() -> None:
    # 10 steps of the column to a token. Of the second, 4 are of the first segment, 3 of the next, 3 of none.
    truth = segments([(0, 14, 0), (17, 26, 1), (33, 34, 0)], lengths=[50])
    labels = head(AUDIO).labels(truth, torch.ones(1, 5, dtype=torch.bool))
    # The last one fills a tenth of a token, which has it all the same: no segment is lost.
    assert labels.tolist() == [[1, 1, 2, 1, 0]]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_segments_come_back_from_their_labels(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 12))
    cuts = sorted(data.draw(st.sets(st.integers(0, length), max_size=8)))
    rows = [
        (start, end, data.draw(st.integers(0, 1)))
        for start, end in itertools.pairwise(cuts)
        if data.draw(st.booleans())
    ]
    model = head()
    steps = length + data.draw(st.integers(0, 3))
    mask = torch.arange(steps)[None] < length
    labels = model.labels(segments(rows, lengths=[length]), mask)
    found = model._segments(one_hot(labels, 5, mask), torch.tensor([float(length)]))[0]
    assert found[0, :3].tolist() == [0.0, length, -1.0]
    assert [tuple(row[:3]) for row in found[1:].tolist() if row[2] >= 0] == [tuple(map(float, row)) for row in rows]


@pytest.mark.parametrize("crf", [False, True])
def test_other_rows_and_padding_change_nothing(crf: bool) -> None:
    model = head(crf=crf)
    both = fused([6, 3], 6)
    alone = dataclasses.replace(
        both,
        tokens=Tokens(both.tokens.values[1:, :7], both.tokens.mask[1:, :7], (7,)),
        pooled=both.pooled[1:],
        spans={"other": (0, 3), "text": (3, 7)},
        lengths={"text": torch.tensor([[3]])},
    )
    together, single = model.read(both)["values"][1], model.read(alone)["values"][0]
    real = single[:, 2] >= 0
    torch.testing.assert_close(together[: len(single)][real], single[real])


@pytest.mark.parametrize("crf", [False, True])
def test_the_loss_is_a_sum_over_tokens(crf: bool) -> None:
    model = head(crf=crf)
    outputs = model(fused([4, 2, 0], 5))
    truth = segments([(1, 3, 0)], [(0, 1, 1)], [], lengths=[4, 2, 3])
    assert model.row_counts(truth).tolist() == [4, 2, 3]
    losses = model.row_losses(outputs, truth)
    assert losses[2] == 0, "a column that is dropped has nothing to learn from"
    if not crf:
        log_p = outputs.logits.log_softmax(dim=2)
        expected = -(log_p[0, 0, 0] + log_p[0, 1, 1] + log_p[0, 2, 2] + log_p[0, 3, 0])
        torch.testing.assert_close(losses[0], expected)
        torch.testing.assert_close(losses[1], -(log_p[1, 0, 3] + log_p[1, 1, 0]))
    # Without the target a row counts nothing.
    absent = dataclasses.replace(truth, present=torch.tensor([False, True, True]))
    assert model.row_counts(absent)[0] == 0
    assert model.row_losses(outputs, absent)[0] == 0


def test_a_row_without_the_target_beside_one_with_segments() -> None:
    model = head()
    truth = segments([(1, 3, 0)], [], lengths=[4, 0])
    truth = dataclasses.replace(truth, present=torch.tensor([True, False]))
    mask = torch.ones(2, 4, dtype=torch.bool)
    assert model.labels(truth, mask)[1].tolist() == [0, 0, 0, 0]
    read = model.read(fused([4, 4], 4), truth)
    assert read["likelihood"] is not None
    assert read["likelihood"][1].tolist() == [0, 0, 0]


def test_weights_of_classes() -> None:
    model = head(class_weights={"PER": 3.0})
    truth = segments([(1, 3, 1)], lengths=[4])
    assert model.row_counts(truth).tolist() == [8.0]
    plain, weighted = head().row_losses(model(fused([4], 4)), truth), model.row_losses(model(fused([4], 4)), truth)
    assert weighted > plain
    balanced = head(class_weights="balanced")
    torch.testing.assert_close(balanced.weights, torch.tensor([1 / 0.7, 1 / 0.1, 1 / 0.2]) / 3)
    with pytest.raises(ConfigError, match="no class is named 'ORG'"):
        head(class_weights={"ORG": 2.0})
    with pytest.raises(ConfigError, match="crf"):
        TaggingHeadConfig(crf=True, class_weights="balanced")


@pytest.mark.parametrize("crf", [False, True])
def test_every_parameter_gets_a_gradient(crf: bool) -> None:
    model = head(crf=crf)
    model.row_losses(model(fused([4, 2], 5)), segments([(1, 3, 0)], [], lengths=[4, 2])).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_chain_never_goes_on_with_what_did_not_begin() -> None:
    model = head(crf=True)
    labels = model.chain.best(5 * torch.randn(20, 7, 5), torch.ones(20, 7, dtype=torch.bool))  # type: ignore[union-attr]
    for row in labels.tolist():
        for before, label in zip([0, *row], row, strict=False):
            assert label not in (2, 4) or (before + 1) // 2 == label // 2


def test_seconds_and_what_is_absent() -> None:
    model = head(AUDIO)
    found = model.read(fused([4, 0], 4, over="clip", raw=[200, 160]))
    assert found["values"][:, 0].tolist() == [[0, 200, -1, 0], [0, 0, -1, 0]]
    real = found["values"][0, 1:]
    assert ((real[:, :2] % 50 == 0) | (real[:, :2] == -1)).all(), "a token is 50 of the column's own steps"
    assert (found["values"][1, 1:] == -1).all(), "where the column is absent nothing is said"


def test_how_likely_the_truth_is() -> None:
    model = head()
    truth = segments([(0, 2, 1)], [(0, 2, 1)], lengths=[4, 4])
    read = model.read(fused([4, 0], 4), truth)
    assert read["likelihood"] is not None
    assert read["likelihood"][:, 2].tolist() == [4, 4]
    torch.testing.assert_close(read["likelihood"][0, 0], -model.row_losses(model(fused([4, 0], 4)), truth)[0])
    # A row that lacks the column is judged by the training shares: 0.2 a token for PER, 0.7 for none.
    torch.testing.assert_close(read["likelihood"][1, 0], 2 * torch.tensor(0.2).log() + 2 * torch.tensor(0.7).log())
    assert read["likelihood"][1, 1] == 2


def test_the_column_must_be_there() -> None:
    column = TextColumn(name="text", vocabulary_size=10)
    head().connect([column])
    with pytest.raises(ConfigError, match="is no input"):
        head().connect([dataclasses.replace(column, name="note")])
    with pytest.raises(ConfigError, match="several items"):
        head().connect([dataclasses.replace(column, multiple=True)])
