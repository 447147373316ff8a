"""What each column of a table is, guessed from its cells and its name, with the reason in words.

A guess is only as good as the user's chance to see that it is wrong, so every column gets one sentence with its
evidence, and columns that are left out say how to take them in. At most 1,000 cells of a column are looked at, chosen
by a fixed permutation; distinct values, ranges and give-away columns are counted over all rows.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from polysense.core.logs import get_logger
from polysense.core.modality_spec import Claim
from polysense.core.registry import modalities, named, tasks
from polysense.core.role import Role
from polysense.core.spelling import did_you_mean
from polysense.core.task_spec import TargetClaim
from polysense.core.unsupported import Unsupported
from polysense.data.roles.cleaned import cleaned
from polysense.data.roles.leaks import find_leaks
from polysense.data.roles.persons import claim_person, settle_persons, too_few_persons
from polysense.data.roles.profile import Cause, ColumnGuess, ColumnProfile, quote
from polysense.data.roles.split_marks import SPLIT_NAMES, trained_and_held_out, why_split_mark
from polysense.data.split import split_name
from polysense.data.tables.sources import Table
from polysense.data.values.pairs import describe_pairs
from polysense.errors import ColumnError, TableError

__all__ = ["ColumnGuess", "guess_target", "infer", "stated_target"]

logger = get_logger("polysense.data.roles.infer")

_MAJORITY = 0.8  # of the texts that name files of one kind
_TEXTS = 0.9  # of the cells
_FEW = 20  # values
_MOST_LOGGED = 10  # columns
_USE = "to use it, name it under columns with its type"


def infer(
    table: Table, targets: Sequence[str], *, overrides: Mapping[str, str] | None = None, logs: bool = True
) -> list[ColumnGuess]:
    """Guesses what each column of a table is.

    Args:
        table: The table; deterministic in it.
        targets: The columns to predict.
        overrides: Per column what the user says it is: a modality, for a target a task, or a role ("ignored", "group",
            "split", "weight"). MODALITY:COLUMN makes one more input of a column ("audio:clip": the audio of the videos
            in clip) under a new name.
        logs: Whether columns that are no inputs and warnings are logged; not where the guesses are shown anyway.

    Returns:
        A guess per column, in the table's order; then one for each further input.

    Raises:
        TableError: The table has no rows, or a named column does not exist.
        ColumnError: A target can't be predicted, or an override is unknown or not supported.
    """
    if not len(table):
        raise TableError(f"{table.name}: has no rows, only the columns {', '.join(map(repr, table.names)) or '(none)'}")
    overrides = dict(overrides or {})
    for name in targets:
        table.require(name, "target column")
    more = [_another(table, name, overrides.pop(name)) for name in list(overrides) if ":" in overrides[name]]
    for name in overrides:
        table.require(name, "column")
    stated = {name: _override(table, name, value, name in targets) for name, value in overrides.items()}
    guesses = {name: stated[name] if name in stated else _guess(table, name, name in targets) for name in table.names}
    _settle_splits(guesses, set(stated))
    _use_with_own_split(table, guesses, set(stated) | set(targets))
    settle_persons(table, guesses, targets, set(stated))
    for target in targets:
        if target not in stated:
            guesses[target] = _unless_unseen(table, guesses, guesses[target])
        find_leaks(table, guesses, guesses[target], set(stated))
    if logs:
        _log_guesses(table, [guesses[name] for name in table.names if name not in targets], set(stated))
    return [*(guesses[name] for name in table.names), *more]


def _log_guesses(table: Table, guesses: Sequence[ColumnGuess], stated: Collection[str]) -> None:
    """One line for a column that is no input, or that has a warning; of a wide table those of the first few."""
    warned = [guess for guess in guesses if guess.warnings]
    for guess in warned[:_MOST_LOGGED]:
        # What leaves a column out stands in its reason, and how to take it in.
        text = guess.reason if guess.role is Role.IGNORED else "; ".join(guess.warnings)
        logger.warning("%s, column %r: %s", table.name, guess.name, text)
    left = [guess for guess in guesses if guess.role in (Role.IGNORED, Role.GROUP, Role.SPLIT) and not guess.warnings]
    left = [guess for guess in left if guess.name not in stated]
    for guess in left[:_MOST_LOGGED]:
        logger.info("%s, column %r is no input: %s", table.name, guess.name, guess.reason)
    for rest, level, what in (
        (warned[_MOST_LOGGED:], logging.WARNING, "have warnings"),
        (left[_MOST_LOGGED:], logging.INFO, "are no inputs"),
    ):
        if rest:
            names = ", ".join(repr(guess.name) for guess in rest[:_MOST_LOGGED])
            more = " ..." if len(rest) > _MOST_LOGGED else ""
            logger.log(
                level,
                "%s: %d more columns %s (%s%s); `polysense check` says of each why",
                table.name, len(rest), what, names, more,
            )  # fmt: skip


def _another(table: Table, name: str, value: str) -> ColumnGuess:
    """One more input of a column of the table."""
    kind, _, column = value.partition(":")
    if table.has(name):
        raise ColumnError(f"{table.name}: {name}={value} needs a new name, but there is a column {name!r} already")
    table.require(column, "column")
    guess = _override(table, column, kind, is_target=False)
    if guess.role is not Role.INPUT:
        raise ColumnError(f"{table.name}: {name}={value}: found {kind!r}, expected what an input is, such as audio")
    return dataclasses.replace(guess, name=name, column=column, reason=f"{guess.reason}, of column {column!r}")


def _settle_splits(guesses: dict[str, ColumnGuess], stated: set[str]) -> None:
    """One split: the stated one, else the first whose values name splits; others mark rows and are no input."""
    splits = sorted(
        (name for name, guess in guesses.items() if guess.role is Role.SPLIT), key=lambda n: n not in stated
    )
    for name in splits[1:]:
        reason = f"ignored: {guesses[name].reason}; the split is {splits[0]!r}; to use it, name it as the split"
        guesses[name] = dataclasses.replace(guesses[name], role=Role.IGNORED, reason=reason)


def _use_with_own_split(table: Table, guesses: dict[str, ColumnGuess], settled: set[str]) -> None:
    """Makes inputs of columns that were left out only because a random split would judge them too well."""
    if not any(guess.role is Role.SPLIT for guess in guesses.values()):
        return
    for name, guess in guesses.items():
        if name in settled or guess.role is not Role.IGNORED or guess.modality is None:
            continue
        claim = modalities()[guess.modality].claim(ColumnProfile(table, name, literal=False))
        if claim is not None and not claim.is_used and claim.with_own_split is not None:
            reason = f"{guess.modality}: {claim.with_own_split}"
            guesses[name] = dataclasses.replace(
                guess, role=Role.INPUT, reason=reason, multiple=claim.multiple, settings=claim.settings
            )


def _guess(table: Table, name: str, is_target: bool) -> ColumnGuess:
    if is_target:
        profile = ColumnProfile(table, name, literal=True)
        return dataclasses.replace(guess_target(profile), num_missing=profile.num_missing(None))
    if name == table.key:
        return ColumnGuess(name=name, role=Role.IGNORED, reason="ignored: names each row, as its source has it")
    evidence = _Input(table, name, literal=False)
    guess = _of_lists(table, name) or evidence.guess()
    return dataclasses.replace(guess, num_missing=evidence.num_missing(guess.modality))


def _of_lists(table: Table, name: str) -> ColumnGuess | None:
    """What the cells of a joined table are whose lists a column holds, by that table's own rows; None of others."""
    for result in table.joins.values():
        if not result.is_list or name not in result.columns or result.name not in table.sides:
            continue
        side = table.sides[result.name]
        guess = _guess(side, result.columns[name], is_target=False)
        kind, _, evidence = guess.reason.partition(": ")
        reason = f"{kind}: lists of up to {result.most:,} cells of {side.name}: {evidence}"
        if guess.role is Role.INPUT:
            return dataclasses.replace(guess, name=name, multiple=True, reason=reason)
        reason = reason if guess.role is Role.IGNORED else f"ignored: {reason}; {_USE}"
        return ColumnGuess(name=name, role=Role.IGNORED, reason=reason, modality=guess.modality, cause=guess.cause)
    return None


