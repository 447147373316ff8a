"""Packed texts: the losses and all gradients of padded ones, and nothing leaks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_helpers import Probe, Rows
from torch import Tensor

from polysense.core.tokens import Tokens
from polysense.nn.layers.decoder import DecoderBlock
from polysense.nn.layers.linear_cross_entropy import linear_cross_entropy
from polysense.nn.layers.packed import pack
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

WIDTH, MEMORY = 32, 5
LENGTHS = [4, 0, 7, 1, 3]


def inputs(seed: int = 0, lengths: list[int] = LENGTHS) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), WIDTH, generator=generator)
    memory = torch.randn(len(lengths), MEMORY, WIDTH, generator=generator)
    mask = torch.rand(len(lengths), MEMORY, generator=generator) > 0.4
    mask[:, 0] = True
    return tokens.requires_grad_(), memory.requires_grad_(), mask


def test_a_packed_block_is_the_padded_one() -> None:
    torch.manual_seed(0)
    block = DecoderBlock(WIDTH, 4)
    tokens, memory, mask = inputs()
    valid = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    weights = torch.randn(*tokens.shape)
    requested = block(tokens, memory, mask)[valid]
    gradients = torch.autograd.grad((requested * weights[valid]).sum(), [tokens, memory, *block.parameters()])
    packing = pack(torch.tensor(LENGTHS), max(LENGTHS), mask)
    assert len(packing.index) == 15
    found = packing.unpack(block.packed(packing.pack(tokens), memory, packing))
    torch.testing.assert_close(found[valid], requested, rtol=1e-5, atol=1e-6)
    assert not found[~valid].any()
    packed = torch.autograd.grad((found * weights).sum(), [tokens, memory, *block.parameters()])
    for one, other in zip(packed, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_nothing_leaks() -> None:
    torch.manual_seed(0)
    block = DecoderBlock(WIDTH, 4)
    tokens, memory, mask = inputs()
    packing = pack(torch.tensor(LENGTHS), max(LENGTHS), mask)
    found = packing.unpack(block.packed(packing.pack(tokens), memory, packing))
    for row, length in enumerate(LENGTHS):
        for position in range(length):
            of_tokens, of_memory = torch.autograd.grad(found[row, position].sum(), [tokens, memory], retain_graph=True)
            reached = of_tokens.abs().sum(dim=2) > 0
            allowed = torch.zeros_like(reached)
            allowed[row, : position + 1] = True
            assert torch.equal(reached, allowed), "own row, nothing later, exactly"
            read = of_memory.abs().sum(dim=2) > 0
            assert torch.equal(read[row], mask[row])
            assert not read[[other for other in range(len(LENGTHS)) if other != row]].any()


def head(packing: bool | str, *, vocabulary: int = 40, **settings: Any) -> Probe:
    target = GenerationTarget(
        name="caption", columns=("caption",), vocabulary_size=vocabulary,
        padding_id=0, begin_id=1, end_id=2, max_length=12,
    )  # fmt: skip
    torch.manual_seed(3)
    made = GenerationHeadConfig(dropout=0.0, packing=packing, **settings).build(target, WIDTH)  # type: ignore[arg-type]
    return Probe(made.train())


def texts(lengths: list[int], vocabulary: int = 40) -> GenerationTruth:
    generator = torch.Generator().manual_seed(1)
    values = torch.zeros(len(lengths), max(2, *lengths), dtype=torch.int64)
    for row, length in enumerate(lengths):
        values[row, :length] = torch.randint(3, vocabulary, (length,), generator=generator)
        if length:
            values[row, 0], values[row, length - 1] = 1, 2
    counts = torch.tensor(lengths)
    return GenerationTruth(values=values, present=counts > 0, lengths=counts)


def fused(rows: int) -> Rows:
    _, memory, mask = inputs(2, [1] * rows)
    mask = mask.clone()
    mask[-1] = False  # nothing but the summary
    pooled = torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(5)).requires_grad_()
    return Rows(Tokens(memory, mask, (MEMORY,)), pooled, {"a": (0, 2), "b": (2, MEMORY)}, {})


@pytest.mark.parametrize("tied", [True, False])
def test_each_rows_loss_and_every_gradient_are_the_padded_ones(tied: bool) -> None:
    lengths = [6, 0, 12, 2, 3, 9]
    known, source = texts(lengths), fused(len(lengths))
    requested: dict[str, Tensor] = {}
    for packing in (False, True):
        one = head(packing, tie_embeddings=tied)
        losses = one.row_losses(one(source, known), known)
        leaves = {"tokens": source.tokens.values, "pooled": source.pooled, **dict(one.named_parameters())}
        gradients = torch.autograd.grad((losses * torch.arange(1, 7)).sum(), list(leaves.values()))
        found = {"losses": losses, **dict(zip(leaves, gradients, strict=True))}
        if packing:
            for name, value in found.items():
                torch.testing.assert_close(value, requested[name], rtol=1e-5, atol=1e-5, msg=name)
                assert value.abs().max() > 0 or not value.numel(), f"{name} has no gradient, which shows nothing"
        requested = found


def test_a_rows_loss_reaches_no_other_row() -> None:
    lengths = [6, 0, 12, 2, 3, 9]
    one, known, source = head(True), texts(lengths), fused(6)
    losses = one.row_losses(one(source, known), known)
    for row, length in enumerate(lengths):
        of_tokens, of_pooled = torch.autograd.grad(
            losses[row], [source.tokens.values, source.pooled], retain_graph=True
        )
        others = [other for other in range(6) if other != row]
        assert not of_tokens[others].any()
        assert not of_pooled[others].any()
        assert bool(of_pooled[row].any()) == (length > 0)


def test_training_and_evaluation_say_the_same() -> None:
    lengths = [6, 0, 12, 2, 3, 9]
    known, source = texts(lengths), fused(6)
    for packing in (True, False):
        one = head(packing, label_smoothing=0.0)
        losses = one.row_losses(one(source, known), known)
        one.eval()
        likelihood = one.likelihood(source, known)
        torch.testing.assert_close(losses, -likelihood[:, 0])
        torch.testing.assert_close(one.row_losses(one(source, known), known), losses)


def test_auto_packs_where_padding_costs() -> None:
    one = head("auto")
    source = fused(4)
    mask = torch.ones(4, MEMORY, dtype=torch.bool)
    assert one._packing(texts([9, 9, 9, 9]), mask) is None
    assert one._packing(texts([9, 2, 3, 9]), mask) is not None
    empty = texts([0, 0, 0, 0])
    for packing in (True, "auto", False):
        one = head(packing)
        assert not one.row_losses(one(source, empty), empty).any(), "nothing to pack is nothing to learn from"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [1, 7, 16, 50])
def test_a_chunked_loss_is_the_dense_one(chunk: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(50, 16, generator=generator, requires_grad=True)
    weight = torch.randn(300, 16, generator=generator, requires_grad=True)
    bias = torch.randn(300, generator=generator, requires_grad=True)
    requested = torch.randint(0, 300, (50,), generator=generator)
    requested[::5] = 0
    scale = torch.rand(50, generator=generator)
    found: list[list[Tensor]] = []
    for size in (50, chunk):
        losses = linear_cross_entropy(hidden, weight, bias, requested, ignore=0, label_smoothing=smoothing, chunk=size)
        found.append([losses, *torch.autograd.grad((losses * scale).sum(), [hidden, weight, bias])])
    assert not found[0][0][::5].any()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-5)


def test_chunks_keep_no_logits() -> None:
    saved = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel()
        return tensor

    hidden = torch.randn(256, 8, requires_grad=True)
    weight = torch.randn(1000, 8, requires_grad=True)
    requested = torch.randint(1, 1000, (256,))
    sizes = []
    for chunk in (256, 32):
        saved = 0
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            linear_cross_entropy(hidden, weight, torch.zeros(1000), requested, ignore=0, chunk=chunk)
        sizes.append(saved)
    assert sizes[0] > 256 * 1000
    assert sizes[1] < 256 * 1000 / 2, "what is left is the inputs: 8 times the 8,000 weights"
