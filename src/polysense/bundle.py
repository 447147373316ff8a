"""The trained artifact: schema, fitted preprocessing, model config, weights, model card. No pickle anywhere.

bundle/
  README.md             the model card
  bundle.json           format, version, model config, recipe, training facts, SHA-256 of every file below and its own
  weights.safetensors
  processor/            fitted preprocessing: the same object in training, evaluation and serving
  resources/            what pretrained encoders need besides weights (their own configs)
  imputer/              where the recipe names one: the bundle that imputes missing cells first

A bundle is saved as a whole: whoever loads it finds the older one or the new one. A file that is not the one that was
saved (a flipped bit, a copy cut short, the weights of another model) is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars
import torch
from safetensors.torch import load_file

from polysense.config.codec import from_dict, to_dict
from polysense.core.allocator import keep_freed_memory
from polysense.core.batch import Batch
from polysense.core.checksum import file_checksum, folder_checksums, with_own_checksum
from polysense.core.device import resolve_device
from polysense.core.error_text import first_line
from polysense.core.files import move_entries, named_path, replacing_folder, write_text
from polysense.core.json import json_object, write_json
from polysense.core.logs import get_logger, warn_of_each
from polysense.core.offline import offline
from polysense.core.packages import lacking, packages_of
from polysense.core.registry import named
from polysense.core.sample import Unreadable
from polysense.core.schema import Schema
from polysense.core.tensor_file import save_tensors, unshared
from polysense.core.version import VERSION
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.exporting import Export
from polysense.data.joins.fitted import joined_as_fitted
from polysense.data.processor import Processor
from polysense.data.recipe_paths import absolute_paths, relative_paths
from polysense.data.store.stored_column import StoredColumn
from polysense.data.tables.beside import kept_columns
from polysense.data.tables.mapped_frame import GrowingFrame, reordered
from polysense.data.tables.predictions import Predictions, predictions_frame
from polysense.data.tables.sources import Table, read_table
from polysense.errors import BundleError, ConfigError, DependencyError, TableError
from polysense.escaping import preformatted, visible
from polysense.evaluation.audit.result import AuditResult
from polysense.evaluation.explanation import ExplanationOptions, explain_rows, explained_choices
from polysense.evaluation.explanation_result import RowExplanation
from polysense.evaluation.windowed import target_columns
from polysense.imputer import Imputer
from polysense.nn.bundled import (
    bounded_build,
    read_manifest,
    require_intact,
    require_own_files,
    require_sizes,
    weight_shapes,
)
from polysense.nn.decoding.options import DecodingOptions
from polysense.nn.head_settings import changed_for_prediction
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig

__all__ = ["FORMAT", "IMPUTER", "Bundle", "as_bundle", "load"]

FORMAT = 12
"""Raised with every change of what is written; others are refused by name."""

IMPUTER = "imputer"
"""The folder, within a bundle's, of the bundle that imputes missing cells for it."""

_MANIFEST = "bundle.json"
_CARD = "README.md"
_WEIGHTS = "weights.safetensors"
_PROCESSOR = "processor"
_RESOURCES = "resources"
_ENTRIES = frozenset({_MANIFEST, _CARD, _WEIGHTS, _PROCESSOR, _RESOURCES, IMPUTER})

_log = get_logger("polysense.bundle")