def _unless_unseen(table: Table, guesses: Mapping[str, ColumnGuess], target: ColumnGuess) -> ColumnGuess:
    """A text instead of classes where the table's own split holds out names that training has never seen.

    Drawings of unseen concepts can be named, but not by a class that no row taught.
    """
    split = next((guess.name for guess in guesses.values() if guess.role is Role.SPLIT), None)
    generated = next((name for name, spec in tasks().items() if spec.generates), None)
    if target.task is None or not tasks()[target.task].has_classes or split is None or generated is None:
        return target
    answer = cleaned(table, target.name, literal=True)
    if answer.dtype != pl.String:
        return target
    known, held_out = trained_and_held_out(table, split, answer)
    unseen = int((~held_out.is_in(known.implode())).sum())
    words = [len(name.split()) for name in held_out.to_list()]
    if len(known) <= _FEW or len(held_out) <= _FEW or unseen < 0.5 * len(held_out) or sum(words) < 1.5 * len(words):
        return target
    reason = (
        f"{generated}: texts, since training rows hold none of {unseen:,} of the {len(held_out):,} that stand in "
        "validation and test; if they are classes, its type is classification"
    )
    return dataclasses.replace(target, task=generated, reason=reason)


def _override(table: Table, name: str, value: str, is_target: bool) -> ColumnGuess:
    where = f"{table.name}, column {name!r}"
    roles = (Role.IGNORED, Role.GROUP, Role.SPLIT, Role.WEIGHT)
    predicted = [n for n, spec in tasks().items() if spec.has_column and not isinstance(spec.preset, Unsupported)]
    choices = [str(choice) for choice in (predicted if is_target else [*modalities(), *roles])]
    if value not in choices:
        hint = did_you_mean(value, choices)
        raise ColumnError(f"{where}: found {value!r}, expected one of {', '.join(choices)}{hint}")
    evidence = ColumnProfile(table, name, literal=is_target)
    reason = f"{value}: as stated"
    if is_target:
        return dataclasses.replace(stated_target(evidence, value), num_missing=evidence.num_missing(None))
    if value in roles:
        return ColumnGuess(name=name, role=Role(value), reason=reason, num_missing=evidence.num_missing(None))
    claim = modalities()[value].claim(evidence)
    return ColumnGuess(
        name=name,
        role=Role.INPUT,
        modality=value,
        multiple=evidence.are_lists,
        settings={} if claim is None else claim.settings,
        num_missing=evidence.num_missing(value),
        reason=reason,
    )


