"""Evaluation of a trained model on a table that has the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from polysense.bundle import Bundle, as_bundle
from polysense.core.files import shown_path
from polysense.core.logs import get_logger, warn_of_each
from polysense.core.wrapping import wrapped
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, TableError
from polysense.escaping import joined, preformatted, visible
from polysense.evaluation.audit.groups import Groups, measure_groups
from polysense.evaluation.audit.part import AuditInput
from polysense.evaluation.baselines import CONSTANT, SHUFFLED, baselines_json, constant_baseline
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.paired import PairedScores, paired_scores
from polysense.evaluation.simple_baselines import TargetBaselines
from polysense.nn.decoding.options import DecodingOptions
from polysense.reports.groups import groups_text
from polysense.reports.paired import paired_text
from polysense.reports.report import Report
from polysense.reports.terminal import report_text
from polysense.workflows.baseline_scores import kept_simple_baselines, no_simple_baselines
from polysense.workflows.blind_control import shuffled_inputs
from polysense.workflows.evaluating import within
from polysense.workflows.joint_similarity import JointSimilarity, joint_similarities, judged_columns
from polysense.workflows.scoring import evaluate_bundle
from polysense.workflows.table_split import part_of

__all__ = ["Scores", "evaluate"]

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Scores:
    """A model's scores on one table.

    Attributes:
        table: The table's name.
        evaluation: Metrics with intervals, predictions, confusion matrices.
        num_columns: Input columns of the model.
        baselines: On the same rows: "constant" (the most frequent class, the mean or the most frequent text), and where
            a target is a text "shuffled inputs", the same model with every row's media taken from another row.
        simple_baselines: Per target the simple models that were fitted beside the model, on the same rows, paired.
        no_simple_baselines: Why there are none, in words; "" where there are.
        warnings: Per column what could be read and still means little to the model: categories that it does not know.
        groups: The scores by each column that was named, for each target.
        against: For each target the other models that were named, paired.
        similarities: How well predicted cells go with the inputs in another model's joint space, where one was named.
    """

    table: str
    evaluation: Evaluation
    num_columns: int
    baselines: Mapping[str, Evaluation]
    simple_baselines: Mapping[str, TargetBaselines] = field(default_factory=dict)
    no_simple_baselines: str = ""
    warnings: tuple[str, ...] = ()
    groups: tuple[Groups, ...] = ()
    against: tuple[PairedScores, ...] = ()
    similarities: tuple[JointSimilarity, ...] = ()

    @property
    def metrics(self) -> dict[str, Any]:
        """head > metric > {value, low, high}."""
        return self.evaluation.as_metrics_json()

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return {
            "table": self.table,
            "metrics": self.metrics,
            "baselines": baselines_json(self.baselines),
            "simple_baselines": {name: each.as_json() for name, each in self.simple_baselines.items()},
            "no_simple_baselines": self.no_simple_baselines or None,
            **self.evaluation.as_summary_json(),
            **({"groups": [{"target": each.target, **each.record()} for each in self.groups]} if self.groups else {}),
            **({"against": [each.as_json() for each in self.against]} if self.against else {}),
            **({"similarities": [each.as_json() for each in self.similarities]} if self.similarities else {}),
            "warnings": list(self.warnings),
            "unreadable": [cell.as_dict() for cell in self.evaluation.unreadable],
        }

    def __repr__(self) -> str:
        return visible(f"Scores({self.table!r}, {self.evaluation.num_rows:,} rows: {self.evaluation.headline()})")

    def _repr_html_(self) -> str:
        return preformatted(self.text())

    def text(self) -> str:
        """For people."""
        report = Report(
            title=self.table,
            evaluation=self.evaluation,
            num_columns=self.num_columns,
            split=self.table,
            comparisons=self.baselines,
            simple_baselines=self.simple_baselines,
        )
        lines = report_text(report).splitlines()
        if self.no_simple_baselines:
            lines += ["", *wrapped(f"No simple baselines: {self.no_simple_baselines}.", hanging="  ")]
        for paired in self.against:
            lines += ["", *paired_text(paired).splitlines()]
        for similarity in self.similarities:
            lines += ["", *wrapped(f"{similarity.text()}.", hanging="  ")]
        for groups in self.groups:
            lines += ["", *groups_text(groups).splitlines()]
        cells = self.evaluation.unreadable
        for cell in cells[:10]:
            lines += wrapped(f"unreadable, counted as missing: {cell}", hanging="  ")
        if len(cells) > 10:
            lines.append(f"... and {len(cells) - 10} more; --json lists all")
        return joined(lines)


def evaluate(
    bundle: Bundle | str | Path,
    source: Any,
    *,
    root: str | Path | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    decoding: DecodingOptions | None = None,
    split: str | None = None,
    by: Sequence[str] = (),
    against: Sequence[Bundle | str | Path] = (),
    judge: Bundle | str | Path | None = None,
    simple_baselines: bool = True,
    block_size: int | None = None,
    exact: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Scores a model on a table that has the targets.

    Args:
        bundle: A bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        root: The folder that media paths are relative to; by default the table's own.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
        decoding: As in `predict`.
        split: The part of the table that is scored, as the model's recipe splits it: "test", "validation", "train" or
            "all". By default all rows, with a warning if the model is known to have been trained on some of them.
        by: Columns of the table, whether the model reads them or not: every metric is given for each of their values
            too, and the gap between the best and the worst.
        against: Other bundles, or their folders, that predict the same targets: they are scored on the same rows, and
            every metric that both have is compared, paired.
        judge: A bundle with a joint embedding space, or its folder, of which a predicted column and an input are
            members: predicted cells are scored by their cosine with the input there.
        simple_baselines: Whether the simple models that the run's folder keeps are scored beside the model.
        block_size: As in `predict`.
        exact: As in `predict`.
        progress: Called with the rows that are done and the rows there are; those of every pass count.

    Raises:
        UserError: The bundle or the table can't be read, no row has a target, or there is no such decoding.
    """
    own = as_bundle(bundle)
    loaded = own.with_decoding(decoding).with_blocks(block_size=block_size, exact=exact)
    table = part_of(loaded, loaded.processor.require_any(loaded.read(source, root=root, also=by)), split)
    for target in loaded.schema.targets:
        for column in target.columns:
            table.require(column, "target column")
    for column in by:
        table.require(column, "column to group by")
    others = [(_called(other, i), as_bundle(other)) for i, other in enumerate(against)]
    for name, other in others:
        _require_alike(loaded, other, name)
    judging = None if judge is None else as_bundle(judge)
    if judging is not None:
        judged_columns(loaded, judging)
    warnings = warn_of_each(_log, loaded.processor.unfamiliar(table))
    blind = shuffled_inputs(table, loaded.schema, seed)
    reads_simple = simple_baselines and not no_simple_baselines(replace(loaded, folder=own.folder))
    before = 1 + (blind is not None) + len(others)
    total = len(table) * (before + reads_simple + 3 * (judging is not None))
    evaluation = evaluate_bundle(loaded, table, bootstrap=bootstrap, seed=seed, progress=within(progress, 0, total))
    if not any(evaluation.num_counted(target.name) for target in loaded.schema.targets):
        cells = "; ".join(str(cell) for cell in evaluation.unreadable[:3])
        raise TableError(
            f"{table.name}: no row has a target that can be read, so there is nothing to score"
            f"{': ' + cells if cells else ''}"
        )
    baselines = {CONSTANT: constant_baseline(evaluation, bootstrap=bootstrap, seed=seed)}
    if blind is not None:
        rest = within(progress, len(table), total)
        baselines[SHUFFLED] = evaluate_bundle(
            loaded, blind, bootstrap=bootstrap, seed=seed, progress=rest, judged=table
        )
    simple, why_none = dict[str, TargetBaselines](), ""
    paired = list[PairedScores]()
    for i, (name, other) in enumerate(others):
        rest = within(progress, len(table) * (1 + (blind is not None) + i), total)
        theirs = other.with_decoding(decoding).with_blocks(block_size=block_size, exact=exact)
        scored = evaluate_bundle(theirs, theirs.processor.require_any(table), bootstrap=0, seed=seed, progress=rest)
        paired += [
            paired_scores(evaluation, scored, target, name, bootstrap=bootstrap, seed=seed)
            for target in loaded.schema.targets
        ]
    similarities = list[JointSimilarity]()
    if judging is not None:
        rest = within(progress, len(table) * before, total)
        similarities = joint_similarities(
            loaded, judging, table, bootstrap=bootstrap, seed=seed, progress=rest
        )  # fmt: skip
    if simple_baselines:
        rest = within(progress, total - len(table), total)
        simple, why_none = kept_simple_baselines(
            replace(loaded, folder=own.folder), table, evaluation, bootstrap=bootstrap, seed=seed, progress=rest
        )
    return Scores(
        table=table.name,
        evaluation=evaluation,
        num_columns=len(loaded.schema.columns),
        baselines=baselines,
        simple_baselines=simple,
        no_simple_baselines=why_none,
        warnings=warnings,
        groups=_groups(loaded, table, evaluation, by, bootstrap, seed),
        against=tuple(paired),
        similarities=tuple(similarities),
    )


