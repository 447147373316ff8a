"""A small conditional GAN of feature vectors, with spectral normalization.

The discriminator is spectrally normalized (Miyato et al., "Spectral Normalization for Generative Adversarial Networks",
ICLR 2018, section 2.1), so that its slope is bounded and two small networks reach a truce; it is told the class by
projection, D(x, y) = w . f(x) + v_y . f(x) (Miyato and Koyama, "cGANs with Projection Discriminator", ICLR 2018,
equation 3), and both are trained with the hinge loss. Each step shows every class alike, so a rare class borrows from
the others what all classes share: what SMOTE can't do.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from polysense.core.random import fold, generator

__all__ = ["generate"]

_NOISE, _WIDTH, _BATCH, _STEPS = 32, 128, 96, 1500
_LEARNING_RATE = 2e-4  # with these betas, as in the paper's table 1, setting B
_BETAS = (0.5, 0.999)
_JUDGED = 2  # discriminator's steps for each of the generator's


class _Generator(nn.Module):
    """Noise and a class to a vector."""

    def __init__(self, num_classes: int, size: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(num_classes, _NOISE)
        self.layers = nn.Sequential(
            nn.Linear(2 * _NOISE, _WIDTH), nn.LayerNorm(_WIDTH), nn.ReLU(),
            nn.Linear(_WIDTH, _WIDTH), nn.LayerNorm(_WIDTH), nn.ReLU(),
            nn.Linear(_WIDTH, size),
        )  # fmt: skip

    def forward(self, noise: Float[Tensor, "batch noise"], classes: Int[Tensor, " batch"]) -> Float[Tensor, "batch _"]:
        result: Tensor = self.layers(torch.cat([noise, self.classes(classes)], dim=1))
        return result


class _Discriminator(nn.Module):
    """How real a vector looks for its class."""

    def __init__(self, num_classes: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Linear(size, _WIDTH)), nn.LeakyReLU(0.1),
            spectral_norm(nn.Linear(_WIDTH, _WIDTH)), nn.LeakyReLU(0.1),
        )  # fmt: skip
        self.real = spectral_norm(nn.Linear(_WIDTH, 1))
        self.classes = spectral_norm(nn.Embedding(num_classes, _WIDTH))

    def forward(self, vectors: Float[Tensor, "batch _"], classes: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        hidden = self.layers(vectors)
        result: Tensor = self.real(hidden)[:, 0] + (self.classes(classes) * hidden).sum(dim=1)
        return result


def generate(
    features: Float[np.ndarray, "rows size"],
    labels: Int[np.ndarray, " rows"],
    requested: Int[np.ndarray, " synthetic"],
    *,
    seed: int,
    steps: int = _STEPS,
) -> Float[np.ndarray, "synthetic size"]:
    """Trains on real rows and makes up others; some seconds of a core.

    Args:
        features: Of real rows.
        labels: Their class ids.
        requested: The class of each row to make up; each has a real row.
        seed: Of weights and draws.
        steps: Of the generator.
    """
    known, own = np.unique(labels, return_inverse=True)
    assert np.isin(requested, known).all(), "a class without a real row can't be made up"
    mean, std = features.mean(axis=0), features.std(axis=0)
    scaled = torch.from_numpy((features - mean) / np.maximum(std, 1e-6)).float()
    order, counts = np.argsort(own, kind="stable"), np.bincount(own)
    starts = np.cumsum(counts) - counts
    draws = generator(seed, "gan")

    def classes(number: int) -> np.ndarray:
        return draws.integers(len(known), size=number)

    def noise(number: int) -> Float[Tensor, "batch noise"]:
        return torch.from_numpy(draws.standard_normal((number, _NOISE))).float()

    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(int(fold(seed, "gan weights")) % 2**63)
        maker, judge = _Generator(len(known), features.shape[1]), _Discriminator(len(known), features.shape[1])
        optimizers = [
            torch.optim.Adam(part.parameters(), lr=_LEARNING_RATE * factor, betas=_BETAS)
            for part, factor in ((maker, 1.0), (judge, 2.0))
        ]
        for step in range(steps * (1 + _JUDGED)):
            wanted = classes(_BATCH)
            ids, vectors = torch.from_numpy(wanted), maker(noise(_BATCH), torch.from_numpy(wanted))
            if step % (1 + _JUDGED) == _JUDGED:
                loss, optimizer = -judge(vectors, ids).mean(), optimizers[0]
            else:
                real = classes(_BATCH)
                shown = scaled[order[starts[real] + draws.integers(counts[real])]]
                loss = (1 - judge(shown, torch.from_numpy(real))).relu().mean()
                loss = loss + (1 + judge(vectors.detach(), ids)).relu().mean()
                optimizer = optimizers[1]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            ids = torch.from_numpy(np.searchsorted(known, requested))
            made = maker.eval()(noise(len(requested)), ids)
    result: np.ndarray = made.double().numpy() * std + mean
    return result