class _Input(ColumnProfile):
    """The guess for a column that is no target."""

    def __init__(self, table: Table, name: str, literal: bool) -> None:
        super().__init__(table, name, literal)
        self._remarks: list[str] = []
        self._warnings: list[str] = []

    def _remark(self, text: str, *, warns: bool) -> None:
        """What is said of the column if it becomes an input."""
        self._remarks.append(text)
        if warns:
            self._warnings.append(text)

    def _is(self, role: Role, reason: str, **more: Any) -> ColumnGuess:
        return ColumnGuess(name=self.name, role=role, reason=reason, **more)

    def _ignored(self, reason: str, modality: str | None = None, cause: Cause | None = None) -> ColumnGuess:
        return self._is(Role.IGNORED, f"ignored: {reason}", modality=modality, cause=cause)

    def guess(self) -> ColumnGuess:
        """The surest modality's claim, unless there is a better reason to leave the column out."""
        if not self.cells:
            return self._ignored(f"all {self.num_rows:,} cells are missing", cause=Cause.EMPTY)
        split = self._split()
        if split is not None:
            return split
        mark = why_split_mark(self)
        if mark is not None:
            return self._ignored(f"{mark}; {_USE}", cause=Cause.SPLIT_MARK)
        guess = self._guess()
        person = claim_person(self)
        if person is None:
            return self._remarked(guess)
        usable = guess.role is Role.INPUT and self.num_numbers < len(self.cells)  # a person's number is no quantity
        modality = guess.modality if usable else None
        return self._is(Role.GROUP, f"group: {person}", modality=modality, multiple=guess.multiple)

    def _remarked(self, guess: ColumnGuess) -> ColumnGuess:
        """The guess with what else is to be said of the column, where it is an input or what it is stays open."""
        kind = None if guess.modality is None else modalities()[guess.modality]
        pairs = describe_pairs(self.cells) if kind is None or (kind.is_textual and guess.role is Role.INPUT) else None
        if pairs is not None:
            self._remark(pairs, warns=True)
        elif guess.role is not Role.INPUT:
            return guess
        few = too_few_persons(self)
        if few is not None:
            self._remark(few, warns=True)
        reason = "".join([guess.reason, *(f"; {remark}" for remark in self._remarks)])
        return dataclasses.replace(guess, reason=reason, warnings=(*guess.warnings, *self._warnings))

    def _guess(self) -> ColumnGuess:
        claims = {name: claim for name, spec in modalities().items() if (claim := spec.claim(self)) is not None}
        modality = max(claims, key=lambda name: claims[name].confidence) if claims else None  # of equals, the first
        claim = None if modality is None else claims[modality]
        for other in (each for each in claims.values() if each is not claim and each.hint):
            self._remark(other.hint, warns=other.warns)
        if claim is not None and claim.confidence >= Claim.SURE:
            return self._claimed(modality, claim)
        reason = self._why_not()
        if reason is not None:
            why, cause = reason
            return self._ignored(why, cause=cause)
        if claim is not None:
            return self._claimed(modality, claim)
        return self._ignored(
            f"its cells are of several kinds ({', '.join(sorted({type(c).__name__ for c in self.cells}))})"
        )

    def _claimed(self, modality: str | None, claim: Claim) -> ColumnGuess:
        if not claim.is_used:
            return self._ignored(claim.evidence, modality)
        reason = f"{modality}: {claim.evidence}"
        return self._is(Role.INPUT, reason, modality=modality, multiple=claim.multiple, settings=claim.settings)

    def _split(self) -> ColumnGuess | None:
        if not self.words & SPLIT_NAMES or self.are_lists:
            return None
        values = self.series.drop_nulls().cast(pl.String, strict=False).value_counts(sort=True).rows()
        named = {value: split_name(value) for value, _ in values}
        known = sum(count for value, count in values if named[value])
        if "train" not in named.values() or known < 0.5 * self.num_present:
            return None
        listed = ", ".join(f"{value} ({count:,})" for value, count in values[:6])
        unknown = [repr(value) for value in named if not named[value]]
        rest = f"; rows of {', '.join(unknown[:4])} are in no split unless the split names them" if unknown else ""
        return self._is(Role.SPLIT, f"split: its values name splits, {listed}{rest}")

    def _why_not(self) -> tuple[str, Cause | None] | None:
        """Why a column that no modality is sure of is better left out."""
        if self.items and all(isinstance(item, bytes) for item in self.items):
            return "bytes of no format that is known here", None
        if self.are_lists:
            if self.items and all(isinstance(item, (int, float)) for item in self.items):
                longest = max(len(cell) for cell in self.cells if isinstance(cell, list))
                return f"lists of up to {longest:,} numbers, which no column type reads", None
            return "lists of mixed or nested values, which no column type reads", None
        if isinstance(self.cells[0], dict):
            return f"structures with the keys {', '.join(self.cells[0])}; give each key a column of its own", None
        distinct, notation = self.num_distinct(), self.notation
        if 2 * len(notation.bounds) > notation.num_cells:
            share = len(notation.bounds) / notation.num_cells
            return f"no numbers, but limits such as {quote(notation.bounds[0])}, in {share:.0%} of its cells", None
        if distinct <= 1:
            return (
                f"constant, {quote(self.cells[0])} in all {self.num_present:,} rows that have a value",
                Cause.CONSTANT,
            )
        if self.is_index:
            low, high, _ = self.range_of_numbers()
            if distinct == self.num_present:
                return f"numbers the rows, {low} to {high}, each once; {_USE}", Cause.ROW_NUMBER
            return f"an index by its name, integers {low} to {high}; {_USE}", Cause.ROW_NUMBER
        extensions = Counter(
            match[1] for text in self.texts if (match := re.fullmatch(r"[^\n]*[^\s./\\]\.([A-Za-z]\w{1,4})", text))
        )
        if extensions and distinct > 0.5 * self.num_present:
            extension, count = extensions.most_common(1)[0]
            if count >= _MAJORITY * len(self.texts) and len(self.texts) >= _TEXTS * len(self.cells):
                return f"names of .{extension} files, which no column type reads", None
        if self.code is not None:
            return self._identifier(self.code, distinct), Cause.IDENTIFIER
        return None

    def _identifier(self, what: str, distinct: int) -> str:
        if distinct == self.num_present:
            return f"an identifier: {what}, each once; {_USE}"
        return (
            f"an identifier: {what}, {distinct:,} different, {self.num_present / distinct:.3g} rows each; if rows that "
            f"share one belong together, split by group on it; {_USE}"
        )


