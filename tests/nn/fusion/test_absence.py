"""What every registered fusion promises: an absent column was never there, and a row depends on itself alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from head_helpers import spans
from torch import Tensor

from polysense.config.base import members
from polysense.core.tokens import Fused, Tokens
from polysense.nn.fusion import Fusion, FusionConfig
from polysense.nn.fusion.attention_pooling import AttentionPoolingFusionConfig
from polysense.nn.fusion.film import FilmFusionConfig
from polysense.nn.fusion.recurrent import RecurrentFusionConfig
from polysense.nn.fusion.sum import SumFusionConfig

WIDTH = 16
LENGTHS = {"a": 3, "b": 1, "c": 5, "d": 2, "e": 4}
SUBSETS = [[0], [1], [2], [0, 1], [0, 2], [1, 2]]

# Every fusion of this package at its defaults, and the settings that take another path.
CONFIGS: dict[str, Any] = {
    name: member() for name, member in members("fusion").items() if member.__module__.startswith("polysense.")
} | {
    "sum-mean": SumFusionConfig(mean=True),
    "attention_pooling-1": AttentionPoolingFusionConfig(num_queries=1),
    "film-a": FilmFusionConfig(condition="a"),
    "recurrent-lstm": RecurrentFusionConfig(cell="lstm", num_layers=2),
    "recurrent-2-steps": RecurrentFusionConfig(max_steps=2),
}
every_fusion = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def build(config: FusionConfig, columns: str | Sequence[str] = "abc") -> Fusion:
    """A fusion whose every parameter is random, so that nothing is right by being zero at the start."""
    torch.manual_seed(0)
    fusion = config.build(columns, WIDTH).eval()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return fusion


def make_tokens(columns: str = "abc", batch: int = 7, seed: int = 0) -> dict[str, Tokens]:
    """Columns of which every row holds at least one token, with holes in the masks."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name in columns:
        length = LENGTHS[name]
        mask = torch.rand(batch, length, generator=generator) < 0.7
        mask[torch.arange(batch), torch.randint(0, length, (batch,), generator=generator)] = True
        found[name] = Tokens(torch.randn(batch, length, WIDTH, generator=generator), mask, (length,))
    return found


def absent(tokens: Mapping[str, Tokens], *names: str) -> dict[str, Tokens]:
    return {n: t.masked(torch.full((len(t.mask),), n not in names)) for n, t in tokens.items()}


def take(tokens: Mapping[str, Tokens], rows: Tensor) -> dict[str, Tokens]:
    return {n: Tokens(t.values[rows], t.mask[rows], t.grid) for n, t in tokens.items()}


def assert_same(one: Fused, other: Fused, columns: Sequence[str], rows: Tensor | slice = slice(None)) -> None:
    """To 1e-6: the summary, and what is fused of these columns, each at its own valid places; `other` has `rows`."""

    def close(x: Tensor, y: Tensor) -> None:
        # Of the largest value: a number that is the small difference of large ones has their rounding error.
        torch.testing.assert_close(x, y, atol=1e-6 * max([1.0, *x.abs().flatten().tolist()]), rtol=0)

    close(one.pooled[rows], other.pooled)
    for name in columns:
        close(one.columns[name].summary[rows], other.columns[name].summary)
        found = []
        for fused, chosen in ((one, rows), (other, slice(None))):
            first, last = spans(fused)[name]
            values, mask = fused.joined().values[chosen, first:last], fused.joined().mask[chosen, first:last]
            found.append(values[mask])
        close(found[0], found[1])


# --- The weights of the same fusion over fewer columns -----------------------------------------------------------

Rule = Callable[[Mapping[str, Tensor], str, list[int], Fusion], Tensor]


def listed(full: Mapping[str, Tensor], name: str, retained: list[int], fusion: Fusion) -> Tensor:
    """One entry of a list per column: the first number in the name is the column's place."""
    return full[re.sub(r"\.(\d+)", lambda m: f".{retained[int(m[1])]}", name, count=1)]


def stacked(full: Mapping[str, Tensor], name: str, retained: list[int], fusion: Fusion) -> Tensor:
    """The first dimension is the columns."""
    return full[name][retained]


def blocks(full: Mapping[str, Tensor], name: str, retained: list[int], fusion: Fusion) -> Tensor:
    """The second dimension is the columns' widths, one after another."""
    return full[name].unflatten(1, (-1, WIDTH))[:, retained].flatten(1)


def gates(full: Mapping[str, Tensor], name: str, retained: list[int], fusion: Fusion) -> Tensor:
    """The first dimension is a gate per feature and column, the second (of a matrix) the columns' widths."""
    chosen = full[name].unflatten(0, (WIDTH, -1))[:, retained].flatten(0, 1)
    return chosen if chosen.ndim == 1 else blocks({name: chosen}, name, retained, fusion)


