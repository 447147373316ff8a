"""A joint embedding space: the losses against plain loops, duplicates, absent cells, memory."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from head_helpers import Probe, Rows, losses
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from polysense.core.batch import ValueTruth
from polysense.core.rows import RowContext
from polysense.core.schema import Target
from polysense.core.tokens import Fused, FusedColumn, Tokens
from polysense.errors import ConfigError
from polysense.modalities.text.record import TextColumn
from polysense.tasks.retrieval.heads.contrastive import ContrastiveHeadConfig, Embeddings
from polysense.tasks.retrieval.record import RetrievalTarget

WIDTH, ROWS = 16, 7


def target(*members: str, anchor: str = "", same: str | None = None) -> Target:
    columns = members if same is None else (*members, same)
    return RetrievalTarget(name="space", columns=columns, members=members, anchor=anchor)


def fused(*columns: str, rows: int = ROWS, seed: int = 0, absent: dict[str, list[int]] | None = None) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    summaries, there = {}, torch.ones(rows, len(columns), dtype=torch.bool)
    for index, column in enumerate(columns):
        there[(absent or {}).get(column, []), index] = False
        summaries[column] = torch.randn(rows, WIDTH, generator=generator) * there[:, index, None]
    tokens = Tokens(torch.zeros(rows, len(columns), WIDTH), there, (len(columns),))
    spans = {column: (index, index + 1) for index, column in enumerate(columns)}
    return Rows(tokens, torch.zeros(rows, WIDTH), spans, summaries)


class Space(Probe):
    """The head, whose embeddings are plain tensors here."""

    def __call__(self, rows: Rows, truth: Any = None) -> Tensor:
        values: Tensor = super().__call__(rows).values
        return values

    def embeddings(self, values: Tensor) -> Embeddings:
        nothing = torch.zeros(len(values))
        return Embeddings(values, self.log_scale.exp() + nothing, self.bias + nothing)

    def row_losses(self, output: Any, truth: Any) -> Tensor:
        return losses(self.module, self.embeddings(output), truth)

    def loss(self, output: Tensor, truth: ValueTruth, weights: Tensor) -> SimpleNamespace:
        total = (self.row_losses(output, truth) * weights).sum()
        return SimpleNamespace(total=total, count=(self.row_counts(truth) * weights).sum())


def truth(keys: list[list[int]]) -> ValueTruth:
    values = torch.tensor(keys)
    return ValueTruth(values=values, present=(values[:, :2] != 0).sum(dim=1) >= 2)


def distinct(rows: int = ROWS, columns: int = 2) -> ValueTruth:
    values = torch.arange(1, rows * columns + 1).view(rows, columns)
    return ValueTruth(values=values, present=torch.ones(rows, dtype=torch.bool))


def head(of: Target | None = None, **config: Any) -> Space:
    torch.manual_seed(0)
    made = ContrastiveHeadConfig(**{"dropout": 0.0, "size": 8, **config}).build(of or target("a", "b"), WIDTH)
    return Space(made)


def plain_loss(
    points: np.ndarray, keys: np.ndarray, loss: str, duplicates: str, logit_scale: float, bias: float
) -> float:
    """The loss of two columns by loops, as the papers write it; rows with both columns only are counted."""
    total, count, num = 0.0, 0, len(points)
    there = np.abs(points).sum(axis=2) > 0
    for a, b in ((0, 1), (1, 0)):
        for i in range(num):
            if not there[i, a] or not (keys[i, :2] != 0).all():
                continue
            again = [bool(((keys[i] == keys[j]) & (keys[i] != 0)).any()) for j in range(num)]
            seen = [j for j in range(num) if there[j, b] and (j == i or not again[j] or duplicates != "ignored")]
            right = [j for j in seen if j == i or (again[j] and duplicates == "positives")]
            logits = {j: logit_scale * float(points[i, a] @ points[j, b]) + bias for j in seen}
            if loss == "siglip":
                total += sum(math.log1p(math.exp(-logits[j] if j in right else logits[j])) for j in seen)
            elif right:
                denominator = math.log(sum(math.exp(value) for value in logits.values()))
                total += sum(denominator - logits[j] for j in right) / len(right)
            count += i in right
    return total / count


@pytest.mark.parametrize("loss", ["infonce", "siglip"])
@pytest.mark.parametrize("duplicates", ["positives", "ignored", "negatives"])
@pytest.mark.parametrize("chunk", [1, 3, 256])
def test_the_loss_is_that_of_the_papers(loss: str, duplicates: str, chunk: int) -> None:
    same = target("a", "b", same="group")
    keys = [[1, 11, 5], [2, 12, 6], [1, 13, 7], [3, 12, 8], [4, 14, 8], [5, 0, 9], [6, 16, 0]]
    one = head(same, loss=loss, duplicates=duplicates, chunk=chunk)
    outputs = one(fused("a", "b", absent={"b": [5]}))
    known = truth(keys)
    found = one.loss(outputs, known, torch.ones(ROWS))
    expected = plain_loss(
        outputs.detach().double().numpy(), np.array(keys), loss, duplicates,
        one.log_scale.exp().item(), one.bias.item(),
    )  # fmt: skip
    assert found.count == 12, "two directions of the six rows that have both"
    assert (found.total / found.count).item() == pytest.approx(expected, rel=1e-5)


def test_infonce_is_the_mean_cross_entropy_of_both_directions() -> None:
    one = head()
    outputs = one(fused("a", "b"))
    logits = outputs[:, 0] @ outputs[:, 1].T / 0.07
    labels = torch.arange(ROWS)
    both = [torch.nn.functional.cross_entropy(logits, labels), torch.nn.functional.cross_entropy(logits.T, labels)]
    found = one.loss(outputs, distinct(), torch.ones(ROWS))
    torch.testing.assert_close(found.total / found.count, sum(both) / 2)


@settings(max_examples=30, deadline=None)
@given(
    loss=st.sampled_from(["infonce", "siglip"]),
    duplicates=st.sampled_from(["positives", "ignored"]),
    chunk=st.integers(1, 9),
    keys=st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=9),
)
def test_chunks_and_recomputation_change_nothing(loss: str, duplicates: str, chunk: int, keys: list[list[int]]) -> None:
    """Value and every gradient, against autograd over the whole matrix."""

    def gradients(one: Space, whole: bool) -> list[Tensor]:
        outputs = one(fused("a", "b", rows=len(keys))).detach().double().requires_grad_()
        known = truth(keys)
        weights = torch.linspace(0.5, 2, len(keys))
        rows = _whole(one, outputs, known) if whole else one.row_losses(outputs, known)
        total = (rows * weights).sum()
        return [total.detach(), *torch.autograd.grad(total, [outputs, one.log_scale, one.bias])]

    made = [head(target("a", "b", same="group"), loss=loss, duplicates=duplicates, chunk=size) for size in (chunk, 100)]
    for one in made:
        one.bias.requires_grad_()
    full, chunked = gradients(made[1], whole=True), gradients(made[0], whole=False)
    for left, right in zip(full, chunked, strict=True):
        torch.testing.assert_close(left.float(), right.float(), rtol=1e-5, atol=1e-5)


def _whole(one: Space, outputs: Tensor, known: ValueTruth) -> Tensor:
    """The same in one piece, with autograd's own graph."""
    from polysense.nn.layers.contrastive import Comparison

    there = (outputs != 0).any(dim=2)
    total = torch.zeros(len(outputs))
    for a, b in one.directions:
        comparison = Comparison(
            ids=torch.arange(len(outputs)), keys=known.values, present=there[:, a] & known.present,
            candidate_keys=known.values, candidate_present=there[:, b], loss=one._loss, duplicates=one._duplicates,
        )  # fmt: skip
        rows = slice(0, len(outputs))
        total = total + comparison.losses(
            rows, outputs[:, a].float(), outputs[:, b].float(), one.log_scale.exp(), one.bias
        )
    return total


