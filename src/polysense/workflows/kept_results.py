"""What was measured of a run, kept in its folder, so that its report is written again without its model.

`measured/results.json` holds what pages say of the model (metrics, column importance, the audit's parts), and
`measured/statistics.npz` the row statistics that sections draw from. Both are of one model, one recipe and some tables,
and say of which: where any of these has changed, or a file is gone or damaged, the run is measured again. The mistakes'
pictures are not kept, since they are the table's own; they are read from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from polysense.core.dataclass_json import from_plain, to_plain
from polysense.core.json import json_text, parse_json, read_json, write_json
from polysense.core.logs import get_logger
from polysense.core.sample import SourceInfo, Unreadable
from polysense.core.version import VERSION
from polysense.data.tables.sources import Table
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.audit.result import AuditResult
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import Contributions
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.simple_baselines import TargetBaselines
from polysense.evaluation.statistics_file import read_clusters, read_statistics, write_statistics
from polysense.training.time_plan import Deadline
from polysense.workflows.audit.mistakes import Mistakes, measure_mistakes
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.run import Run

__all__ = ["FOLDER", "NoResultsError", "keep_results", "restore_results", "unreadable_cells"]

FOLDER = "measured"
"""In a run's folder."""

_RESULTS, _STATISTICS = "results.json", "statistics.npz"
_FORMAT = 1
_MOST_BYTES = 2**27  # of row statistics in memory; compressed they take about a third
_BYTES_OF_OBJECT = 100

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, kw_only=True)
class _KeptEvaluation:
    """An evaluation without its row statistics, which have its place in the list as their name."""

    split: str
    baseline: str | None
    metrics: Mapping[str, Mapping[str, Interval]]
    undefined: Mapping[str, Mapping[str, str]]
    confidence: float
    num_resamples: int
    is_one_group: bool


@dataclass(frozen=True, kw_only=True)
class _KeptAudit:
    """An audit without its parts and without column importance, which stand beside it."""

    level: str
    split: str
    num_rows: int
    confidence: float
    targets: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Results:
    """All that is kept but the audit's parts, each of which is of a class of its own."""

    evaluations: tuple[_KeptEvaluation, ...]
    simple_baselines: Mapping[str, Mapping[str, TargetBaselines]]
    contributions: Contributions | None
    contribution_split: str | None
    audit: _KeptAudit | None
    left_out: tuple[str, ...]
    pages: tuple[str, ...] | None


class NoResultsError(Exception):
    """A run's folder holds no results, or none of what it is now; the message says why."""


def keep_results(run: Run, fingerprints: object, pages: Sequence[str] | None) -> None:
    """Writes what was measured; nothing where it is too large to be kept.

    Args:
        run: Measured.
        fingerprints: Of its tables, as in `RunRecord.tables`.
        pages: Those beside the report that were written; None where that was not tried.
    """
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    for name in (_RESULTS, _STATISTICS):
        (folder / name).unlink(missing_ok=True)
    named = [(split, None, one) for split, one in run.evaluations.items()]
    every = [*named, *((split, name, one) for split, own in run.baselines.items() for name, one in own.items())]
    size = sum(_size(array) for *_, one in every for own in one.statistics.values() for array in own.values())
    if size > _MOST_BYTES:
        _log.info(
            "the predictions' row statistics take %d MB, more than the %d that a run keeps: its report is written "
            "again by measuring it again", size >> 20, _MOST_BYTES >> 20,
        )  # fmt: skip
        return
    audit = run.audit
    results = _Results(
        evaluations=tuple(
            _KeptEvaluation(
                split=split,
                baseline=name,
                metrics=one.metrics,
                undefined=one.undefined,
                confidence=one.confidence,
                num_resamples=one.num_resamples,
                is_one_group=one.is_one_group,
            )
            for split, name, one in every
        ),
        simple_baselines=run.simple_baselines,
        contributions=run.contributions,
        contribution_split=run.contribution_split,
        audit=None
        if audit is None
        else _KeptAudit(
            level=audit.level,
            split=audit.split,
            num_rows=audit.num_rows,
            confidence=audit.confidence,
            targets=audit.targets,
            left_out=audit.left_out,
        ),
        left_out=tuple(run.left_out),
        pages=None if pages is None else tuple(pages),
    )
    parts = () if audit is None else audit.parts
    write_statistics(folder / _STATISTICS, {str(i): one for i, (*_, one) in enumerate(every)})
    # Last, for it says that the other is there.
    write_json(
        folder / _RESULTS,
        {
            "format": _FORMAT,
            **_marks(run, fingerprints),
            "results": to_plain(results),
            "parts": [
                [part.name, part.target, None if isinstance(part, Mistakes) else to_plain(part)] for part in parts
            ],
        },
    )