def guess_target(evidence: ColumnProfile) -> ColumnGuess:
    """The guess for a target column.

    Raises:
        ColumnError: It has no values, only one, or values that no task predicts.
    """
    where = f"{evidence.table.name}, target column {evidence.name!r}"
    if not evidence.cells:
        raise ColumnError(f"{where}: all {evidence.num_rows:,} cells are missing; nothing can be learned from it")
    claims = {name: claim for name in tasks() if (claim := _claim(name, evidence)) is not None}
    name = max(claims, key=lambda name: claims[name].confidence, default=None)  # of equals, the first
    if name is not None and claims[name].confidence >= TargetClaim.SURE:
        return _target_guess(evidence, name, claims[name])
    if isinstance(evidence.cells[0], (bytes, dict)):
        raise ColumnError(
            f"{where}: found {type(evidence.cells[0]).__name__} cells, which no task reads "
            f"({', '.join(tasks())}); expected classes, numbers or lists of labels"
        )
    if evidence.num_distinct() == 1:
        raise ColumnError(
            f"{where}: has the same value, {quote(evidence.cells[0])}, in all {evidence.num_present:,} rows that have "
            f"one; nothing can be learned from it"
        )
    if name is None:
        raise ColumnError(
            f"{where}: found {evidence.counts()}, such as {quote(evidence.cells[0])}: too many for classes, and too "
            f"short for texts; state the target's type, as classification, regression (numbers in one unit) "
            f"or generation"
        )
    return _target_guess(evidence, name, claims[name])


def stated_target(evidence: ColumnProfile, name: str) -> ColumnGuess:
    """What a target column is that the user says the task of."""
    claim = _claim(name, evidence, stated=True) or TargetClaim(confidence=1.0, evidence="as stated")
    return _target_guess(evidence, name, claim)


def _claim(name: str, evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    infer = tasks()[name].infer
    if isinstance(infer, Unsupported):
        return None
    claim = named(infer)(evidence, stated=stated)
    assert claim is None or isinstance(claim, TargetClaim), f"{infer} gave a {type(claim).__name__}"
    return claim


def _target_guess(evidence: ColumnProfile, name: str, claim: TargetClaim) -> ColumnGuess:
    return ColumnGuess(
        name=evidence.name,
        role=Role.TARGET,
        reason=f"{name}: {claim.evidence}",
        task=name,
        multiple=claim.multiple,
        delimiter=claim.delimiter,
        over=claim.over,
        settings=claim.settings,
    )
