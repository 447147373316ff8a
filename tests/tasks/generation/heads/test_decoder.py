"""The decoder: cache, beams, rows on their own, losses by token."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from head_helpers import Probe, Rows
from torch.nn import functional as F

from polysense.core.schema import Target
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.decoding.beam import BeamSearchConfig
from polysense.nn.decoding.greedy import GreedyConfig
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

WIDTH, ROWS, LENGTH, VOCABULARY = 32, 6, 9, 40


def target(vocabulary: int = VOCABULARY, max_length: int = 12) -> Target:
    return GenerationTarget(
        name="caption",
        columns=("caption",),
        vocabulary_size=vocabulary,
        padding_id=0,
        begin_id=1,
        end_id=2,
        max_length=max_length,
    )


def fused(seed: int = 0, rows: int = ROWS) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, LENGTH, generator=generator) > 0.3
    mask[-1] = False
    values = torch.randn(rows, LENGTH, WIDTH, generator=generator)
    pooled = torch.randn(rows, WIDTH, generator=generator)
    return Rows(Tokens(values, mask, (LENGTH,)), pooled, {"a": (0, 4), "b": (4, LENGTH)}, {})


def head(
    seed: int = 0,
    *,
    sharp: float = 4.0,
    of: Target | None = None,
    beam_size: int = 1,
    length_penalty: float = 0.6,
    **settings: Any,
) -> Probe:
    """An untrained head whose choices are far from even, and whose texts end somewhere."""
    torch.manual_seed(seed)
    if beam_size > 1:
        settings["decoding"] = BeamSearchConfig(beam_size=beam_size, length_penalty=length_penalty)
    settings = {"tie_embeddings": False, **settings}
    made = GenerationHeadConfig(dropout=0.0, **settings).build(of or target(), WIDTH).eval()
    with torch.no_grad():
        for parameter in [*made.blocks.parameters(), *([] if made.output is None else made.output.parameters())]:
            parameter.mul_(sharp)
        made.bias[2] = 6.0
    return Probe(made)


def write(one: Probe, source: Rows, *, use_cache: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row's first text, and its score."""
    generated = one.write(source, use_cache=use_cache)
    return generated.ids[:, 0], generated.scores[:, 0]


def texts(lengths: list[int], seed: int = 0) -> GenerationTruth:
    generator = torch.Generator().manual_seed(seed)
    values = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for row, length in enumerate(lengths):
        if length:
            values[row, :length] = torch.randint(3, VOCABULARY, (length,), generator=generator)
            values[row, 0], values[row, length - 1] = 1, 2
    counts = torch.tensor(lengths)
    return GenerationTruth(values=values, present=counts > 0, lengths=counts)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_cache_changes_nothing(beam_size: int) -> None:
    lengths = set()
    for seed in range(3):
        one = head(seed, beam_size=beam_size)
        with_cache, scores = write(one, fused(seed))
        exclude, slow_scores = write(one, fused(seed), use_cache=False)
        assert torch.equal(with_cache, exclude)
        torch.testing.assert_close(scores, slow_scores)
        lengths |= set((with_cache != 0).sum(dim=1).tolist())
    assert len(lengths) > 1, "texts of one length alone show little"


def test_the_score_is_what_teacher_forcing_says_of_the_text() -> None:
    for beam_size in (1, 4):
        one = head(beam_size=beam_size)
        with torch.no_grad():
            # The same distribution: writing never gives padding or a second beginning.
            one.bias[:2] = -1e4
        generated, scores = write(one, fused())
        values = torch.cat([torch.ones(ROWS, 1, dtype=torch.int64), generated], dim=1)
        lengths = (values != 0).sum(dim=1)
        known = GenerationTruth(values=values, present=torch.ones(ROWS, dtype=torch.bool), lengths=lengths)
        with torch.no_grad():
            found = one.read(fused(), known)
        assert found["likelihood"] is not None
        torch.testing.assert_close(found["likelihood"][:, 0], scores, rtol=1e-4, atol=1e-4)
        assert torch.equal(found["likelihood"][:, 2], (lengths - 1).float())
        if beam_size == 1:
            assert torch.equal(found["likelihood"][:, 1], found["likelihood"][:, 2]), (
                "greedy: each token is the likeliest"
            )


def test_a_wide_beam_finds_the_likeliest_text_of_all() -> None:
    """Every text of at most 3 tokens out of 3 words is scored by hand."""
    small = target(vocabulary=6, max_length=3)
    one = head(beam_size=60, sharp=2.0, of=small, length_penalty=0.0)
    with torch.no_grad():
        one.bias[2] = 0.5
        one.bias[:2] = -1e4
    source = fused()
    best: list[float] = [-math.inf] * ROWS
    for length in range(4):
        for words in itertools.product((3, 4, 5), repeat=length):
            ids = [1, *words] + ([2] if length < 3 else [])
            values = torch.tensor([ids] * ROWS)
            known = GenerationTruth(
                values=values, present=torch.ones(ROWS, dtype=torch.bool), lengths=torch.full((ROWS,), len(ids))
            )
            with torch.no_grad():
                scores = one.read(source, known, write=False)["likelihood"]
            assert scores is not None
            best = [max(a, b) for a, b in zip(best, scores[:, 0].tolist(), strict=True)]
    torch.testing.assert_close(write(one, source)[1], torch.tensor(best), rtol=1e-4, atol=1e-4)


