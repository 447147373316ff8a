"""One number takes overconfidence away and changes no decision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.batch import ValueTruth
from polysense.core.tokens import Fused, FusedColumn, Tokens
from polysense.modalities.number.record import NumberColumn
from polysense.nn.head import Logits
from polysense.nn.temperature import MOST_SUBSETS, SubsetFactors, SubsetRows
from polysense.tasks.classification.heads.classification import ClassificationHead, ClassificationHeadConfig
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.heads.multilabel import MultilabelHead, MultilabelHeadConfig
from polysense.tasks.multilabel.record import MultilabelTarget

NAMES = ("a", "b", "c")
CLASSES = ClassificationTarget(name="y", columns=("y",), classes=NAMES, class_counts=(1, 1, 1), num_rows=3)
LABELS = MultilabelTarget(name="y", columns=("y",), classes=NAMES, class_counts=(1, 1, 1), num_rows=3)


def sampled(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and classes that are drawn by their softmax."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(rows, 3, generator=generator)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_and_changes_no_class(factor: float) -> None:
    logits, classes = sampled(4_000)
    head = ClassificationHead(ClassificationHeadConfig(), CLASSES, 8).eval()
    before = head.arrays(Logits(factor * logits))
    truth = ValueTruth(values=classes, present=torch.ones(4_000, dtype=torch.bool))
    said = head.calibrate(Logits(factor * logits), truth, torch.ones(4_000))
    assert float(head.temperature) == pytest.approx(factor, rel=0.08)
    before_loss, after_loss = (F.cross_entropy(factor * logits / each, classes) for each in (1.0, head.temperature))
    assert after_loss <= before_loss
    expected = f"with which their log loss is {after_loss:.3f} in place of {before_loss:.3f}"
    assert said == f"temperature {float(head.temperature):.2f}, {expected}"
    after = head.arrays(Logits(factor * logits))
    assert torch.equal(after["values"], before["values"])
    torch.testing.assert_close(after["probabilities"], logits.softmax(dim=1), atol=0.03, rtol=0)


def test_a_handful_of_rows_moves_it_little_and_none_not_at_all() -> None:
    logits, classes = sampled(4)
    head = ClassificationHead(ClassificationHeadConfig(), CLASSES, 8)
    truth = ValueTruth(values=logits.argmin(dim=1), present=torch.ones(4, dtype=torch.bool))
    assert head.calibrate(Logits(logits), truth, torch.zeros(4)) is None
    assert float(head.temperature) == 1.0
    head.calibrate(Logits(logits), ValueTruth(values=classes, present=torch.ones(4, dtype=torch.bool)), torch.ones(4))
    assert 0.4 < float(head.temperature) < 2.5


def test_labels_have_one_temperature_too() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3_000, 3, generator=generator)
    values = torch.bernoulli(logits.sigmoid(), generator=generator)
    head = MultilabelHead(MultilabelHeadConfig(), LABELS, 8).eval()
    truth = ValueTruth(values=values, present=torch.ones(3_000, dtype=torch.bool))
    before = head.arrays(Logits(2.5 * logits))["values"]
    head.calibrate(Logits(2.5 * logits), truth, torch.ones(3_000))
    assert float(head.temperature) == pytest.approx(2.5, rel=0.1)
    assert torch.equal(head.arrays(Logits(2.5 * logits))["values"], before)


COLUMNS = ("a", "b")


def fused(present: torch.Tensor) -> Fused:
    """Rows of which each column is there or not."""
    columns = {
        name: FusedColumn(
            tokens=Tokens(torch.zeros(len(present), 1, 8), there[:, None], (1,)),
            summary=torch.zeros(len(present), 8),
            present=there,
            lengths=there.long()[:, None],
        )
        for name, there in zip(COLUMNS, present.T, strict=True)
    }
    return Fused(torch.zeros(len(present), 8), columns)


def subset(names: tuple[str, ...], logits: torch.Tensor, classes: torch.Tensor) -> SubsetRows[Logits]:
    everywhere = torch.ones(len(classes), dtype=torch.bool)
    return SubsetRows(
        columns=frozenset(names),
        output=Logits(logits),
        truth=ValueTruth(values=classes, present=everywhere),
        weights=everywhere.float(),
    )


def connected() -> ClassificationHead:
    head = ClassificationHead(ClassificationHeadConfig(), CLASSES, 8).eval()
    head.connect([NumberColumn(name=name, mean=0.0, std=1.0) for name in COLUMNS])
    return head


def probabilities(head: ClassificationHead, logits: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    return head.arrays(head.tempered(Logits(logits), fused(present)))["probabilities"]


def test_rows_that_lack_a_column_have_a_temperature_of_their_own() -> None:
    logits, classes = sampled(4_000)
    head = connected()
    said = head.calibrate_subsets([subset(("b",), 3 * logits, classes), subset(COLUMNS, logits, classes)])
    assert said is not None
    assert "(2 subsets)" in said
    assert head.temperature_of(["b"]) == pytest.approx(3, rel=0.08)
    assert head.temperature_of(COLUMNS) == pytest.approx(1, rel=0.08)
    assert head.temperature_of(["a"]) == head.temperature_of([]) == head.temperature_of(["a", "b", "c"]) == 1
    everywhere = torch.ones(4_000, 1, dtype=torch.bool)
    only_b = torch.cat([~everywhere, everywhere], dim=1)
    torch.testing.assert_close(probabilities(head, 3 * logits, only_b), logits.softmax(dim=1), atol=0.03, rtol=0)
    # Of a subset that is not known the temperature of all counts, and so for a row of nothing.
    for present in (torch.cat([everywhere, ~everywhere], dim=1), torch.zeros(4_000, 2, dtype=torch.bool)):
        assert torch.equal(probabilities(head, logits, present), head.arrays(Logits(logits))["probabilities"])
    head.temperature.fill_(2.0)
    assert head.temperature_of(["b"]) == pytest.approx(6, rel=0.08)
    # What all rows are fitted on afterwards takes the place of both.
    head.calibrate(Logits(logits), ValueTruth(values=classes, present=everywhere[:, 0]), torch.ones(4_000))
    assert head.temperature_of(["b"]) == head.temperature_of(["a"]) == pytest.approx(1, rel=0.08)


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 60), scale=st.sampled_from([1e-3, 0.3, 1.0, 10.0, 1e4]))
@settings(max_examples=60, deadline=None)
def test_no_temperature_is_worse_on_the_rows_that_fitted_it(seed: int, rows: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, rows, 3, generator=generator)
    classes = torch.randint(0, 3, (2, rows), generator=generator)
    head = connected()
    head.calibrate(
        Logits(logits[0]),
        ValueTruth(values=classes[0], present=torch.ones(rows, dtype=torch.bool)),
        torch.ones(rows),
    )

    def nats(temperature: float, part: int) -> float:
        return float(F.cross_entropy(logits[part].double() / temperature, classes[part]))

    common = float(head.temperature)
    assert nats(common, 0) <= nats(1.0, 0)
    head.calibrate_subsets([subset(("a",), logits[1], classes[1])])
    assert nats(head.temperature_of(["a"]), 1) <= nats(common, 1)


def test_a_rows_bits_depend_on_its_own_columns_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(64, 3, generator=generator)
    present = torch.rand(64, 2, generator=generator) > 0.5
    head = connected()
    assert head.subset_factors is not None
    head.subset_factors.set({frozenset("a"): 1.7, frozenset("b"): 0.6, frozenset("ab"): 1.1})
    together = probabilities(head, logits, present)
    for order in (torch.randperm(64, generator=generator), torch.arange(7), torch.tensor([33])):
        assert torch.equal(probabilities(head, logits[order], present[order]), together[order])
    # What is saved and loaded gives the same bits.
    other = connected()
    other.load_state_dict(head.state_dict())
    assert torch.equal(probabilities(other, logits, present), together)


def test_more_subsets_than_there_is_room_for_are_refused() -> None:
    factors = SubsetFactors()
    factors.set({frozenset([f"column {i}"]): 1.0 + i for i in range(MOST_SUBSETS)})
    assert factors.of(["column 63"]) == 64
    with pytest.raises(AssertionError, match="room for 64"):
        factors.set({frozenset([str(i)]): 2.0 for i in range(MOST_SUBSETS + 1)})


def test_labels_have_temperatures_by_subset_too() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3_000, 3, generator=generator)
    values = torch.bernoulli(logits.sigmoid(), generator=generator)
    head = MultilabelHead(MultilabelHeadConfig(), LABELS, 8).eval()
    head.connect([])
    head.calibrate_subsets([subset(("a",), 2.5 * logits, values)])
    assert head.temperature_of(["a"]) == pytest.approx(2.5, rel=0.1)
