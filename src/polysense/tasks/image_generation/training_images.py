"""What is kept of the training images, so that generated ones can be judged wherever the model goes.

Thumbnails say whether a generated image is a copy of a training image. A linear classifier over feature vectors that
need no weights says which class an image shows, where a column of the table says so of the training images: a ridge
regression onto the classes (Hastie et al., "The Elements of Statistical Learning", 2009, section 4.2), since it is
fitted at once and is the same in every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polysense.core.files import replacing
from polysense.evaluation.metrics.base import chunks

__all__ = ["TrainingImages", "fit_classifier"]

_FILE = "training_images.npz"
_RIDGE = 0.1  # of the features' mean square, which is 1


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Thumbnails and a classifier.

    Attributes:
        thumbnails: uint8 [images, values], see `pixels.thumbnail`; of as many as were kept.
        weights: float64 [features + 1, classes], the last row their bias; of no class where there is nothing to tell.
    """

    thumbnails: np.ndarray
    weights: np.ndarray

    def nearest(self, thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest training image of each of some thumbnails, uint8 [images, values].

        Returns:
            Which it is, int64 [images], and how far, float64 [images]: the root mean square difference of the
            thumbnails' values, in levels from 0 to 255.
        """
        index, distance = np.zeros(len(thumbnails), dtype=np.int64), np.full(len(thumbnails), np.nan)
        if not len(self.thumbnails):
            return index, distance
        own = self.thumbnails.astype(np.float64)
        sizes = np.einsum("nv,nv->n", own, own)
        for rows in chunks(len(thumbnails), len(own)):
            asked = thumbnails[rows].astype(np.float64)
            squares = np.einsum("nv,nv->n", asked, asked)[:, None] + sizes - 2 * asked @ own.T
            index[rows] = squares.argmin(axis=1)
        difference = thumbnails.astype(np.float64) - own[index]
        return index, np.sqrt(np.square(difference).mean(axis=1))

    def classes_of(self, features: np.ndarray) -> np.ndarray:
        """The class that each image shows by its features, float [images, features]; -1 where none are known."""
        if not self.weights.shape[1]:
            return np.full(len(features), -1)
        result: np.ndarray = (features @ self.weights[:-1] + self.weights[-1]).argmax(axis=1)
        return result

    def write(self, folder: Path) -> None:
        """Writes a file into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / _FILE) as part, part.open("wb") as stream:
            np.savez_compressed(stream, thumbnails=self.thumbnails, weights=self.weights)

    @staticmethod
    def read(folder: Path, num_values: int, num_features: int, num_classes: int) -> TrainingImages:
        """What `write` wrote.

        Raises:
            ValueError: It is not of these sizes.
        """
        with np.load(folder / _FILE, allow_pickle=False) as stored:
            thumbnails, weights = stored["thumbnails"], stored["weights"]
        for name, array, shape in (
            ("thumbnails", thumbnails, (len(thumbnails), num_values)),
            ("weights", weights, (num_features + 1, num_classes)),
        ):
            if array.shape != shape:
                raise ValueError(f"{_FILE}: found {name} of the shape {array.shape}, expected {shape}")
        return TrainingImages(thumbnails, weights)


def fit_classifier(features: Sequence[np.ndarray], classes: Sequence[int], num_classes: int) -> np.ndarray:
    """The weights of `TrainingImages`, every class counting the same.

    Args:
        features: Of each image, float [features].
        classes: Of each image.
        num_classes: 0: nothing is to be told.
    """
    values = np.stack(features).astype(np.float64)
    if not num_classes:
        return np.zeros((values.shape[1] + 1, 0))
    truth = np.eye(num_classes)[np.array(classes)]
    shares = truth.sum(axis=0)
    weights = (truth / np.maximum(shares, 1)).sum(axis=1)
    weights /= weights.sum()
    means = weights @ values, weights @ truth
    centered = values - means[0]
    gram = (centered * weights[:, None]).T @ centered
    gram[np.diag_indices_from(gram)] += _RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
    slope = np.linalg.solve(gram, (centered * weights[:, None]).T @ (truth - means[1]))
    return np.vstack([slope, means[1] - means[0] @ slope])