def scores(full: Mapping[str, Tensor], name: str, retained: list[int], fusion: Fusion) -> Tensor:
    """The first dimension is a score per column, the second (of a matrix) the columns' widths."""
    chosen = full[name][retained]
    return chosen if chosen.ndim == 1 else blocks({name: chosen}, name, retained, fusion)


def slices(full: Mapping[str, Tensor], name: str, retained: list[int], fusion: Fusion) -> Tensor:
    """A weight per entry of the outer product: at an absent column, the slice at its constant 1, which is last."""
    num_columns = len(fusion.columns)
    side = round(full[name].shape[1] ** (1 / num_columns))
    weight = full[name].unflatten(1, (side,) * num_columns)
    for column in reversed(range(num_columns)):
        if column not in retained:
            weight = weight.select(1 + column, side - 1)
    return weight.flatten(1)


def modulations(full: Mapping[str, Tensor], name: str, retained: list[int], fusion: Any) -> Tensor:
    """One entry of a list per column but the condition; without the condition, nothing is modulated."""
    condition = fusion.condition
    if condition not in retained:
        return torch.zeros_like(full[name])
    modulated = [column for column in range(len(fusion.columns)) if column != condition]
    remaining = [column for column in retained if column != condition]
    return full[re.sub(r"\.(\d+)", lambda m: f".{modulated.index(remaining[int(m[1])])}", name, count=1)]


def pairs(full: Mapping[str, Tensor], name: str, retained: list[int], fusion: Fusion) -> Tensor:
    """[column][its partner, the others in order]."""
    column, partner = (int(number) for number in re.findall(r"\.(\d+)", name)[:2])
    own = retained[column]
    other = [k for k in retained if k != own][partner]
    place = [c for c in range(len(fusion.columns)) if c != own].index(other)
    return full[re.sub(r"\.\d+\.\d+", f".{own}.{place}", name, count=1)]


# Per fusion, which of its parameters belong to columns, and how; all others are shared.
RULES: dict[str, dict[str, Rule]] = {
    "attention_pooling": {r"project\.": listed, "column_embedding": stacked},
    "bilinear": {r"(linear|factor)\.": listed},
    "bottleneck": {r"(project|blocks)\.": listed, "summary": stacked},
    "concat": {r"project\.weight": blocks},
    "cross_attention": {r"(project|blocks)\.": listed, "summary": stacked, r"pairs\.": pairs},
    "film": {r"(features|out)\.": listed, r"modulation\.": modulations},
    "gated": {r"transform\.": listed, r"gate\.": gates},
    "low_rank": {"factors": stacked},
    "perceiver": {r"project\.": listed, "column_embedding": stacked},
    "recurrent": {r"project\.": listed},
    "sum": {r"project\.": listed},
    "tensor": {r"project\.": listed, r"out\.weight": slices},
    "transformer": {r"project\.": listed, "column_embedding": stacked},
}


def rules(config: Any, prefix: str = "") -> dict[str, Rule]:
    found = {rf"{prefix}norms\.": listed} | {prefix + pattern: rule for pattern, rule in RULES[config.type].items()}
    for name in ("inner", "joint"):
        if (nested := getattr(config, name, None)) is not None:
            found |= rules(nested, rf"{prefix}{name}\.")
    return found


def over_subset(config: Any, fusion: Fusion, retained: list[int]) -> Fusion:
    """The fusion that was built over these columns only, with the same weights for them."""
    names = [fusion.columns[index] for index in retained]
    if isinstance(config, FilmFusionConfig) and config.condition not in names:
        config = replace(config, condition=None)
    alone = build(config, names)
    full, chosen = fusion.state_dict(), {}
    for name in alone.state_dict():
        rule = next((rule for pattern, rule in rules(config).items() if re.match(pattern, name)), None)
        chosen[name] = full[name] if rule is None else rule(full, name, retained, fusion)
    alone.load_state_dict(chosen)
    return alone


# --- Promises ----------------------------------------------------------------------------------------------------


@every_fusion
def test_an_absent_column_is_a_forward_on_the_others_alone(config: Any) -> None:
    fusion, tokens = build(config), make_tokens()
    for retained in SUBSETS:
        names = [fusion.columns[index] for index in retained]
        with torch.no_grad():
            fused = fusion(absent(tokens, *(set("abc") - set(names))))
            expected = over_subset(config, fusion, retained)({name: tokens[name] for name in names})
        assert_same(fused, expected, names)


