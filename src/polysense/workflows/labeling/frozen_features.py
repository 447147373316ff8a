"""Feature vectors of a table's rows that no training moves, for the learner: those of frozen pretrained encoders, and
what preprocessing makes of cells without any weights.

A column with a frozen backbone gives the backbone's vector; any other gives preprocessing's, and no network is run for
it. What a backbone gives for a cell is stored, so that the next command, and the next
label, need not compute it again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Batch
from polysense.core.device import resolve_device
from polysense.core.sample import Unreadable
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError
from polysense.nn.features_encoder import FeaturesEncoderConfig
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.model import MultimodalModel
from polysense.presets.features import features_of
from polysense.recipe import Recipe
from polysense.workflows.fitted_data import fit_processor
from polysense.workflows.stored_features import store_features

__all__ = ["FeatureModel", "feature_model", "feature_recipe"]


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureModel:
    """What makes feature vectors of rows.

    Attributes:
        recipe: With feature vectors of every column that can have some.
        processor: Fitted.
        model: Whose encoders are frozen or read vectors alone; the rest of it is untrained.
        sizes: Per column how many numbers its vector has.
    """

    recipe: Recipe
    processor: Processor
    model: MultimodalModel
    sizes: Mapping[str, int]

    @property
    def description(self) -> str:
        """In words."""
        frozen = {name for name, encoder in self.model.column_encoders.items() if encoder.num_item_features}
        parts = [
            f"{name} ({'pretrained, frozen' if name in frozen else 'without weights'}, {size:,})"
            for name, size in self.sizes.items()
        ]
        return ", ".join(parts)

    @torch.no_grad()
    def read(
        self,
        table: Table,
        *,
        each: Callable[[Batch], None] | None = None,
        with_targets: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Float[np.ndarray, "rows size"], list[Unreadable]]:
        """The vectors of a table's rows.

        Args:
            table: The rows.
            each: Called with every batch, on the CPU, fillers left in it.
            with_targets: Whether batches have targets.
            progress: Called with the rows that are done, and all.

        Returns:
            float32 [rows, sizes' sum] in the table's order, NaN in what a row lacks; and cells that can't be read.
        """
        dataset = TableDataset(table, self.processor, with_targets=with_targets)
        self.processor.require_any(dataset.table)
        store_features(
            self.model,
            self.recipe.model.encoders,
            [dataset],
            mode=self.recipe.data.store,
            progress=progress is not None,
        )
        device = next(self.model.parameters()).device
        result = np.full((len(dataset), sum(self.sizes.values())), np.nan, dtype=np.float32)
        unreadable: list[Unreadable] = []
        loader = PredictLoader(dataset, self.model.schema, prediction=self.recipe.prediction, progress=progress)
        for batch in loader:
            keep = batch.rows >= 0
            result[batch.rows[keep].numpy()] = self._vectors(batch.to(device))[keep.to(device)].cpu().numpy()
            unreadable.extend(batch.unreadable)
            if each is not None:
                each(batch)
        unreadable.sort(key=lambda cell: (cell.source.row, cell.source.column))
        return result, unreadable

    def _vectors(self, batch: Batch) -> Tensor:
        parts, encoders = [], self.model.column_encoders
        for name, size in self.sizes.items():
            column, encoder = batch.columns[name], encoders[name]
            features = encoder(column).features if encoder.num_item_features else column.features
            if features is None:
                features = torch.zeros(len(column.lengths), size, device=column.present.device)
            parts.append(features.float().masked_fill(~column.present[:, None], torch.nan))
        return torch.cat(parts, dim=1)


def feature_recipe(recipe: Recipe, num_rows: int) -> Recipe:
    """A recipe whose columns have feature vectors, and whose only networks are frozen backbones.

    Args:
        recipe: Of a table.
        num_rows: Of the table.

    Raises:
        ConfigError: No column has any.
    """
    made = dict(recipe.data.features)
    made |= {
        name: configs
        for name, configs in features_of(list(recipe.data.modalities.items()), num_rows).items()
        if name not in made
    }
    frozen = {name for name, encoder in recipe.model.encoders.items() if encoder.is_frozen}
    made = {name: configs for name, configs in made.items() if name not in frozen}
    encoders = {
        name: encoder if name not in made else FeaturesEncoderConfig()
        for name, encoder in recipe.model.encoders.items()
    }
    if not made and not frozen:
        raise ConfigError(
            "no input column has feature vectors, and none a pretrained encoder that is frozen, so there is nothing "
            "that a learner could read; name a folder of pretrained models (--pretrained FOLDER)"
        )
    data = dataclasses.replace(recipe.data, features=made, transforms={}, views=None)
    model = dataclasses.replace(recipe.model, encoders=encoders, fusion=ConcatFusionConfig(), objectives={})
    return dataclasses.replace(recipe, data=data, model=model, init_from=None)


def feature_model(recipe: Recipe, table: Table, *, device: str = "auto") -> FeatureModel:
    """Fits preprocessing, and builds what makes feature vectors.

    Args:
        recipe: `feature_recipe`'s.
        table: The rows that preprocessing learns from, labeled or not where it has no targets.
        device: Where frozen networks run.

    Raises:
        UserError: Preprocessing can't be fitted, or the model not built.
    """
    processor, _, _ = fit_processor(recipe, {"train": table})
    torch.manual_seed(recipe.training.seed)
    model = recipe.model.build(processor.schema).eval().to(resolve_device(device))
    given = {name: encoder.give_features() for name, encoder in model.column_encoders.items()}
    sizes = {name: size for name, size in given.items() if size}
    if not sizes:
        raise ConfigError(
            f"no encoder gives feature vectors of {', '.join(given)}; take others, or name features under data.features"
        )
    return FeatureModel(recipe=recipe, processor=processor, model=model, sizes=sizes)
