"""Frozen features of a table's rows: what a model has made of some columns, before a head makes a prediction of it.

Only the chosen columns are there, as far as the model can tell; the others are masked, as a missing cell is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.sample import Unreadable
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError
from polysense.nn.model import MultimodalModel
from polysense.workflows.representation.embed import read_rows, reconstructed_from, row_vectors, shared_space

__all__ = ["FeatureKind", "Features", "choose_features", "features", "random_model"]

FeatureKind: TypeAlias = Literal["space", "code", "fused", "tokens", "vectors"]

_MEANINGS: dict[FeatureKind, str] = {
    "space": "embeddings of the joint space, averaged over the row's columns",
    "code": "the code of the reconstruction",
    "fused": "the summary of the fused columns",
    "tokens": "the mean of each encoder's own tokens, concatenated over the columns",
    "vectors": "what preprocessing makes of cells without an encoder, one column's vector beside the other's",
}


@dataclass(frozen=True, kw_only=True)
class Features:
    """What is read off a model.

    Attributes:
        kind: "space", "code", "fused", "tokens" or "vectors".
        columns: Of which input columns.
        description: In words.
    """

    kind: FeatureKind
    columns: tuple[str, ...]
    description: str


def choose_features(bundle: Bundle, kind: str = "auto", columns: Sequence[str] | None = None) -> Features:
    """Settles what is read off a model.

    Args:
        bundle: The model.
        kind: "auto": what the model was trained to say of a row, as in `embeddings`. Places where there is a joint
            embedding space; else the code where columns are reconstructed; else the fused summary.
        columns: Input columns; None: all (all that share the space).

    Raises:
        ConfigError: There is no such kind, column or joint embedding space.
    """
    space, names = shared_space(bundle), bundle.schema.names
    if kind not in ("auto", *get_args(FeatureKind)):
        raise ConfigError(f"features: found {kind!r}, expected auto, {', '.join(get_args(FeatureKind))}")
    if kind == "space" and space is None:
        raise ConfigError("features: the model has no joint embedding space; expected auto, fused or tokens")
    code = reconstructed_from(bundle)
    if kind == "code" and code is None:
        raise ConfigError(
            "features: the model reconstructs no columns, so it has no code; expected auto, fused or tokens"
        )
    best: FeatureKind = "space" if space is not None else "code" if code is not None else "fused"
    chosen = next((one for one in get_args(FeatureKind) if one == kind), best)
    made = tuple(column.name for column in bundle.schema if column.num_features)
    if chosen == "vectors" and not made:
        raise ConfigError(
            "features: no column of the model has a feature vector; expected another kind, or train with data.features"
        )
    if chosen == "vectors":
        names = made
    known = space.members if space is not None and chosen == "space" else names
    chosen_columns = tuple(dict.fromkeys(columns)) if columns else known
    if unknown := [name for name in chosen_columns if name not in known]:
        is_input = unknown[0] in bundle.schema.names
        where = {"space": "is not in the joint embedding space", "vectors": "has no feature vector"}.get(
            chosen if is_input else "", "is no input column"
        )
        raise ConfigError(f"columns: {unknown[0]!r} {where}; there are: {', '.join(known)}")
    return Features(
        kind=chosen, columns=chosen_columns, description=f"{_MEANINGS[chosen]} ({', '.join(chosen_columns)})"
    )


def features(
    models: Sequence[MultimodalModel],
    bundle: Bundle,
    table: Table,
    requested: Features,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[np.ndarray], list[Unreadable]]:
    """Reads a table once for several models of one schema.

    Args:
        models: The bundle's own, or others that were built from its config.
        bundle: Whose preprocessing is used.
        table: The rows.
        requested: What is read off.
        progress: Called with the rows that are done, and all.

    Returns:
        Per model float32 [rows, size] in the table's order, NaN in what a row lacks, and the cells that could not be
        read. A row without any of the columns is NaN throughout.
    """
    target = {"space": shared_space, "code": reconstructed_from}.get(requested.kind, lambda _: None)(bundle)

    def read(batch: Batch) -> dict[int, torch.Tensor]:
        batch = batch.only(requested.columns)
        if requested.kind == "vectors":
            return dict.fromkeys(range(len(models)), _vectors(batch, requested.columns))
        if requested.kind == "tokens":
            return {i: _tokens(model, batch, requested.columns) for i, model in enumerate(models)}
        return {i: row_vectors(model, batch, target)[None] for i, model in enumerate(models)}

    _, vectors, unreadable = read_rows(bundle, table, read, progress=progress)
    return [vectors.get(i, np.zeros((0, 1), dtype=np.float32)) for i in range(len(models))], unreadable


def _tokens(model: MultimodalModel, batch: Batch, columns: Sequence[str]) -> torch.Tensor:
    """The means of the encoders' tokens, one column's beside the other's."""
    tokens = model.encode(batch)
    absent = {name: ~batch.columns[name].present[:, None] for name in columns}
    return torch.cat([tokens[name].mean().float().masked_fill(absent[name], torch.nan) for name in columns], dim=1)


def _vectors(batch: Batch, columns: Sequence[str]) -> torch.Tensor:
    """The cells' feature vectors, one column's beside the other's."""
    parts = []
    for name in columns:
        column = batch.columns[name]
        assert column.features is not None, f"the rows of {name!r} lack their feature vectors"
        parts.append(column.features.float().masked_fill(~column.present[:, None], torch.nan))
    return torch.cat(parts, dim=1)


def random_model(bundle: Bundle, seed: int) -> MultimodalModel:
    """The same architecture, freshly initialized; pretrained parts too have random weights.

    Args:
        bundle: Whose config and schema it is built from.
        seed: Of the weights.
    """
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
        torch.manual_seed(seed)
        # With resources at hand a pretrained part is built from its own config, and its weights are left to chance.
        bundle.model.save_resources(Path(folder))
        model = bundle.model_config.build(bundle.schema, Path(folder))
        trained = bundle.model.state_dict()
        for name, weight in model.state_dict().items():
            # A table of word vectors is built empty, to be filled from the bundle: chance has to fill it.
            if weight.dim() == 2 and weight.is_floating_point() and not weight.any() and trained[name].any():
                weight.copy_(torch.randn_like(weight) * trained[name].float().std())
    return model.to(bundle.device).eval()