@dataclass(eq=False, repr=False)
class Bundle:
    """A trained model with all that it needs.

    Attributes:
        processor: Fitted preprocessing.
        model: In eval mode.
        model_config: What the model was built from.
        recipe: The run's recipe as plain values, its paths absolute.
        info: Facts about the training, for the model card.
        folder: Where it was loaded from or saved to.
        card: The model card, README.md, as Markdown; "" for none.
        prediction: In which blocks rows are computed.
        stored: Per column what its frozen backbone gave for cells before, which tables' samples take; not saved.
        exports: Per target what takes its predictions as they come, see `data.exporting`; not saved.
    """

    processor: Processor
    model: MultimodalModel
    model_config: ModelConfig
    recipe: Mapping[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    card: str = ""
    prediction: PredictionConfig = field(default_factory=PredictionConfig)
    stored: Mapping[str, StoredColumn] = field(default_factory=dict)
    exports: Mapping[str, Sequence[Export]] = field(default_factory=dict)

    def __repr__(self) -> str:
        where = "" if self.folder is None else f"{str(self.folder)!r}: "
        num_parameters = sum(each.numel() for each in self.model.parameters())
        return visible(f"Bundle({where}{self.schema.in_words()}; {num_parameters:,} parameters)")

    def _repr_html_(self) -> str:
        return preformatted(self.card or repr(self))

    @property
    def schema(self) -> Schema:
        """The model's columns and targets."""
        return self.processor.schema

    @property
    def device(self) -> torch.device:
        """Where the model is, and batches have to go."""
        return next(self.model.parameters()).device

    @property
    def imputer(self) -> Imputer | None:
        """What imputes missing cells before the model's own preprocessing reads them."""
        return self.processor.imputer if isinstance(self.processor.imputer, Imputer) else None

    def save(self, folder: Path | str) -> None:
        """Writes the bundle, whole or not at all; a bundle that is there is replaced.

        Where the folder holds anything but a bundle, that stays, and only the bundle's own files are replaced, one by
        one: a process that is killed meanwhile leaves no bundle.

        Raises:
            ConfigError: The folder's name is empty.
            OSError: It can't be written; an older bundle is still there.
        """
        folder = named_path(folder, "the bundle's folder")
        # Nor is the folder that a process works in exchanged for another: it would go on in the one that is removed.
        foreign = folder.is_dir() and (
            folder.samefile(Path.cwd()) or not {path.name for path in folder.iterdir()} <= _ENTRIES
        )
        with replacing_folder(folder / ".saving" if foreign else folder) as part:
            self.write(part, folder)
        if foreign:
            # What is half replaced is no bundle: the file that makes it one goes first and comes last.
            move_entries(folder / ".saving", folder, [_MANIFEST, *sorted(_ENTRIES - {_MANIFEST})])
        self.folder = folder

    def write(self, folder: Path, place: Path) -> None:
        """Writes the files into an empty or new folder, with the paths of another where they will lie; see `save`."""
        folder.mkdir(exist_ok=True)
        self.processor.save(folder / _PROCESSOR)
        (folder / _RESOURCES).mkdir()
        self.model.save_resources(folder / _RESOURCES)
        checksums = {
            f"{name}/{file}": checksum
            for name in (_PROCESSOR, _RESOURCES)
            for file, checksum in folder_checksums(folder / name).items()
        }
        if self.imputer is not None:
            self.imputer.reconstructor.write(folder / IMPUTER, place / IMPUTER)
            checksums[f"{IMPUTER}/{_MANIFEST}"] = file_checksum(folder / IMPUTER / _MANIFEST)  # has the others
        save_tensors(folder / _WEIGHTS, unshared(self.model.state_dict()))
        checksums[_WEIGHTS] = file_checksum(folder / _WEIGHTS)
        if self.card:
            write_text(folder / _CARD, self.card)
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "polysense": VERSION,
            "torch": torch.__version__,
            "packages": packages_of(
                [*self.model.modules(), *self.processor.columns.values(), *self.processor.targets.values()]
            ),
            "model": to_dict(self.model_config),
            "prediction": to_dict(self.prediction),
            "recipe": relative_paths(to_dict(self.recipe), place),
            "info": self.info,
            "sha256": checksums,
        }
        if self.imputer is not None:
            manifest["imputer"] = self.imputer.as_json()
        write_json(folder / _MANIFEST, with_own_checksum(json_object(manifest)))

    def dataset(self, source: Any, *, root: Path | str | None = None, with_targets: bool = False) -> TableDataset:
        """A table as this model's samples; arguments as in `read`, and whether the targets' columns are read too."""
        return TableDataset(self.read(source, root=root), self.processor, with_targets=with_targets)

    def read(self, source: Any, *, root: Path | str | None = None, also: Sequence[str] = ()) -> Table:
        """Reads a table, joined to others as the training table was.

        Args:
            source: One row as a dictionary, or as in `read_table`; with the tables to `join`, or with their columns.
            root: The folder that media paths are relative to; by default the table's own.
            also: Joined columns that are used beside the model's own.

        Raises:
            TableError: A table can't be read or joined, or is not given.
        """
        if isinstance(source, Mapping) and not any(isinstance(cell, (list, tuple)) for cell in source.values()):
            source = [source]  # one row
        return joined_as_fitted(read_table(source, root=root), self.recipe.get("data") or {}, also)

    def with_decoding(self, decoding: DecodingOptions | None) -> Bundle:
        """The same model, weights shared, that writes in another way; nothing is trained again.

        Args:
            decoding: A type (`"beam"`), keys (`{"type": "sample", "temperature": 0.7}`), or overrides
                (`["decoding.beam_size=8"]`, `["model.heads.caption.decoding=beam"]`). Overrides can also set what
                other heads let be changed after training: `["head.guidance=3"]`. None changes nothing.

        Raises:
            ConfigError: No target is written token by token, or there is no such type, key, setting or value.
        """
        if decoding is None or decoding == []:
            return self
        model, config = changed_for_prediction(self.model, self.model_config, decoding)
        return replace(self, model=model, model_config=config, folder=None)

    def with_blocks(self, *, block_size: int | None = None, exact: bool | None = None) -> Bundle:
        """The same model, weights shared, that computes rows in other blocks; nothing is trained again.

        Arguments as in `PredictionConfig`; None changes nothing.

        Raises:
            ConfigError: There is no exact prediction in blocks of such a size.
        """
        return replace(self, prediction=self.prediction.changed(block_size, exact))

    def batches(
        self, dataset: TableDataset, *, batch_size: int = 32, progress: Callable[[int, int], None] | None = None
    ) -> PredictLoader:
        """A prepared table's rows in this bundle's blocks; arguments as in `predict`."""
        return PredictLoader(dataset, self.schema, batch_size, progress=progress, prediction=self.prediction)

    def predict(
        self,
        source: Any,
        *,
        root: Path | str | None = None,
        batch_size: int = 32,
        decoding: DecodingOptions | None = None,
        keep: Sequence[str] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Predictions:
        """Predicts every row of a table.

        Cells that are missing or unreadable, and columns that are not there, count as absent; no row is dropped, and
        no row's prediction depends on another row. A row without any cell is marked (`no_input`), see `Predictions`.

        Args:
            source, root: As in `read`.
            batch_size: Rows that are read at once; no prediction depends on it. What is computed together is a block,
                see `with_blocks`.
            decoding: Another way to write texts than the recipe's, see `with_decoding`.
            keep: Columns of the table that stand beside the predictions, as they are, whether the model reads them or
                not: an id, a name, the truth.
            progress: Called with the rows that are done and the rows there are.

        Raises:
            TableError: The table can't be read, has none of the model's columns, or no such column to keep.
            ConfigError: There is no such decoding.
        """
        bundle, table = self.with_decoding(decoding), self.read(source, root=root, also=keep)
        kept = kept_columns(table, keep)  # before the work is done
        dataset = bundle.dataset(table)
        dataset.use_stored(self.stored)
        self.processor.require_any(dataset.table)
        return bundle.predict_dataset(dataset, batch_size=batch_size, kept=kept, progress=progress)

    def explain(
        self,
        source: Any,
        rows: Sequence[int] | None = None,
        *,
        root: Path | str | None = None,
        choices: Mapping[str, str] | None = None,
        options: ExplanationOptions | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[RowExplanation]:
        """Explains predictions: columns' shares, parts of their cells, and what would change the answer.

        Args:
            source, root, progress: As in `predict`. Rows that are not explained lend their cells.
            rows: Positions in the table, from 0; all of a small table by default.
            choices: Per target what is explained, if not the answer: a class, a label, a column of numbers.
            options: How much is tried.

        Raises:
            TableError: The table can't be read, or has no such row.
            ConfigError: There is no such choice, or nothing that can be explained.
        """
        dataset = self.dataset(self.processor.require_any(self.read(source, root=root)))
        self.model.eval()
        chosen = explained_choices(self.schema.targets, choices or {})
        return explain_rows(self.model, dataset, rows, chosen, options, self.prediction, progress)

    def audit(self, source: Any, **options: Any) -> AuditResult:
        """How far the model may be trusted on a table that has the targets; arguments as in `polysense.audit`."""
        result = named("polysense.workflows.audit.audit:audit")(self, source, **options)  # of a room above this one
        assert isinstance(result, AuditResult), f"found a {type(result).__name__}, expected the audit's result"
        return result

    def stream(
        self,
        source: Any,
        *,
        row: int = 0,
        target: str | None = None,
        root: Path | str | None = None,
        decoding: DecodingOptions | None = None,
    ) -> Iterator[str]:
        """Writes one row's text, piece by piece; together the pieces are what `predict` gives.

        A piece holds whole characters. Beam search gives what all beams have in common, so it comes late.

        Args:
            source, root: One row as a dictionary, or a table; as in `read`.
            row: Which of a table's rows.
            target: Which text, where the model writes several.
            decoding: Another way to write than the recipe's, see `with_decoding`.

        Raises:
            TableError: The table can't be read, or has no such row.
            ConfigError: The model writes no such text token by token, or there is no such decoding.
        """
        bundle, table = self.with_decoding(decoding), self.processor.require_any(self.read(source, root=root))
        if not 0 <= row < len(table):
            raise TableError(f"{table.name}: row {row} is asked for, and it has {len(table)} rows, from 0 on")
        name = bundle.streamed(target)
        one = TableDataset(table.select(np.array([row])), bundle.processor)
        batch = next(iter(bundle.batches(one)))
        # A row's number in its table decides what is drawn.
        for cell in batch.unreadable:
            _log.warning("unreadable, counted as missing: %s", cell)
        batch = batch.renumbered(one.table.rows)
        bundle.model.eval()
        moved, head = batch.to(bundle.device), bundle.model.head(name)
        fused, context = bundle.model.fused(moved, name), bundle.model.context(moved, name)
        return bundle.processor.targets[name].stream(head.stream(fused, context, 0))

    def streamed(self, target: str | None = None) -> str:
        """The name of the target that `stream` writes.

        Args:
            target: None where there is no choice.

        Raises:
            ConfigError: The model writes no such text token by token, or several.
        """
        generated = [name for name, head in self.model_config.heads.items() if head.strategy is not None]
        if target in generated or (target is None and len(generated) == 1):
            return target or generated[0]
        requested = (
            "a target must be named" if target is None and generated else f"target {target!r} is not one of them"
        )
        raise ConfigError(
            f"stream: {requested}; the targets with token-by-token generation are {', '.join(generated)}"
            if generated
            else "stream: this model has no target with token-by-token generation"
        )

    def predict_dataset(
        self,
        dataset: TableDataset,
        *,
        batch_size: int = 32,
        kept: Mapping[str, polars.Series] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Predictions:
        """Predicts a prepared table; arguments as in `predict`, but `kept`, which has the columns themselves."""
        dataset.with_features &= self.model.eval().reads_vectors
        frames, rows, unreadable = GrowingFrame(), list[np.ndarray](), list[Unreadable]()
        for batch in self.batches(dataset, batch_size=batch_size, progress=progress):
            rows.append(batch.rows[batch.rows >= 0].numpy())
            part = {name: series[rows[-1]] for name, series in (kept or {}).items()}
            # A row's number in what was read decides what is drawn, whichever part of it is predicted.
            numbered = batch.renumbered(dataset.table.rows)
            frames.add(self._frame(numbered, dataset.table.view(rows[-1]), part))
            unreadable.extend(batch.unreadable)
        frame = frames.finish()
        if frame is None:
            raise TableError("the table has no rows to predict")
        unreadable.sort(key=lambda cell: (cell.source.row, cell.source.column))
        warnings = (*dataset.table.join_warnings, *warn_of_each(_log, self.processor.unfamiliar(dataset.table)))
        order = np.argsort(np.concatenate(rows), kind="stable")
        return Predictions(reordered(frame, order), tuple(unreadable), warnings)

    def _frame(self, batch: Batch, table: Table, kept: Mapping[str, polars.Series]) -> polars.DataFrame:
        """The predictions of a batch: decoded at once, so that no mask or image is kept for a whole table.

        Args:
            batch: In main memory; rows that only fill the shape are left out.
            table: Its other rows, in order.
            kept: What stands beside them.
        """
        real, parts = batch.rows >= 0, list[tuple[Collection[str], Mapping[str, Any]]]()
        predictions = self.model.predict(batch.to(self.device))[0]
        for target in self.schema.targets:
            own, exports = predictions[target.name], self.exports.get(target.name, ())
            columns = target_columns(self.model, target, own, self.processor, table, batch, exports)
            parts.append(({target.name, *target.columns}, columns))
        names, present = self.schema.names, batch.presence(self.schema.names)[real].tolist()
        facts: dict[str, Any] = {"no_input": [not any(row) for row in present]}
        facts["missing"] = [", ".join(n for n, there in zip(names, row, strict=True) if not there) for row in present]
        if table.imputations is not None:
            facts["imputed"] = [
                ", ".join(c.name for c in self.schema if row in table.imputations.cells.get(c.table_column, ()))
                for row in table.rows.tolist()
            ]
        return predictions_frame(parts, kept=kept, numbers=table.rows, facts=facts)


def as_bundle(bundle: Bundle | Path | str, *, device: str = "auto") -> Bundle:
    """A bundle as it is, on the device where it is; one that is named by its folder is loaded, see `load`."""
    return bundle if isinstance(bundle, Bundle) else load(bundle, device=device)


def load(path: Path | str, *, device: str = "auto") -> Bundle:
    """Loads a trained model.

    Args:
        path: A bundle's folder, or a run's folder that holds one.
        device: Where the model and its imputer go: auto (a GPU if there is one), cpu, cuda or mps.

    Raises:
        BundleError: There is no bundle, it is broken, or another version of polysense wrote it.
        ConfigError: This machine has no such device, or the path is empty.
    """
    keep_freed_memory()
    place = resolve_device(device)
    folder = named_path(path, "the bundle")
    if not (folder / _MANIFEST).exists() and (folder / "bundle" / _MANIFEST).exists():
        folder = folder / "bundle"
    if not (folder / _MANIFEST).exists():
        kind = "no such folder" if not folder.exists() else "is a file" if folder.is_file() else "holds no bundle.json"
        raise BundleError(f"{path}: {kind}; expected a bundle, the folder `bundle` of a finished run")
    try:
        with offline():
            return _load(folder, place, device)
    except (BundleError, DependencyError):
        raise
    # A bundle may come from anywhere, and libraries that are handed broken files raise whatever they like.
    except Exception as error:
        first = first_line(error).rstrip(":")
        raise BundleError(
            f"{folder}: the bundle is broken, or another version wrote it ({first}); train again, or copy it again"
        ) from error


def _load(folder: Path, place: torch.device, device: str) -> Bundle:
    """Loads what is in a folder and nothing else: no file outside it, no hub, no code."""
    require_own_files(folder)
    plain = read_manifest(folder / _MANIFEST, FORMAT)
    if lacks := lacking(plain["packages"]):
        raise BundleError(f"{folder}: needs {', '.join(lacks)}, which is not installed here; install it with pip")
    require_intact(folder, plain["sha256"], required={_WEIGHTS, f"{_PROCESSOR}/processor.json"})
    config = from_dict(ModelConfig, plain["model"], where=str(folder / _MANIFEST))
    prediction = from_dict(PredictionConfig, plain["prediction"], where=str(folder / _MANIFEST))
    imputer = None
    if (settings := plain.get("imputer")) is not None:
        if (folder / IMPUTER / IMPUTER).exists():
            raise BundleError(f"{folder}: its imputer has an imputer; expected one at most")
        imputer = Imputer(load(folder / IMPUTER, device=device), **settings)
    processor = Processor.load(folder / _PROCESSOR, imputer)
    shapes = weight_shapes(folder / _WEIGHTS)
    require_sizes(config, processor.schema, shapes, folder / _RESOURCES)
    with bounded_build(len(shapes), folder):
        model = config.build(processor.schema, folder / _RESOURCES)
    model.load_state_dict(load_file(folder / _WEIGHTS, device="cpu"))
    card = (folder / _CARD).read_text(encoding="utf-8", errors="replace") if (folder / _CARD).is_file() else ""
    recipe = absolute_paths(plain["recipe"], folder.resolve())
    return Bundle(processor, model.to(place).eval(), config, recipe, plain["info"], folder, card, prediction)
