"""Hard negatives are never right ones, and what only columns together tell can be learned from them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_helpers import predictions, totals
from torch.nn import functional as F

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.schema import Schema
from polysense.errors import ConfigError
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.category.record import CategoryColumn
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.fusion.transformer import TransformerFusionConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.tasks.retrieval.heads.contrastive import ContrastiveHeadConfig
from polysense.tasks.retrieval.objectives.image_text_matching import ImageTextMatchingConfig, hard_negatives
from polysense.tasks.retrieval.record import RetrievalTarget

SCHEMA = Schema(
    columns=tuple(CategoryColumn(name=name, num_categories=7) for name in ("one", "other", "third")),
    targets=(RetrievalTarget(name="space", columns=("one", "other"), members=("one", "other"), num_rows=9),),
)


def model(matching: float = 1.0, fusion: str = "concat", seed: int = 0) -> MultimodalModel:
    torch.manual_seed(seed)
    fusions = {"concat": ConcatFusionConfig(), "transformer": TransformerFusionConfig(num_heads=2)}
    return ModelConfig(
        width=16,
        encoders={name: CategoryEmbeddingConfig() for name in SCHEMA.names},
        fusion=fusions[fusion],
        heads={"space": ContrastiveHeadConfig(size=8, hidden=32, dropout=0.0)},
        objectives={"matching": ImageTextMatchingConfig(weight=matching, hidden=32, dropout=0.0)},
    ).build(SCHEMA)


def batch(one: torch.Tensor, other: torch.Tensor, *, keys: torch.Tensor | None = None) -> Batch:
    """Every row is a pair of its own, unless keys say otherwise."""
    rows = torch.arange(len(one))
    values = torch.stack([rows + 1, rows + 1001], dim=1) if keys is None else keys
    columns: Mapping[str, ColumnBatch] = {
        name: ColumnBatch(values=cells[:, None, None], lengths=torch.ones(len(one), 1, dtype=torch.int64))
        for name, cells in (("one", one), ("other", other), ("third", one))
    }
    target = ValueTruth(values=values, present=torch.ones(len(one), dtype=torch.bool))
    return Batch(rows=rows, columns=columns, truths={"space": target}, keys=rows * 7919 + 1)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 8))
def test_a_negative_never_holds_the_same_and_is_always_there(seed: int, columns: int, different: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    columns, size = columns + 1, 12
    embeddings = F.normalize(torch.randn(size, columns, 4, generator=generator), dim=2)
    there = torch.rand(size, columns, generator=generator) < 0.8
    embeddings = embeddings * there[..., None]
    keys = torch.randint(0, different, (size, columns + 1), generator=generator)
    present = torch.rand(size, generator=generator) < 0.9
    row_keys = torch.randint(0, 2**40, (size,), generator=generator)
    for draws in (row_keys, None):
        chosen = hard_negatives(embeddings, keys, present, torch.tensor([10.0]), draws)
        for row in range(size):
            for column in range(columns):
                allowed = [
                    other
                    for other in range(size)
                    if other != row
                    and bool(present[row] and present[other] and there[row, column] and there[other, column])
                    and int((there[row]).sum()) > 1
                    and not bool(((keys[row] == keys[other]) & (keys[row] != 0)).any())
                ]
                found = int(chosen[row, column])
                assert (found in allowed) if allowed else found == -1


def test_negatives_are_drawn_in_proportion_to_similarity() -> None:
    # 1500 rows that hold the same look for one of three others.
    num, logit_scale = 1500, torch.tensor([2.0])
    others = torch.tensor([[0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
    embeddings = torch.cat([torch.tensor([[1.0, 0.0]]).expand(num, 2), others])[:, None].expand(-1, 2, 2)
    keys = torch.tensor([1] * num + [2, 3, 4])[:, None].expand(-1, 2)
    there = torch.ones(num + 3, dtype=torch.bool)
    chosen = hard_negatives(embeddings, keys, there, logit_scale, torch.arange(num + 3))[:num, 1]
    assert int(chosen.min()) >= num
    shares = torch.bincount(chosen - num, minlength=3) / num
    assert torch.allclose(shares, (others[:, 0] * 2.0).softmax(dim=0), atol=0.04)


def test_a_draw_is_a_function_of_the_rows_key() -> None:
    embeddings = F.normalize(torch.randn(20, 2, 4), dim=2)
    keys = torch.arange(1, 41).view(20, 2)
    there = torch.ones(20, dtype=torch.bool)
    row_keys = torch.arange(20) * 31
    first = hard_negatives(embeddings, keys, there, torch.tensor([1.0]), row_keys)
    torch.manual_seed(5)
    assert torch.equal(first, hard_negatives(embeddings, keys, there, torch.tensor([1.0]), row_keys))
    assert not torch.equal(first, hard_negatives(embeddings, keys, there, torch.tensor([1.0]), row_keys + 1))


def test_without_matching_a_model_is_bit_for_bit_what_it_was() -> None:
    plain, matched = model(matching=0.0), model(matching=0.5)
    assert len(plain.objectives) == 0
    assert plain.loss_weights == {"space": 1.0}
    assert matched.loss_weights == {"space": 1.0, "matching/matching": 0.5}
    theirs = matched.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in plain.state_dict().items())
    cells = torch.arange(1, 7)
    inputs = batch(cells, cells)
    losses = []
    for each in (plain, matched):
        torch.manual_seed(1)
        losses.append(totals(each.train(), inputs)["space"])
    assert torch.equal(*losses)
    matched.load_state_dict({**theirs, **plain.state_dict()})
    one, other = (predictions(each.eval(), inputs)["space"]["values"] for each in (plain, matched))
    assert torch.equal(one, other)


@pytest.mark.parametrize("fusion", ["concat", pytest.param("transformer", marks=pytest.mark.slow)])
def test_a_pair_that_only_both_columns_together_tell_is_learned(fusion: str) -> None:
    """Pairs (a, a + shift) for each of six categories: each column alone has the same values in true and mixed rows."""
    trained = model(fusion=fusion).train()
    parameters = [p for p in trained.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(0)
    found = []
    for step in range(60):
        one = torch.randint(1, 7, (32,), generator=generator)
        other = (one + 1) % 6 + 1
        # The same kind of pair is no negative of another one of it.
        inputs = batch(one, other, keys=torch.stack([one, other + 100], dim=1))
        torch.manual_seed(step)
        matching = trained(inputs).losses["matching/matching"]
        loss = matching.total.sum() / matching.count.sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter -= 0.6 * gradient
        found.append(loss.item())
    assert found[0] > 0.5
    assert sum(found[-5:]) / 5 < 0.2


def test_rows_with_nothing_to_be_told_from_do_not_count() -> None:
    trained = model().train()
    cells = torch.arange(1, 5)
    same = torch.ones(4, 2, dtype=torch.int64)  # all rows hold the same
    inputs = batch(cells, cells, keys=same)
    matching = trained(inputs).losses["matching/matching"]
    assert matching.total.sum() == 0
    assert matching.count.sum() == 4


def test_a_weight_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"weight\b.*found"):
        ImageTextMatchingConfig(weight=-1.0)


def test_a_target_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="target is label; expected the one contrastive target among space"):
        ModelConfig(
            encoders={name: CategoryEmbeddingConfig() for name in SCHEMA.names},
            heads={"space": ContrastiveHeadConfig()},
            objectives={"matching": ImageTextMatchingConfig(target="label")},
        ).build(SCHEMA)