def test_a_length_penalty_lengthens() -> None:
    lengths = []
    for penalty in (-2.0, 0.0, 4.0):
        one = head(beam_size=6, length_penalty=penalty, sharp=2.0)
        with torch.no_grad():
            one.bias[2] = 3.0
        generated, _ = write(one, fused())
        lengths.append(int((generated != 0).sum()))
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_row_does_not_depend_on_its_batch_mates(beam_size: int) -> None:
    one = head(beam_size=beam_size)
    whole = fused()
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    mixed = Rows(
        Tokens(whole.tokens.values[order], whole.tokens.mask[order], whole.tokens.grid),
        whole.pooled[order],
        whole.spans,
        {},
    )
    other = Rows(
        Tokens(
            torch.cat([whole.tokens.values[:1], 9 * fused(7).tokens.values[1:]]),
            torch.cat([whole.tokens.mask[:1], fused(7).tokens.mask[1:]]),
            whole.tokens.grid,
        ),
        torch.cat([whole.pooled[:1], fused(7).pooled[1:]]),
        whole.spans,
        {},
    )
    generated, scores = write(one, whole)
    again, again_scores = write(one, mixed)
    width = max(generated.shape[1], again.shape[1])
    assert torch.equal(
        F.pad(generated, (0, width - generated.shape[1]))[order], F.pad(again, (0, width - again.shape[1]))
    )
    assert torch.equal(scores[order], again_scores), "bit for bit at one shape"
    changed, changed_scores = write(one, other)
    assert changed_scores[0] == scores[0]
    first = [ids for ids in generated[0].tolist() if ids]
    assert [ids for ids in changed[0].tolist() if ids] == first


def test_junk_in_masked_tokens_changes_nothing() -> None:
    one = head()
    source = fused()
    junk = torch.where(source.tokens.mask[:, :, None], source.tokens.values, torch.tensor(1e6))
    spoilt = Rows(Tokens(junk, source.tokens.mask, source.tokens.grid), source.pooled, source.spans, {})
    assert torch.equal(write(one, source)[0], write(one, spoilt)[0])


def test_the_loss_is_a_sum_over_tokens() -> None:
    one = head(label_smoothing=0.0)
    known = texts([5, 3, 0, 8, 2, 4])
    outputs = one(fused(), known)
    losses, counts = one.row_losses(outputs, known), one.row_counts(known)
    assert counts.tolist() == [4, 2, 0, 7, 1, 3]
    for row, length in enumerate([5, 3, 0, 8, 2, 4]):
        logits = outputs.logits[row, : max(length - 1, 0)]
        expected = F.cross_entropy(logits, known.values[row, 1 : max(length, 1)], reduction="sum") if length else 0.0
        torch.testing.assert_close(losses[row], torch.as_tensor(expected).reshape(()))
    # Padded longer, with other batch mates: the same.
    longer = GenerationTruth(values=F.pad(known.values, (0, 5)), present=known.present, lengths=known.lengths)
    torch.testing.assert_close(one.row_losses(one(fused(), longer), longer), losses)
    whole = one.loss(outputs, known)["loss"]
    torch.testing.assert_close(whole.total.sum() / whole.count.sum(), losses.sum() / counts.sum())


def test_a_later_token_is_not_seen() -> None:
    one = head()
    known = texts([8] * ROWS)
    changed = known.values.clone()
    changed[:, 5:7] = 7
    other = GenerationTruth(values=changed, present=known.present, lengths=known.lengths)
    first, second = one(fused(), known).logits, one(fused(), other).logits
    torch.testing.assert_close(first[:, :5], second[:, :5])
    assert not torch.allclose(first[:, 5:], second[:, 5:])


@pytest.mark.parametrize("tie_embeddings", [True, False])
def test_every_parameter_gets_a_gradient_whatever_is_there(tie_embeddings: bool) -> None:
    one = head(tie_embeddings=tie_embeddings).train()
    for lengths in ([5, 3, 0, 8, 2, 4], [0] * ROWS):
        known = texts(lengths) if any(lengths) else GenerationTruth(
            values=torch.zeros(ROWS, 2, dtype=torch.int64),
            present=torch.zeros(ROWS, dtype=torch.bool),
            lengths=torch.zeros(ROWS, dtype=torch.int64),
        )  # fmt: skip
        one.zero_grad()
        one.row_losses(one(fused(), known), known).sum().backward()
        for name, parameter in one.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert bool(parameter.grad.any()) == any(lengths), name


def test_wrong_settings() -> None:
    for settings in (
        {"hidden": 8},
        {"num_layers": 0},
        {"label_smoothing": 1.0},
    ):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            GenerationHeadConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="num_heads must divide"):
        GenerationHeadConfig(num_heads=5).build(target(), WIDTH)


def test_cut_where_the_recipe_says() -> None:
    one = head(decoding=GreedyConfig(max_new_tokens=4))
    with torch.no_grad():
        one.bias[2] = -1e4
    assert write(one, fused())[0].shape == (ROWS, 4)