def test_what_is_kept_for_the_backward_pass_grows_with_the_batch_not_its_square() -> None:
    def retained(rows: int) -> int:
        one = head(chunk=16)
        outputs = one(fused("a", "b", rows=rows)).detach().requires_grad_()
        sizes: list[int] = []
        with saved_tensors_hooks(lambda tensor: sizes.append(tensor.nbytes) or tensor, lambda tensor: tensor):
            total = one.loss(outputs, distinct(rows), torch.ones(rows)).total
        total.backward()
        return sum(sizes)

    small, large = retained(64), retained(512)
    assert large < 8.5 * small
    assert large < 512 * 512 * 4 / 4, "less than a quarter of one matrix of similarities"


def test_a_place_is_of_its_column_alone_and_of_its_row_alone() -> None:
    one = head(target("a", "b", "c")).eval()
    there = fused("a", "b", "c")
    outputs = one(there)
    torch.testing.assert_close(outputs.norm(dim=2), torch.ones(ROWS, 3))
    other = replace(there, summaries={**there.summaries, "b": there.summaries["b"] + 1}, pooled=there.pooled + 3)
    assert torch.equal(one(other)[:, [0, 2]], outputs[:, [0, 2]])
    assert not torch.equal(one(other)[:, 1], outputs[:, 1])


