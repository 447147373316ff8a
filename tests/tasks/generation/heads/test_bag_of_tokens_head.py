"""Unimodal losses of texts: each column alone predicts the bag of tokens, as the summary does beside a decoder."""

from __future__ import annotations

import pytest
import torch
from head_helpers import of

from polysense.core.batch import Batch, ColumnBatch
from polysense.core.schema import Schema
from polysense.core.tokens import Fused, FusedColumn, Tokens
from polysense.errors import ConfigError
from polysense.modalities.number.record import NumberColumn
from polysense.nn.objectives.base import Blueprint
from polysense.nn.objectives.unimodal import UnimodalConfig, UnimodalHeads
from polysense.tasks.generation.heads.bag_of_tokens_head import BagOfTokensHead
from polysense.tasks.generation.heads.ctc_attention import CTCAttentionHeadConfig
from polysense.tasks.generation.heads.decoder import GenerationHead, GenerationHeadConfig
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

WIDTH, ROWS = 8, 3
TARGET = GenerationTarget(
    name="answer", columns=("answer",), vocabulary_size=10, padding_id=8, begin_id=9, end_id=0, max_length=3
)


def truth() -> GenerationTruth:
    """Two answers of one and two tokens, and a row without any."""
    values = torch.tensor([[9, 3, 0, 8], [9, 4, 5, 0], [8, 8, 8, 8]])
    lengths = torch.tensor([3, 4, 0])
    return GenerationTruth(values=values, present=lengths > 0, lengths=lengths)


def fused(seed: int = 0) -> Fused:
    summary = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed))
    tokens = Tokens(summary[:, None], torch.ones(ROWS, 1, dtype=torch.bool), (1,))
    column = FusedColumn(tokens, summary, tokens.present, torch.ones(ROWS, 1, dtype=torch.int64))
    return Fused(summary, {"photo": column})


def test_the_bag_of_a_text_is_learned_from_a_summary() -> None:
    torch.manual_seed(0)
    head = BagOfTokensHead(TARGET, WIDTH)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(80):
        loss = head.loss(head(fused(), of(fused())), truth())["loss"]
        optimizer.zero_grad()
        loss.total.sum().backward()
        optimizer.step()
    found = head(fused(), of(fused())).detach().exp()
    ids = head.bag.ids.tolist()
    assert found[0, ids.index(3)] > 0.9
    assert found[1, [ids.index(4), ids.index(5)]].sum() > 0.9
    assert loss.count.tolist() == [1, 2, 0]
    assert loss.total[2] == 0, "a row without a text"


def test_each_column_alone_has_it() -> None:
    columns = (
        NumberColumn(name="photo", modality="number", mean=0.0, std=1.0),
        NumberColumn(name="question", modality="number", mean=0.0, std=1.0),
    )
    blueprint = Blueprint(Schema(columns=columns, targets=(TARGET,)), WIDTH, {"answer": GenerationHeadConfig()})
    objective = UnimodalConfig(weight=0.5).build(blueprint)
    assert isinstance(objective, UnimodalHeads)
    heads = objective.by_column()["answer"]
    assert list(heads) == ["photo", "question"]
    assert all(isinstance(head, BagOfTokensHead) for head in heads.values())
    assert dict(objective.weights) == {"answer/photo": 0.5, "answer/question": 0.5}
    # What a loss is divided by is the bag's tokens, not the decoder's.
    present = ColumnBatch(values=torch.zeros(ROWS, 1, 1), lengths=torch.ones(ROWS, 1, dtype=torch.int64))
    batch = Batch(
        columns={"photo": present, "question": present}, truths={"answer": truth()}, rows=torch.arange(ROWS),
        weights=torch.ones(ROWS),
    )  # fmt: skip
    decoder = GenerationHeadConfig(num_heads=2).build(TARGET, WIDTH)
    counts = objective.count(batch, {"answer": decoder})  # type: ignore[dict-item]
    assert {name: count.tolist() for name, count in counts.items()} == {
        "answer/photo": [1, 2, 0], "answer/question": [1, 2, 0]
    }  # fmt: skip


def test_a_decoder_may_have_it_of_the_fused_summary() -> None:
    torch.manual_seed(0)
    plain = GenerationHeadConfig(num_heads=2).build(TARGET, WIDTH)
    assert isinstance(plain, GenerationHead)
    assert list(plain.loss_weights) == ["loss"]
    head = GenerationHeadConfig(num_heads=2, bag_weight=0.3).build(TARGET, WIDTH)
    assert dict(head.loss_weights) == {"loss": 1.0, "bag": 0.3}
    for packing in (True, False):
        config = GenerationHeadConfig(num_heads=2, bag_weight=0.3, packing=packing)
        head = config.build(TARGET, WIDTH).train()
        rows = head.loss(head(fused(), of(fused()), truth()), truth())
        rows["bag"].total.sum().backward()
        learned = {name for name, each in head.named_parameters() if each.grad is not None and each.grad.any()}
        assert learned == {"bag_readout.0.weight", "bag_readout.0.bias", "bag_readout.1.weight", "bag_readout.1.bias"}
        assert torch.equal(rows["bag"].count, torch.tensor([1.0, 2.0, 0.0]))


def test_a_ctc_has_none() -> None:
    with pytest.raises(ConfigError, match="bag_weight: the CTC looks at the column anyway"):
        CTCAttentionHeadConfig(bag_weight=0.5)
