"""Feature vectors that nobody reads yet are not made.

Estimators are fitted when the networks beside them are trained. Until then pooling a frozen backbone's tokens for them
is lost work: over stored features it took a quarter of an epoch's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.model import MultimodalModel

__all__ = ["without_unread_features"]


@contextmanager
def without_unread_features(model: MultimodalModel) -> Iterator[None]:
    """Within it encoders give no features that only estimators read which are not fitted yet."""
    read = {
        column
        for head in model.by_target().values()
        if not isinstance(head, EnsembleHead) or any(each.is_fitted for each in head.named_estimators().values())
        for column in head.reads_features
    }
    paused = [encoder for name, encoder in model.column_encoders.items() if encoder.gives_features and name not in read]
    for encoder in paused:
        encoder.gives_features = False
    try:
        yield
    finally:
        for encoder in paused:
            encoder.gives_features = True