def _called(other: Bundle | str | Path, position: int) -> str:
    """What another model is called in what is said of it."""
    if not isinstance(other, Bundle):
        return str(shown_path(Path(other)))
    return f"model {position + 1}" if other.folder is None else str(shown_path(other.folder))


def _require_alike(bundle: Bundle, other: Bundle, name: str) -> None:
    """Refuses a model that predicts something else."""
    theirs = {target.name: target.task for target in other.schema.targets}
    for target in bundle.schema.targets:
        if theirs.get(target.name) != target.task:
            known = ", ".join(f"{each!r} ({kind})" for each, kind in theirs.items())
            raise ConfigError(
                f"{name} can't be compared: it predicts {known}, and has no target {target.name!r} ({target.task}); "
                "name a model that was trained for the same targets"
            )


def _groups(
    bundle: Bundle, table: Table, evaluation: Evaluation, by: Sequence[str], bootstrap: int, seed: int
) -> tuple[Groups, ...]:
    """By each of some columns each target's scores."""
    dataset = TableDataset(table, bundle.processor) if by else None
    results = []
    for target in evaluation.targets:
        for column in by:
            assert dataset is not None
            asked = AuditInput(
                target=target,
                split=table.name,
                statistics=evaluation.statistics[target.name],
                rows=evaluation.rows,
                dataset=dataset,
                clusters=evaluation.clusters,
                bootstrap=bootstrap,
                seed=seed,
            )
            results.append(measure_groups(asked, column))
    return tuple(results)