def restore_results(run: Run, tables: Mapping[str, Table], fingerprints: object) -> bool:
    """Reads what was measured into a run.

    Args:
        run: Trained; it is left as it is where nothing can be read.
        tables: Per split, that of the rows out of fold among them.
        fingerprints: Of the tables, as they are now.

    Returns:
        Whether the pages beside the report are there, too; these need the model.

    Raises:
        NoResultsError: They are not there, or not of this run.
    """
    folder = run.folder / FOLDER
    try:
        kept = read_json(folder / _RESULTS, dict)
        if kept.get("format") != _FORMAT:
            raise NoResultsError(_CHANGED["version"])
        for name, mark in _marks(run, fingerprints).items():
            if kept.get(name) != mark:
                raise NoResultsError(_CHANGED[name])
        results = from_plain(_Results, kept["results"])
        evaluations = [_evaluation(run, folder, i, one) for i, one in enumerate(results.evaluations)]
        parts: list[AuditPart | str] = [
            target if plain is None else from_plain(_part_class(name), plain) for name, target, plain in kept["parts"]
        ]
    except FileNotFoundError:
        raise NoResultsError("its folder holds none") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoResultsError(f"those in its folder can't be read ({error})") from None
    if missing := {one.split for one in results.evaluations} - set(tables):
        raise NoResultsError(f"there are no rows of {', '.join(sorted(missing))} any more")
    run.evaluations = {
        one.split: each for one, each in zip(results.evaluations, evaluations, strict=True) if one.baseline is None
    }
    run.baselines = {
        split: {
            one.baseline: each
            for one, each in zip(results.evaluations, evaluations, strict=True)
            if one.split == split and one.baseline is not None
        }
        for split in run.evaluations
    }
    run.simple_baselines = dict(results.simple_baselines)
    run.contributions, run.contribution_split = results.contributions, results.contribution_split
    run.left_out = list(results.left_out)
    if results.audit is not None:
        run.audit = _audit(run, tables, results, parts)
    return results.pages is not None and all((run.folder / name).exists() for name in results.pages)


def unreadable_cells(folder: Path) -> dict[str, list[Unreadable]]:
    """The cells of a run that could not be read, by split; as unreadable.jsonl has them."""
    try:
        lines = (folder / "unreadable.jsonl").read_text(encoding="utf-8").splitlines()
        cells = [parse_json(line, dict) for line in lines]
    except (OSError, ValueError):
        return {}
    results: dict[str, list[Unreadable]] = {}
    for cell in cells:
        source = SourceInfo(
            table=cell["table"], row=cell["row"], column=cell["column"], file=cell.get("file"), key=cell.get("key")
        )
        results.setdefault(cell.get("split", ""), []).append(Unreadable(source=source, reason=cell["reason"]))
    return results


_CHANGED = {
    "version": "another version of polysense wrote them",
    "model": "they are of another model",
    "recipe": "the recipe has changed",
    "tables": "a table has changed",
}


def _marks(run: Run, fingerprints: object) -> dict[str, str]:
    """Of what the results are."""
    model = read_json(run.folder / "bundle" / "bundle.json", dict)["sha256"]
    # `polysense report` writes pages whatever the recipe says of them.
    recipe = run.recipe.relative_to(run.folder).to_yaml(comments=False).replace("report: false", "report: true")
    digests = {"model": json_text(model, sort_keys=True), "recipe": recipe}
    digests["tables"] = json_text(fingerprints, sort_keys=True)
    return {"version": VERSION} | {name: sha256(text.encode()).hexdigest() for name, text in digests.items()}


def _evaluation(run: Run, folder: Path, place: int, kept: _KeptEvaluation) -> Evaluation:
    targets = run.bundle.schema.targets
    rows, statistics = read_statistics(folder / _STATISTICS, str(place), targets)
    cells = unreadable_cells(run.folder).get(kept.split, []) if kept.baseline is None else []
    return Evaluation(
        targets=targets,
        metrics=kept.metrics,
        undefined=kept.undefined,
        rows=rows,
        statistics=statistics,
        unreadable=tuple(cells),
        confidence=kept.confidence,
        num_resamples=kept.num_resamples,
        clusters=read_clusters(folder / _STATISTICS, str(place)),
        is_one_group=kept.is_one_group,
    )


def _audit(run: Run, tables: Mapping[str, Table], results: _Results, parts: Sequence[AuditPart | str]) -> AuditResult:
    """The audit; in the place of a target's name its mistakes, whose rows are read from their table."""
    kept = results.audit
    assert kept is not None
    split = next(name for name in run.evaluations if name.replace("_", "-") == kept.split)
    mistakes: dict[str, AuditPart] = {}
    if any(isinstance(part, str) for part in parts):
        subject = AuditSubject(
            bundle=run.bundle,
            table=tables[split],
            split=kept.split,
            evaluation=run.evaluations[split],
            deadline=Deadline(math.inf),
            is_full=kept.level == "full",
        )
        mistakes = {part.target: part for part in measure_mistakes(subject)}
    shown = [mistakes.get(part) if isinstance(part, str) else part for part in parts]
    return AuditResult(
        level=kept.level,
        split=kept.split,
        num_rows=kept.num_rows,
        confidence=kept.confidence,
        targets=kept.targets,
        contributions=run.contributions,
        parts=tuple(part for part in shown if part is not None),
        seconds=0.0,
        left_out=kept.left_out,
    )


def _part_class(name: str) -> type[AuditPart]:
    known = {part.name: part for part in AuditPart.__subclasses__()}
    if name not in known:
        raise ValueError(f"there is no part of an audit that is called {name!r}")
    return known[name]


def _size(array: np.ndarray) -> int:
    if array.dtype != object:
        return array.nbytes
    return sum(each.nbytes if isinstance(each, np.ndarray) else _BYTES_OF_OBJECT + len(str(each)) for each in array)
