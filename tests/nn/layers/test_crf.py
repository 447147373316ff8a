"""The chain's sums against an enumeration of all labelings."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from polysense.nn.layers.crf import LinearChainCRF

LABELS, STEPS = 3, 4


def enumerated(crf: LinearChainCRF, emissions: Tensor, length: int) -> tuple[list[tuple[int, ...]], Tensor]:
    """All labelings of a row's first steps, and their scores."""
    paths = list(itertools.product(range(LABELS), repeat=length))
    start, follow = crf.begin + crf.never_first, crf.transitions + crf.never_next
    scores = [
        start[path[0]]
        + sum(emissions[step, label] for step, label in enumerate(path))
        + sum((follow[a, b] for a, b in itertools.pairwise(path)), torch.zeros(()))
        + crf.end[path[-1]]
        for path in paths
    ]
    return paths, torch.stack(scores)


@pytest.fixture
def case() -> tuple[LinearChainCRF, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    may_follow = torch.ones(LABELS, LABELS, dtype=torch.bool)
    may_follow[0, 2] = False
    crf = LinearChainCRF(LABELS, torch.tensor([True, True, False]), may_follow)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    emissions = torch.randn(4, STEPS, LABELS, generator=generator, requires_grad=True)
    mask = torch.arange(STEPS) < torch.tensor([4, 2, 1, 0])[:, None]
    labels = torch.tensor([[0, 1, 2, 1], [1, 2, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0]])
    return crf, emissions, mask, labels


def test_the_likelihood_and_its_gradients(case: tuple[LinearChainCRF, Tensor, Tensor, Tensor]) -> None:
    crf, emissions, mask, labels = case
    found = crf.log_likelihood(emissions, labels, mask)
    expected = []
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        if not length:
            expected.append(torch.zeros(()))
            continue
        paths, scores = enumerated(crf, emissions[row], length)
        expected.append(scores.log_softmax(dim=0)[paths.index(tuple(labels[row, :length].tolist()))])
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-5)
    requested = [emissions, *crf.parameters()]
    ours = torch.autograd.grad(found.sum(), requested)
    theirs = torch.autograd.grad(torch.stack(expected).sum(), requested)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_best_and_the_marginals(case: tuple[LinearChainCRF, Tensor, Tensor, Tensor]) -> None:
    crf, emissions, mask, _ = case
    best, marginals = crf.best(emissions, mask), crf.marginals(emissions, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        assert (best[row, length:] == 0).all()
        if not length:
            continue
        paths, scores = enumerated(crf, emissions[row], length)
        assert tuple(best[row, :length].tolist()) == paths[int(scores.argmax())]
        shares = scores.softmax(dim=0)
        for step in range(length):
            for label in range(LABELS):
                own = sum(share for path, share in zip(paths, shares, strict=True) if path[step] == label)
                torch.testing.assert_close(marginals[row, step, label], torch.as_tensor(own), atol=1e-5, rtol=1e-4)


def test_padding_changes_nothing(case: tuple[LinearChainCRF, Tensor, Tensor, Tensor]) -> None:
    crf, emissions, mask, labels = case
    junk = torch.where(mask[:, :, None], emissions, 1e3)
    assert torch.equal(crf.log_likelihood(junk, labels, mask)[:3], crf.log_likelihood(emissions, labels, mask)[:3])
    assert torch.equal(crf.best(junk, mask), crf.best(emissions, mask))
