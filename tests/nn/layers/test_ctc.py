"""CTC against every alignment, written out."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from polysense.nn.layers.ctc import PrefixScores, collapse, ctc_losses, frames_needed

BLANK, END = 0, 2
FRAMES, VOCABULARY = 5, 6
SPOKEN = (3, 4, 5)


def log_probabilities(rows: int = 3, frames: int = FRAMES, seed: int = 0) -> Tensor:
    """Of frames that say a blank or one of three tokens."""
    logits = 2 * torch.randn(rows, frames, VOCABULARY, generator=torch.Generator().manual_seed(seed))
    logits[:, :, [1, END]] = -math.inf
    return logits.log_softmax(dim=-1)


def spelled(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(path) if token != BLANK)


def by_alignments(row: Tensor, frames: int) -> dict[tuple[int, ...], float]:
    """The probability of every text that the frames can say."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product((BLANK, *SPOKEN), repeat=frames):
        log_p = sum(float(row[frame, token]) for frame, token in enumerate(path))
        found[spelled(path)] = found.get(spelled(path), 0.0) + math.exp(log_p)
    return found


def padded(texts: list[tuple[int, ...]], length: int = FRAMES + 1) -> tuple[Tensor, Tensor]:
    values = torch.tensor([list(text) + [BLANK] * (length - len(text)) for text in texts])
    return values, torch.tensor([len(text) for text in texts])


def test_the_loss_is_the_sum_over_all_alignments() -> None:
    probabilities = log_probabilities()
    num_frames = torch.tensor([5, 4, 2])
    for text in ((), (3,), (3, 4), (3, 3), (5, 5, 4)):
        values, lengths = padded([text] * 3)
        losses = ctc_losses(probabilities, num_frames, values, lengths, BLANK)
        for row in range(3):
            whole = by_alignments(probabilities[row], int(num_frames[row])).get(text, 0.0)
            assert (int(frames_needed(values, lengths)[row]) <= int(num_frames[row])) == (whole > 0)
            assert float(losses[row]) == pytest.approx(-math.log(whole) if whole else 0.0, abs=1e-5)


def test_it_is_torchs_own_and_what_is_too_long_has_neither_loss_nor_gradient() -> None:
    logits = torch.randn(4, 9, VOCABULARY, generator=torch.Generator().manual_seed(1), requires_grad=True)
    known = logits.detach().log_softmax(-1)
    num_frames, (values, lengths) = torch.tensor([9, 6, 3, 0]), padded([(3, 4, 5, 3), (4,), (3, 3), (5,)], 7)
    found = ctc_losses(known, num_frames, values, lengths, BLANK)
    requested = F.ctc_loss(known.transpose(0, 1)[:, :2], values[:2], num_frames[:2], lengths[:2],
                        reduction="none")  # fmt: skip
    torch.testing.assert_close(found[:2], requested)
    assert float(found[2]) == pytest.approx(
        -sum(float(known[2, frame, token]) for frame, token in enumerate((3, 0, 3))), abs=1e-5
    )
    assert float(found[3]) == 0.0
    values, lengths = padded([(3, 4, 5, 3), (4,), (3, 3, 3), (5,)], 7)
    ctc_losses(logits.log_softmax(-1), num_frames, values, lengths, BLANK).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum(dim=(1, 2)).gt(0).tolist() == [True, True, False, False]
    # Frames beyond the end have none either.
    assert not logits.grad[1, 6:].any()


def test_collapse() -> None:
    path = torch.tensor([[0, 3, 3, 0, 3, 4], [5, 5, 5, 0, 0, 4], [0, 0, 0, 0, 0, 0], [4, 4, 3, 3, 3, 3]])
    valid = torch.tensor([[True] * 6, [True] * 5 + [False], [True] * 6, [False] * 6])
    texts, lengths = collapse(path, valid, BLANK)
    assert [text[:length] for text, length in zip(texts.tolist(), lengths.tolist(), strict=True)] == [
        [3, 3, 4],
        [5],
        [],
        [],
    ]
    assert [text[length:] for text, length in zip(texts.tolist(), lengths.tolist(), strict=True)] == [
        [],
        [0, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]


def test_prefix_scores_are_sums_over_all_texts_that_begin_so() -> None:
    probabilities, num_frames = log_probabilities(), torch.tensor([5, 3, 0])
    texts = [by_alignments(probabilities[row], int(num_frames[row])) for row in range(3)]
    for prefix in ((), (3,), (3, 3), (4, 3), (3, 4, 3), (5, 5, 5)):
        scores = PrefixScores(probabilities, num_frames, BLANK, END)
        for token in prefix:
            scores.advance(torch.full((3,), token))
        gains = scores().exp()
        for row in range(3):
            begins = sum(p for text, p in texts[row].items() if text[: len(prefix)] == prefix)
            if not begins:
                assert not gains[row].any()
                continue
            assert float(gains[row].sum()) == pytest.approx(1.0)
            assert float(gains[row, END]) == pytest.approx(texts[row].get(prefix, 0.0) / begins, abs=1e-7)
            for token in SPOKEN:
                longer = (*prefix, token)
                requested = sum(p for text, p in texts[row].items() if text[: len(longer)] == longer)
                assert float(gains[row, token]) == pytest.approx(requested / begins, abs=1e-7)


def test_prefix_scores_follow_other_rows() -> None:
    probabilities = log_probabilities(2)
    num_frames = torch.tensor([5, 5])
    scores = PrefixScores(probabilities, num_frames, BLANK, END)
    scores()
    scores.reorder(torch.tensor([0, 0, 1, 1]))
    scores.advance(torch.tensor([3, 4, 5, 3]))
    scores.reorder(torch.tensor([1, 0, 3, 3]))
    scores.advance(torch.tensor([4, END, 3, BLANK]))
    for row, (origin, prefix) in enumerate(((0, (4, 4)), (0, (3,)), (1, (3, 3)), (1, (3,)))):
        alone = PrefixScores(probabilities[origin : origin + 1], num_frames[:1], BLANK, END)
        for token in prefix:
            alone.advance(torch.tensor([token]))
        torch.testing.assert_close(scores()[row], alone()[0])


def test_ten_minutes_of_frames_are_exact_enough() -> None:
    """15,000 frames, of which a few speak: a sum over alignments that can be written down."""
    frames = 15_000
    silence = torch.tensor([0.999, 0.0, 0.0, 0.0005, 0.0003, 0.0002]).log()
    probabilities = silence.expand(1, frames, -1).clone()
    values, lengths = padded([(3, 4, 3)])
    whole = -float(ctc_losses(probabilities.double(), torch.tensor([frames]), values, lengths, BLANK))
    scores = PrefixScores(probabilities, torch.tensor([frames]), BLANK, END)
    found = 0.0
    for token in (3, 4, 3):
        found += float(scores()[0, token])
        scores.advance(torch.tensor([token]))
    assert found + float(scores()[0, END]) == pytest.approx(whole, rel=1e-4)