def test_what_is_absent_has_no_place_and_no_gradient() -> None:
    one = head()
    outputs = one(fused("a", "b", absent={"a": [0, 3]}))
    assert torch.equal((outputs != 0).any(dim=2), torch.tensor([[r not in (0, 3), True] for r in range(ROWS)]))
    predicted = one.arrays(one.embeddings(outputs))["values"]
    assert torch.equal(predicted.isnan().all(dim=2), (outputs == 0).all(dim=2))
    # A learned stand-in is no place of the column either.
    learned = fused("a", "b")
    there = learned.tokens.mask & torch.tensor([False, True])
    learned = replace(learned, tokens=Tokens(learned.tokens.values, there, learned.tokens.grid))
    assert (one(learned)[:, 0] == 0).all()


def test_rows_that_lack_a_column_are_counted_out_and_are_still_told_apart() -> None:
    one = head()
    keys = [[1, 11], [2, 12], [3, 0], [0, 14]]
    known = truth(keys)
    outputs = one(fused("a", "b", rows=4, absent={"b": [2], "a": [3]})).detach().requires_grad_()
    losses = one.row_losses(outputs, known)
    assert (losses[:2] > 0).all()
    assert (losses[2:] == 0).all()
    assert one.row_counts(known).tolist() == [2, 2, 0, 0]
    (gradient,) = torch.autograd.grad(losses.sum(), outputs)
    assert gradient[2, 0].abs().sum() > 0, "another row's text is kept away from this picture"
    assert gradient[2, 1].abs().sum() == 0
    fewer = one.row_losses(outputs[:2], ValueTruth(values=known.values[:2], present=known.present[:2]))
    assert (losses[:2] > fewer).all(), "more candidates make it harder"


def test_nothing_to_compare_is_no_loss_and_no_nan() -> None:
    for loss in ("infonce", "siglip"):
        one = head(loss=loss)
        outputs = one(fused("a", "b", rows=3, absent={"a": [0, 1, 2]}))
        found = one.loss(outputs, truth([[0, 1], [0, 2], [0, 3]]), torch.ones(3))
        found.total.backward()
        assert found.total == 0
        assert found.count == 0
        assert all(p.grad is None or p.grad.isfinite().all() for p in one.parameters())


def test_an_anchor_leaves_out_the_pairs_without_it() -> None:
    each, anchored = head(target("a", "b", "c")), head(target("a", "b", "c", anchor="b"))
    assert set(anchored.directions) == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert len(each.directions) == 6
    assert each.row_counts(distinct(columns=3)).tolist() == [6] * ROWS
    assert anchored.row_counts(distinct(columns=3)).tolist() == [4] * ROWS


