"""Explain single predictions: which columns made them, which parts of their cells, and what would change the answer.

Columns' shares are Shapley values over subsets of the row's columns, the others masked as in a missing cell; they sum
to the explained number (a class's probability, a predicted number, a generated text's log probability per token) less
what is predicted of an empty row, the training prior. Within a column the parts of its cell (words, patches, stretches
of time) get shares of their own, which sum to the number less that of the cell with every part removed. The cell
without parts takes the whole way, preprocessing, feature vectors and all experts, so an explanation is of what
predicts, and not of one differentiable path through it. The price is predictions, some hundreds a column; columns that
stay as they are are encoded once.

Beside every map stands its own test (`part_attribution.MapTest`), because a map that looks right may explain nothing
(Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from polysense.core.batch import Batch
from polysense.core.cell_parts import CellParts
from polysense.core.prediction import as_arrays
from polysense.core.pytree import map_tensors
from polysense.core.random import permutation
from polysense.core.registry import modality, task
from polysense.core.sample import Sample
from polysense.core.schema import Target
from polysense.core.spelling import did_you_mean
from polysense.core.task_spec import Answer, Arrays, Explained
from polysense.core.tokens import Tokens
from polysense.core.unsupported import Unsupported
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.processor import Processor
from polysense.errors import ConfigError, TableError
from polysense.evaluation.explanation_result import CellMap, ColumnExplanation, RowExplanation, TargetExplanation
from polysense.evaluation.part_attribution import Removals, attribute, draw_orders
from polysense.evaluation.shapley import coalitions
from polysense.nn.model import MultimodalModel

__all__ = ["ExplanationOptions", "explain_rows", "explained_choices"]

_MOST_UNASKED = 100
"""Rows of a table that are all explained where none are named."""


@dataclass(frozen=True, kw_only=True)
class ExplanationOptions:
    """How much is tried.

    Attributes:
        method: "shapley" shares out by orders of removal; "occlusion" removes one part at a time, in a tenth of the
            time, and tests nothing.
        parts: Parts of a cell, at most.
        pairs: Orders of removal, each with its reverse.
        donors: Rows whose cell is tried in the place of the row's own.
        maps: Whether parts of cells are looked at; else columns alone.
        seed: Of orders and donors.
    """

    method: str = "shapley"
    parts: int = 36
    pairs: int = 4
    donors: int = 8
    maps: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("shapley", "occlusion"):
            raise ConfigError(f"method: found {self.method!r}, expected shapley or occlusion")
        for name, least in (("parts", 2), ("pairs", 1), ("donors", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name}: found {value!r}, expected a whole number of at least {least}")


def explained_choices(targets: Sequence[Target], requested: Mapping[str, str]) -> dict[str, int]:
    """What a user wants to have explained, by target.

    Args:
        targets: The model's.
        requested: Per target a class, a label or a column.

    Raises:
        ConfigError: There is no such target, it can't be explained, or has no such choice; or no target can be.
    """
    by_name = {target.name: target for target in targets}
    reasons = {target.name: task(target.task).explained for target in targets}
    if all(isinstance(reason, Unsupported) for reason in reasons.values()):
        raise ConfigError("; ".join(f"{name}: can't be explained: {reason}" for name, reason in reasons.items()))
    choices = {}
    for name, choice in requested.items():
        if name not in by_name:
            raise ConfigError(f"no target {name!r}{did_you_mean(name, by_name)} (targets: {', '.join(by_name)})")
        if isinstance(way := reasons[name], Unsupported):
            raise ConfigError(f"{name}: can't be explained: {way}")
        known = list(way.choices(by_name[name]))
        if choice not in known:
            near = did_you_mean(choice, known)
            raise ConfigError(f"{name}: found {choice!r}, expected one of {', '.join(map(repr, known[:20]))}{near}")
        choices[name] = known.index(choice)
    return choices


def explain_rows(
    model: MultimodalModel,
    dataset: TableDataset,
    rows: Sequence[int] | None,
    choices: Mapping[str, int] | None = None,
    options: ExplanationOptions | None = None,
    prediction: PredictionConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[RowExplanation]:
    """Explains the predictions of some rows.

    Args:
        model: In evaluation mode.
        dataset: The rows, without stored features, which parts of cells have none of.
        rows: Which of them, by position; all of a small table by default.
        choices: Per target which of its choices; the answer itself by default (`explained_choices`).
        options: How much is tried.
        prediction: In which blocks rows are computed.
        progress: Called with the rows that are done and the rows there are.

    Raises:
        TableError: There is no such row, or none at all.
    """
    positions = _positions(dataset, rows)
    explainer = _Explainer(model, dataset, choices or {}, options or ExplanationOptions(), prediction)
    results = []
    for i, position in enumerate(positions):
        if progress is not None:
            progress(i, len(positions))
        results.append(explainer.explain(position))
    if progress is not None:
        progress(len(positions), len(positions))
    return results


def _positions(dataset: TableDataset, requested: Sequence[int] | None) -> list[int]:
    name, num_rows = dataset.table.name, len(dataset)
    if requested is None and num_rows > _MOST_UNASKED:
        raise TableError(f"{name}: has {num_rows:,} rows, which would take long; name those to explain: rows=[3, 17]")
    positions = list(range(num_rows)) if requested is None else list(requested)
    for position in positions:
        if isinstance(position, bool) or not 0 <= position < num_rows:
            raise TableError(f"{name}: row {position} is asked for, and it has {num_rows} rows, from 0 on")
    if not positions:
        raise TableError(f"{name}: no row to explain")
    return positions


@dataclass(eq=False)
class _Variants:
    """A row's variants as a loader reads them; see `SampleSource`."""

    samples: Sequence[Sample]
    with_targets: bool = False

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        return [self.samples[i] for i in indices]