@every_fusion
def test_what_an_absent_column_holds_changes_nothing(config: Any) -> None:
    fusion, tokens = build(config), make_tokens()
    junk = torch.Generator().manual_seed(1)
    for name in "abc":
        gone = absent(tokens, name)
        others = [other for other in "abc" if other != name]
        with torch.no_grad():
            expected = fusion(gone)
            values = torch.randn(7, LENGTHS[name], WIDTH, generator=junk) * 1e4
            assert_same(fusion(gone | {name: replace(gone[name], values=values)}), expected, others)
            # A column that no row of the batch has is one masked token.
            one = Tokens(torch.zeros(7, 1, WIDTH), torch.zeros(7, 1, dtype=torch.bool), (1,))
            assert_same(fusion(gone | {name: one}), expected, others)
            nine = Tokens(torch.randn(7, 9, WIDTH, generator=junk), torch.zeros(7, 9, dtype=torch.bool), (3, 3))
            assert_same(fusion(gone | {name: nine}), expected, others)


def ragged() -> dict[str, Tokens]:
    """Rows that have, in turn, every non-empty subset of the columns, and last none of them."""
    tokens = make_tokens(batch=8)
    subset = (torch.arange(8) + 1) % 8
    return {name: tokens[name].masked((subset >> index) & 1 == 1) for index, name in enumerate("abc")}


@every_fusion
def test_a_row_depends_neither_on_its_batch_mates_nor_on_padding(config: Any) -> None:
    fusion, tokens = build(config), ragged()
    junk = torch.Generator().manual_seed(1)
    longer = {
        name: Tokens(
            torch.cat([t.values, torch.randn(8, 4, WIDTH, generator=junk) * 100], dim=1),
            torch.cat([t.mask, torch.zeros(8, 4, dtype=torch.bool)], dim=1),
            (t.mask.shape[1] + 4,),
        )
        for name, t in tokens.items()
    }
    order = torch.randperm(8, generator=junk)
    with torch.no_grad():
        fused = fusion(tokens)
        assert_same(fused, fusion(longer), "abc")
        assert_same(fused, fusion(take(tokens, order)), "abc", order)
        for row in (0, 2, 5, 6, 7):
            assert_same(fused, fusion(take(tokens, torch.tensor([row]))), "abc", torch.tensor([row]))


@every_fusion
def test_a_row_with_nothing_gives_the_learned_summary_and_every_parameter_a_finite_gradient(config: Any) -> None:
    fusion, tokens = build(config).train(), ragged()
    fused = fusion(tokens)
    torch.testing.assert_close(fused.pooled[-1], fusion.nothing)
    assert all(part.isfinite().all() for part in (fused.pooled, fused.joined().values))
    # What a task's head reads, and nothing else: no parameter may be left untouched, or ranks wait for one another.
    (fused.pooled * torch.randn(fused.pooled.shape)).sum().backward()
    for name, parameter in fusion.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            # The norms of the columns' own summaries count for nothing where a fusion reads tokens alone.
            assert parameter.grad.abs().sum() > 0 or name.startswith("norms."), name


@every_fusion
def test_only_empty_rows_give_finite_gradients(config: Any) -> None:
    fusion = build(config).train()
    tokens = absent(make_tokens(batch=2), *"abc")
    values = {name: t.values.requires_grad_() for name, t in tokens.items()}
    fused = fusion(tokens)
    fused.pooled.sum().backward()
    for parameter in [*fusion.parameters(), *values.values()]:
        assert parameter.grad is None or parameter.grad.isfinite().all()


@every_fusion
@pytest.mark.parametrize("columns", ["a", "abcde"])
def test_one_column_and_five(config: Any, columns: str) -> None:
    fusion, tokens = build(config, columns), make_tokens(columns)
    fused = fusion(tokens)
    assert fused.pooled.shape == (7, WIDTH)
    assert fused.joined().values.shape == (7, sum(LENGTHS[name] for name in columns), WIDTH)
    assert torch.equal(fused.joined().mask, torch.cat([tokens[name].mask for name in columns], dim=1))
    fused.pooled.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in fusion.parameters())
    # Every column counts.
    with torch.no_grad():
        for name in columns if len(columns) > 1 else "":
            assert (fusion(absent(tokens, name)).pooled - fused.pooled).abs().amax() > 1e-4, name


@every_fusion
def test_autocast_to_bf16_stays_close_and_finite(config: Any) -> None:
    fusion, tokens = build(config), ragged()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = fusion(tokens)
        fused.pooled.float().square().sum().backward()
    assert fused.pooled.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in fusion.parameters())
    expected = fusion(tokens).pooled
    assert (fused.pooled - expected).abs().mean() < 0.02 * expected.abs().mean().clamp(min=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fusion.train()(tokens).pooled.isfinite().all()