def test_the_temperature_learns_and_stays_below_one_hundred() -> None:
    one = head()
    assert one.log_scale.shape == (1,)
    assert one.log_scale.exp().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        one.log_scale.fill_(9.0)
    losses = one.row_losses(one(fused("a", "b")), distinct())
    assert one.log_scale.exp().item() == pytest.approx(100)
    losses.sum().backward()
    assert one.log_scale.grad is not None
    assert one.log_scale.grad.abs() > 0, "a clamp within the graph would leave it stuck"
    sigmoid = head(loss="siglip")
    assert (sigmoid.log_scale.exp().item(), sigmoid.bias.item()) == (pytest.approx(10), -10)
    sigmoid.row_losses(sigmoid(fused("a", "b")), distinct()).sum().backward()
    assert sigmoid.bias.grad is not None
    assert not head(learn_temperature=False).log_scale.requires_grad


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"size\b.*found"):
        ContrastiveHeadConfig(size=0)
    columns = [TextColumn(name="a", vocabulary_size=10)]
    with pytest.raises(ConfigError, match="'b' is no input column"):
        head().connect(columns)


def _with_features(rows: int, *, seed: int = 0) -> Fused:
    """Column a with five features, column b without; row 1 lacks a."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.ones(rows, dtype=torch.bool)
    present[1] = False
    features = (torch.randn(rows, 5, generator=generator) * 3 + 2) * present[:, None]
    summaries = torch.randn(2, rows, WIDTH, generator=generator)
    columns = {}
    for index, (name, there, vectors) in enumerate((("a", present, features), ("b", torch.ones_like(present), None))):
        tokens = Tokens(summaries[index][:, None], there[:, None], (1,)).cleared()
        columns[name] = FusedColumn(
            tokens, summaries[index] * there[:, None], there, there[:, None].long(), None, vectors
        )
    return Fused(torch.zeros(rows, WIDTH), columns)


def _space(**config: Any) -> Any:
    torch.manual_seed(0)
    made = ContrastiveHeadConfig(size=8, **config).build(target("a", "b"), WIDTH)
    if made.reads_features:
        made.connect_features({"a": 5, "b": 0})
    return made.eval()


def test_a_column_with_features_is_read_from_them_and_one_without_from_its_summary() -> None:
    one, fused_rows = _space(), _with_features(6)
    assert one.reads_features == ("a", "b")
    assert one.learns_from_features
    column = fused_rows.columns["a"]
    assert column.features is not None
    one.fit_features({"a": column.features}, {name: each.present for name, each in fused_rows.columns.items()})
    known = column.features[column.present]
    torch.testing.assert_close(one.projections[0].mean, known.mean(dim=0))
    context = RowContext(torch.arange(6), torch.arange(6))
    values = one.read(fused_rows, context).values
    assert (values[1, 0] == 0).all(), "an absent column lies nowhere"

    other = replace(column, summary=torch.randn(6, WIDTH))
    torch.testing.assert_close(
        one.read(replace(fused_rows, columns={**fused_rows.columns, "a": other}), context).values, values
    )
    moved = replace(column, features=column.features * 2)
    changed = one.read(replace(fused_rows, columns={**fused_rows.columns, "a": moved}), context).values
    assert not torch.allclose(changed[0, 0], values[0, 0])
    torch.testing.assert_close(changed[:, 1], values[:, 1])


def test_summaries_can_be_asked_for_whatever_a_column_has() -> None:
    one = _space(reads="summaries")
    assert one.reads_features == ()
    assert not one.learns_from_features
    fused_rows, context = _with_features(6), RowContext(torch.arange(6), torch.arange(6))
    assert torch.equal(
        one.read(fused_rows, context).values[:, 0] == 0, (~fused_rows.columns["a"].present)[:, None].expand(-1, 8)
    )
