"""A head that does not read a column: nothing of that column reaches it, in training and when it writes."""

from __future__ import annotations

import pytest
import torch
from model_helpers import predictions, totals

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.schema import Schema
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.category.record import CategoryColumn
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.modalities.text.record import TextColumn
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.fusion.transformer import TransformerFusionConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth
from polysense.tasks.retrieval.heads.contrastive import ContrastiveHeadConfig
from polysense.tasks.retrieval.record import RetrievalTarget

ROWS = 5
SCHEMA = Schema(
    columns=(
        CategoryColumn(name="image", num_categories=9),
        TextColumn(name="caption", vocabulary_size=20, typical_length=6),
    ),
    targets=(
        RetrievalTarget(name="space", columns=("image", "caption"), members=("image", "caption")),
        GenerationTarget(
            name="text", columns=("caption",), vocabulary_size=20, padding_id=0, begin_id=1,
            end_id=2, max_length=6,
        ),
    ),
)  # fmt: skip


def model(fusion: str, exclude: tuple[str, ...] = ("caption",), missing: str = "masked") -> MultimodalModel:
    torch.manual_seed(0)
    fusions = {"concat": ConcatFusionConfig(), "transformer": TransformerFusionConfig(num_heads=2)}
    return ModelConfig(
        width=16,
        encoders={"image": CategoryEmbeddingConfig(), "caption": TextTransformerConfig(num_layers=1, num_heads=2)},
        fusion=fusions[fusion],
        heads={
            "space": ContrastiveHeadConfig(size=8),
            "text": GenerationHeadConfig(num_layers=1, num_heads=2, exclude=exclude, packing=False),
        },
        missing=missing,  # type: ignore[arg-type]
    ).build(SCHEMA)


def batch(length: int = 6, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(3, 20, (ROWS, 1, length), generator=generator, dtype=torch.int32)
    lengths = torch.randint(1, length + 1, (ROWS, 1), generator=generator)
    answers = torch.tensor([[1, 5, 6, 7, 2, 0]]).repeat(ROWS, 1)
    return Batch(
        rows=torch.arange(ROWS),
        columns={
            "image": ColumnBatch(
                values=torch.arange(1, ROWS + 1)[:, None, None], lengths=torch.ones(ROWS, 1, dtype=torch.int64)
            ),
            "caption": ColumnBatch(values=words, lengths=lengths),
        },
        truths={
            "space": ValueTruth(values=torch.arange(1, 2 * ROWS + 1).view(ROWS, 2), present=torch.ones(ROWS).bool()),
            "text": GenerationTruth(
                values=answers, present=torch.ones(ROWS).bool(), lengths=torch.full((ROWS,), 5, dtype=torch.int64)
            ),
        },
        keys=torch.arange(ROWS) * 77,
    )


def without_caption(inputs: Batch) -> Batch:
    return inputs.only(["image"])


CHANGED = {
    "other words": lambda: batch(seed=3),
    "longer": lambda: batch(length=17, seed=4),
    "absent": lambda: without_caption(batch()),
}


@pytest.mark.parametrize("missing", ["masked", "learned"])
@pytest.mark.parametrize("fusion", ["concat", "transformer"])
@pytest.mark.parametrize("change", list(CHANGED))
def test_changing_the_caption_changes_neither_text_nor_loss(change: str, fusion: str, missing: str) -> None:
    trained = model(fusion, missing=missing)
    trained.eval()
    inputs, other = batch(), CHANGED[change]()
    one, two = predictions(trained, inputs)["text"], predictions(trained, other)["text"]
    assert torch.equal(one["values"], two["values"])
    assert torch.equal(one["scores"], two["scores"])  # type: ignore[arg-type]
    assert torch.equal(one["likelihood"], two["likelihood"])  # type: ignore[arg-type]
    losses = [totals(trained, each)["text"] for each in (inputs, other)]
    assert torch.equal(losses[0], losses[1])


def test_in_training_no_gradient_comes_from_the_text_to_the_caption() -> None:
    trained = model("transformer").train()
    inputs = batch()
    loss = totals(trained, inputs)["text"]
    caption = list(trained.column_encoders["caption"].parameters())
    gradients = torch.autograd.grad(loss, caption, allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients)
    image = torch.autograd.grad(totals(trained, inputs)["text"], list(trained.column_encoders["image"].parameters()))
    assert any(gradient.any() for gradient in image)


@pytest.mark.parametrize("fusion", ["concat", "transformer"])
def test_the_same_head_leaks_where_it_reads_the_caption(fusion: str) -> None:
    """So that the tests above can fail: with a transformer the image's own tokens hold what the caption says."""
    trained = model(fusion, exclude=()).eval()
    inputs, other = batch(), batch(seed=3)
    losses = [totals(trained, each)["text"] for each in (inputs, other)]
    assert not torch.equal(losses[0], losses[1])


def test_the_other_head_reads_on() -> None:
    blind, seeing = model("transformer").eval(), model("transformer", exclude=()).eval()
    assert torch.equal(predictions(blind, batch())["space"]["values"], predictions(seeing, batch())["space"]["values"])


def test_nothing_is_left_of_what_a_head_excludes() -> None:
    trained = model("concat").eval()
    fused = trained.fused(batch(), "text")
    assert fused.columns["caption"].lengths.shape == (ROWS, 0)
    assert fused.columns["caption"].tokens.grid == (1,)
    assert not fused.columns["caption"].tokens.values.any()
    assert trained.fused(batch(), "space").columns["caption"].present.all()
