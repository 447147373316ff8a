"""The worst predictions, as a person sees them: what went in, what is correct, and what was predicted.

What is worst, and by which kinds, is the task's to say (`TaskSpec.mistakes`). A page holds its pictures and players
itself, so there is a budget of bytes: the first mistake of every kind comes before the second of any, and where the
budget ends a clip is only seen, and then only named.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.core.json import JsonValue
from polysense.core.preview import CellPreview
from polysense.core.registry import named, task
from polysense.core.sample_output import SampleOutput
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.evaluator import Evaluation
from polysense.reports.environment import render_section
from polysense.reports.neighbors import Tile, neighbor_tiles
from polysense.reports.previews import preview_input
from polysense.reports.sample_log import outputs_of
from polysense.workflows.audit.subject import AuditSubject

__all__ = ["Mistakes", "SeenMistake", "measure_mistakes"]

_MOST_BYTES = 2_500_000  # of pictures, players and texts, before base64 makes a third more of them
_MOST_SHOWN, _MOST_SHOWN_FULL = 24, 60
_SIDE = 112  # pixels of a thumbnail
_MOST_IMAGES = 3
_MOST_TEXT = 20_000  # characters of a text that a page shows at most


@dataclass(frozen=True, eq=False, kw_only=True)
class SeenMistake:
    """One mistake.

    Attributes:
        row: Its number in the table.
        words: What is wrong and how much.
        inputs: What went in; empty where the page's budget is spent.
        outputs: The prediction beside what is correct.
        sections: How the task shows each of them, where words don't do.
        tiles: The neighbors of each, if it is a search.
    """

    row: int
    words: str
    inputs: Sequence[CellPreview] = ()
    outputs: Sequence[SampleOutput] = ()
    sections: Sequence[Markup | None] = ()
    tiles: Sequence[Sequence[Tile]] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Mistakes(AuditPart):
    """The worst predictions by kind.

    Attributes:
        groups: The kinds.
        seen: Of each the mistakes that are shown.
    """

    name: ClassVar[str] = "mistakes"
    title: ClassVar[str] = "Mistakes"
    template: ClassVar[str] = "audit_mistakes.html.j2"

    groups: tuple[MistakeGroup, ...]
    seen: tuple[tuple[SeenMistake, ...], ...]

    def record(self) -> Mapping[str, JsonValue]:
        return {
            "groups": [
                {
                    "title": group.title,
                    "num_rows": group.total,
                    "note": group.note,
                    "rows": [{"row": each.row, "words": each.words} for each in seen],
                }
                for group, seen in zip(self.groups, self.seen, strict=True)
            ]
        }

    def findings(self) -> Sequence[str]:
        return []


def measure_mistakes(subject: AuditSubject) -> list[AuditPart]:
    """Those of each target whose task says what they are."""
    results: list[AuditPart] = []
    for target in subject.evaluation.targets:
        where = task(target.task).mistakes
        if isinstance(where, Unsupported) or not subject.evaluation.num_counted(target.name):
            continue
        groups = named(where)(target, subject.evaluation)
        assert isinstance(groups, list), f"{where}: gives a {type(groups).__name__}, not groups of mistakes"
        if groups:
            results.append(_shown(subject, target, groups))
    return results


def _shown(subject: AuditSubject, target: Target, groups: Sequence[MistakeGroup]) -> Mistakes:
    evaluation = subject.evaluation
    # Decoded anew: what the feature store gave in place of cells can't be looked at.
    dataset = TableDataset(subject.table.select(evaluation.rows), subject.bundle.processor, with_features=False)
    budget = _MOST_BYTES // len(evaluation.targets)
    seen: list[list[SeenMistake]] = [[] for _ in groups]
    # So few rows are decoded in no time worth asking for.
    most = _MOST_SHOWN_FULL if subject.is_full else _MOST_SHOWN
    for index, mistake in itertools.islice(_in_turn(groups), most):
        shown, size = _seen(dataset, target, evaluation, mistake, budget)
        budget -= size
        seen[index].append(shown)
    return Mistakes(target=target.name, groups=tuple(groups), seen=tuple(map(tuple, seen)))


def _in_turn(groups: Sequence[MistakeGroup]) -> Iterator[tuple[int, Mistake]]:
    """The first of each group, then the second of each."""
    for place in range(max((len(group.mistakes) for group in groups), default=0)):
        for index, group in enumerate(groups):
            if place < len(group.mistakes):
                yield index, group.mistakes[place]


def _seen(
    dataset: TableDataset, target: Target, evaluation: Evaluation, mistake: Mistake, budget: int
) -> tuple[SeenMistake, int]:
    """A mistake as it is shown, and its bytes; fewer of them where the budget asks for that."""
    position = mistake.position
    row = int(dataset.table.rows[position])
    sample = dataset[position]
    for playable in (True, False):
        inputs = [
            preview_input(
                column,
                dataset.table.cell(position, column.table_column) if dataset.table.has(column.table_column) else None,
                sample,
                most=_MOST_IMAGES,
                side=_SIDE,
                player=playable,
            )[0]
            for column in dataset.schema
        ]
        size = sum(map(_bytes, inputs))
        if size > budget:
            continue
        outputs = outputs_of(target, evaluation, position, dataset)
        sections = [None if output.section is None else render_section(output.section) for output in outputs]
        tiles = [() if output.nearest is None else neighbor_tiles(dataset, output.nearest) for output in outputs]
        size += sum(len(section) for section in sections if section is not None)
        size += sum(_bytes(tile.preview) for row_of in tiles for tile in row_of)
        if size > budget:
            continue
        return SeenMistake(
            row=row, words=mistake.words, inputs=inputs, outputs=outputs, sections=sections, tiles=tiles
        ), size
    return SeenMistake(row=row, words=mistake.words), 0


def _bytes(preview: CellPreview) -> int:
    return (
        sum(map(len, preview.images))
        + sum(len(file) for file, _ in preview.audio)
        + sum(min(len(text), _MOST_TEXT) for text in preview.texts)
    )