@dataclass(frozen=True, eq=False)
class _Way:
    """How a target is explained: its number, and its answer."""

    target: Target
    explained: Explained[Target]
    choice: int

    def numbers(self, predictions: Mapping[str, Arrays]) -> np.ndarray:
        return self.explained.numbers(self.target, predictions[self.target.name], self.choice)

    def answers(self, predictions: Mapping[str, Arrays]) -> Sequence[str] | None:
        return self.explained.answers(self.target, predictions[self.target.name], self.choice)


class _Explainer:
    """What is the same for all rows."""

    def __init__(
        self,
        model: MultimodalModel,
        dataset: TableDataset,
        choices: Mapping[str, int],
        options: ExplanationOptions,
        prediction: PredictionConfig | None,
    ) -> None:
        assert isinstance(dataset.processor, Processor), "explanations need the fitted columns"
        self.model, self.dataset, self.processor = model, dataset, dataset.processor
        self.choices, self.options = choices, options
        self.prediction = PredictionConfig() if prediction is None else prediction
        self.refused, self.explained = dict[str, str](), dict[str, Explained[Target]]()
        for target in model.schema.targets:
            way = task(target.task).explained
            if isinstance(way, Unsupported):
                self.refused[target.name] = way.reason
            else:
                self.explained[target.name] = way

    def explain(self, position: int) -> RowExplanation:
        """The explanation of one row."""
        read = self.dataset[position]
        sample, words = self._answered(replace(read, targets={}))
        present = [column.name for column in self.model.schema.columns if column.name in sample.values]
        plan = coalitions(present, seed=self.options.seed)
        base = next(iter(self._loader([sample])))
        by_subset = [self._first_row(each) for each in self._predict(base, plan.subsets)]
        full, empty = by_subset[1 if len(by_subset) > 1 else 0], by_subset[0]
        ways = {}
        for target in self.model.schema.targets:
            if target.name in self.explained:
                explained = self.explained[target.name]
                choice = self.choices.get(target.name)
                choice = explained.chosen(target, full[target.name]) if choice is None else choice
                ways[target.name] = _Way(target, explained, choice)
        with torch.inference_mode():
            tokens = self.model.encode(base.to(self._device)) if present else {}
        swapped = {name: self._swapped(sample, position, name, tokens) for name in present}
        maps = {name: self._maps(sample, position, name, tokens, ways) for name in present if self.options.maps}
        results = []
        for name, way in ways.items():
            values = np.array([way.numbers(each)[0] for each in by_subset])
            shares = dict(zip(present, plan.coefficients.mean(axis=0) @ values, strict=True)) if present else {}
            own = way.answers(full)
            columns = []
            for column in self.model.schema.columns:
                if column.name not in shares:
                    columns.append(
                        ColumnExplanation(
                            name=column.name, modality=column.modality, is_present=False, share=0.0,
                            no_map="the row has no such cell",
                        )
                    )  # fmt: skip
                    continue
                without = by_subset[plan.subsets.index(frozenset(present) - {column.name})]
                answers = way.answers(without)
                others = swapped[column.name]
                flips = None if others is None else way.answers(others)
                cell_map = maps.get(column.name, {}).get(name, "")
                columns.append(
                    ColumnExplanation(
                        name=column.name,
                        modality=column.modality,
                        is_present=True,
                        share=float(shares[column.name]),
                        without=float(way.numbers(without)[0]),
                        answer_without=None if own is None or answers is None or answers[0] == own[0] else answers[0],
                        swapped=[] if others is None else way.numbers(others).tolist(),
                        num_flipped=None if own is None or flips is None else sum(each != own[0] for each in flips),
                        map=cell_map if isinstance(cell_map, CellMap) else None,
                        no_map=cell_map if isinstance(cell_map, str) else "",
                    )
                )
            results.append(
                TargetExplanation(
                    target=name,
                    title=way.explained.title(way.target, way.choice),
                    answer=words.get(name) if own is None else own[0],
                    value=float(way.numbers(full)[0]),
                    prior=float(way.numbers(empty)[0]),
                    columns=columns,
                    is_exact=plan.exact,
                )
            )
        return RowExplanation(
            position=position,
            row=int(self.dataset.table.rows[position]),
            sample=read,
            targets=results,
            refused=self.refused,
        )

    def _answered(self, sample: Sample) -> tuple[Sample, dict[str, str]]:
        """The row with its own answers as targets, where it is explained how probable they are; and in words."""
        scored = [name for name, way in self.explained.items() if way.scores_answer]
        if not scored:
            return sample, {}
        batch = next(iter(self._loader([sample])))
        predictions = self.model.predict(batch.to(self._device))[0]
        cells, words = dict[str, np.ndarray](), dict[str, str]()
        for name in scored:
            target, processor = self.model.schema.target(name), self.processor.targets[name]
            prediction = as_arrays(predictions[name], batch.rows >= 0)
            way, choice = self.explained[name], self.choices.get(name)
            choice = way.chosen(target, prediction) if choice is None else choice
            cells[name] = way.cell(target, prediction, choice, sample.placements)
            if task(target.task).answer is Answer.WORDS:
                words[name] = str(processor.render(prediction["values"][0]))
        return replace(sample, targets=cells), words

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _loader(self, samples: Sequence[Sample]) -> PredictLoader:
        numbered = [replace(sample, row=i, unreadable=()) for i, sample in enumerate(samples)]
        variants = _Variants(numbered, with_targets=any(sample.targets for sample in samples))
        return PredictLoader(variants, self.model.schema, prediction=self.prediction)

    def _predict(self, batch: Batch, subsets: Sequence[frozenset[str]]) -> list[dict[str, Arrays]]:
        """A batch's predictions from each subset of the columns, fillers left out."""
        real = batch.rows >= 0
        predictions = self.model.predict(batch.to(self._device), subsets, write=False)
        return [{name: as_arrays(each, real) for name, each in by_target.items()} for by_target in predictions]

    @staticmethod
    def _first_row(predictions: Mapping[str, Arrays]) -> dict[str, Arrays]:
        return {target: {name: array[:1] for name, array in arrays.items()} for target, arrays in predictions.items()}

    def _variants(self, samples: Sequence[Sample], column: str, tokens: Mapping[str, Tokens]) -> dict[str, Arrays]:
        """Predictions of variants of one row that differ in one column; the others' tokens are known."""
        parts: dict[str, dict[str, list[np.ndarray]]] = {}
        rows: list[np.ndarray] = []
        encoder = self.model.column_encoders[column]
        with torch.inference_mode():
            for batch in self._loader(samples):
                real, moved = batch.rows >= 0, batch.to(self._device)
                own = {
                    name: encoder(moved.columns[name]) if name == column else _repeated(each, len(batch))
                    for name, each in tokens.items()
                }
                predictions = self.model.predict(moved, write=False, tokens=own)[0]
                rows.append(batch.rows[real].numpy())
                for target, each in predictions.items():
                    for name, array in as_arrays(each, real).items():
                        parts.setdefault(target, {}).setdefault(name, []).append(array)
        order = np.argsort(np.concatenate(rows), kind="stable")
        return {
            target: {name: np.concatenate(arrays)[order] for name, arrays in each.items()}
            for target, each in parts.items()
        }

    def _swapped(
        self, sample: Sample, position: int, name: str, tokens: Mapping[str, Tokens]
    ) -> dict[str, Arrays] | None:
        """Predictions with other rows' cells in the place of the row's own; None where there are no others."""
        source = self.processor.columns[name].source
        own = self.dataset.table.cell(position, source)
        variants = list[Sample]()
        for donor in permutation(len(self.dataset), self.options.seed, "donors", name).tolist():
            if len(variants) == self.options.donors:
                break
            if donor == position or self.dataset.table.cell(donor, source) in (None, own):
                continue
            other = self.dataset[donor]
            if name in other.values:
                variants.append(self._with(sample, name, other.values[name], other.features, other))
        return self._variants(variants, name, tokens) if variants else None

    def _with(
        self,
        sample: Sample,
        name: str,
        items: list[np.ndarray],
        features: Mapping[str, np.ndarray] | None,
        other: Sample | None = None,
    ) -> Sample:
        """The row with other items in one column; none makes the column absent."""
        values = {key: value for key, value in sample.values.items() if key != name}
        placements = {key: value for key, value in sample.placements.items() if key != name}
        own = None if sample.features is None else {k: v for k, v in sample.features.items() if k != name}
        if items:
            values[name] = items
            kept = (sample if other is None else other).placements
            placements |= {name: kept[name]} if name in kept else {}
            if own is not None and features is not None and name in features:
                own[name] = features[name]
        return replace(sample, values=values, placements=placements, features=own)

    def _maps(
        self,
        sample: Sample,
        position: int,
        name: str,
        tokens: Mapping[str, Tokens],
        ways: Mapping[str, _Way],
    ) -> dict[str, CellMap | str]:
        """Per target the parts' shares of a cell, or why there are none."""
        fitted, table = self.processor.columns[name], self.dataset.table
        make = modality(fitted.column.modality).cell_parts
        if isinstance(make, Unsupported):
            return dict.fromkeys(ways, make.reason)
        cell, items = table.cell(position, fitted.source), sample.values[name]
        parts = make(fitted, cell, table.root_of(fitted.source), items, self.options.parts, sample.placements.get(name))
        num_parts = len(parts.places)
        if num_parts < 2:
            return dict.fromkeys(ways, "the cell is a single part")
        refused: dict[str, CellMap | str] = {
            key: "the answer lies in this cell, and moves up where a part is left out"
            for key, way in ways.items()
            if parts.closes_up and task(way.target.task).lies_in(way.target) == name
        }
        ways = {key: way for key, way in ways.items() if key not in refused}
        known: dict[frozenset[int], dict[str, float]] = {}

        def numbers(way: _Way) -> Callable[[Removals], np.ndarray]:
            def of(removals: Removals) -> np.ndarray:
                missing = [removed for removed in removals if removed not in known]
                if missing:
                    variants = [self._without(sample, name, parts, removed) for removed in missing]
                    predictions = self._variants(variants, name, tokens)
                    each = {key: one.numbers(predictions) for key, one in ways.items()}
                    for i, removed in enumerate(missing):
                        known[removed] = {key: float(value[i]) for key, value in each.items()}
                return np.array([known[removed][way.target.name] for removed in removals])

            return of

        options = self.options
        orders = draw_orders(num_parts, options.pairs, options.seed) if options.method == "shapley" else None
        results = refused
        for key, way in ways.items():
            shares, test = attribute(num_parts, numbers(way), orders=orders)
            nothing = known.get(frozenset(range(num_parts)))
            results[key] = CellMap(
                places=parts.places,
                shares=shares,
                removed=parts.removed,
                without=None if nothing is None else nothing[key],
                test=test,
                texts=parts.texts,
            )
        return results

    def _without(self, sample: Sample, name: str, parts: CellParts, removed: frozenset[int]) -> Sample:
        if not removed:
            return sample
        fitted = self.processor.columns[name]
        cell, items = parts.without(removed)
        features = None
        if items and fitted.features is not None and sample.features is not None and name in sample.features:
            features = {name: fitted.extract(cell, items)}
        return self._with(sample, name, items, features)


def _repeated(tokens: Tokens, num_rows: int) -> Tokens:
    """The first row's tokens, once for each of a number of rows."""

    def repeated(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[:1].expand(num_rows, *tensor.shape[1:])

    return map_tensors(repeated, tokens)
