"""What each column of a table is, guessed from its cells and its name, with the reason in words.

A guess is only as good as the user's chance to see that it is wrong, so every column gets one sentence with its
evidence, and columns that are left out say how to take them in. At most 1,000 cells of a column are looked at, chosen
by a fixed permutation; distinct values, ranges and give-away columns are counted over all rows.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from polysense.core.modality import Modality, Role, Task
from polysense.core.registry import tasks
from polysense.data.evidence import ColumnGuess, Evidence, cleaned, num_words, quote
from polysense.data.infer_target import guess_target, stated_target
from polysense.data.kinds import is_code, is_date, is_number, media_of_bytes, media_of_text
from polysense.data.leaks import find_leaks
from polysense.data.sources import Table, resolve
from polysense.data.split import split_name
from polysense.errors import ColumnError, DecodeError, TableError
from polysense.modalities.date.parse import day_first
from polysense.modalities.image.decode import is_animation

__all__ = ["ColumnGuess", "infer"]

logger = logging.getLogger("polysense.data.infer")

_SAMPLE = 1_000
_MAJORITY = 0.8  # of the cells that decide a medium; the rest are unreadable, and are listed when they are read
_NUMBERS = 0.9  # likewise for numbers
_MAX_CATEGORIES = 1_000
_FEW = 20  # integers with at most so many values may be codes
_SPLIT_NAMES = {"split", "splits", "fold", "folds", "subset", "partition", "set", "phase"}
_ID_NAMES = {"id", "ids", "uuid", "guid", "key", "pk", "hash", "md5", "sha1", "sha256"}
_INDEX_NAMES = {"index", "idx", "rowid", "rownum", "unnamed"}
_GROUP_NAMES = {
    "patient", "subject", "participant", "user", "person", "customer", "speaker", "session", "dialogue", "dialog",
    "conversation", "case", "study", "group", "author", "writer", "donor",
}  # fmt: skip
_CODE_NAMES = {"class", "label", "category", "cat", "type", "kind", "code", "cls", "grade", "zip", "zipcode"}
_COUNT_NAMES = {"num", "n", "count", "number", "total"}
_USE = "to use it, name it under columns with its type"
_UNSUPPORTED = (Modality.SERIES,)
_FRAMES = 8  # of a video, as data.columns.NAME.frames: auto


def infer(table: Table, targets: Sequence[str], *, overrides: Mapping[str, str] | None = None) -> list[ColumnGuess]:
    """Guesses what each column of a table is.

    Args:
        table: The table; deterministic in it.
        targets: The columns to predict.
        overrides: Per column what the user says it is: a modality, for a target a task, or a role ("ignored",
            "group", "split", "weight"). MODALITY:COLUMN makes one more input of a column ("audio:clip": the sound of
            the videos in clip) under a new name.

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
    for target in targets:
        if target not in stated:
            guesses[target] = _unless_unseen(table, guesses, guesses[target])
        find_leaks(table, guesses, guesses[target], set(stated))
    return [*(guesses[name] for name in table.names), *more]


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


def _guess(table: Table, name: str, is_target: bool) -> ColumnGuess:
    if is_target:
        return guess_target(Evidence(table, name, literal=True))
    return _Input(table, name, literal=False).guess()


def _unless_unseen(table: Table, guesses: Mapping[str, ColumnGuess], target: ColumnGuess) -> ColumnGuess:
    """A text instead of classes where the table's own split holds out names that training has never seen.

    Drawings of unseen concepts can be named, but not by a class that no row taught.
    """
    split = next((guess.name for guess in guesses.values() if guess.role is Role.SPLIT), None)
    written = next((name for name, spec in tasks().items() if spec.generates), None)
    if target.task is None or not tasks()[target.task].has_classes or split is None or written is None:
        return target
    answer = cleaned(table, target.name, literal=True)
    if answer.dtype != pl.String:
        return target
    parts = cleaned(table, split, literal=False).cast(pl.String, strict=False)
    part = parts.map_elements(lambda value: split_name(value) or "", return_dtype=pl.String)
    rows = pl.DataFrame({"answer": answer, "part": part}).drop_nulls()
    known = rows.filter(pl.col("part") == "train")["answer"].unique()
    held_out = rows.filter(pl.col("part").is_in(["validation", "test"]))["answer"].unique()
    unseen = int((~held_out.is_in(known.implode())).sum())
    words = [len(name.split()) for name in held_out.to_list()]
    if len(known) <= _FEW or len(held_out) <= _FEW or unseen < 0.5 * len(held_out) or sum(words) < 1.5 * len(words):
        return target
    reason = (
        f"{written}: texts, since training rows hold none of {unseen:,} of the {len(held_out):,} that are to be found "
        "in validation and test; if they are classes, its type is classification"
    )
    return dataclasses.replace(target, task=Task(written), reason=reason)


def _override(table: Table, name: str, value: str, is_target: bool) -> ColumnGuess:
    where = f"{table.name}, column {name!r}"
    roles = (Role.IGNORED, Role.GROUP, Role.SPLIT, Role.WEIGHT)
    inputs = [modality for modality in Modality if modality not in _UNSUPPORTED]
    predicted = [name for name, spec in tasks().items() if spec.has_column]
    choices = [str(choice) for choice in (predicted if is_target else [*inputs, *roles])]
    if not is_target and value in _UNSUPPORTED:
        raise ColumnError(f"{where}: {value} is not supported yet; choose from {', '.join(choices)}")
    if value not in choices:
        near = difflib.get_close_matches(value, choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ColumnError(f"{where}: found {value!r}, expected one of {', '.join(choices)}{hint}")
    evidence = Evidence(table, name, literal=is_target)
    reason = f"{value}: as stated"
    if is_target:
        return stated_target(evidence, value)
    if value in roles:
        return ColumnGuess(name=name, role=Role(value), reason=reason)
    modality, frames = Modality(value), None
    if modality is Modality.VIDEO:
        modality, frames = Modality.IMAGE, _FRAMES
        reason = f"image: as stated, videos, of which the encoder of images sees {_FRAMES} frames each (frames)"
    elif modality is Modality.IMAGE and Modality.VIDEO in map(_medium, _items(evidence.cells)):
        frames = _FRAMES
        reason = f"image: as stated, {_FRAMES} frames of each video (frames)"
    return ColumnGuess(
        name=name, role=Role.INPUT, modality=modality, multiple=evidence.are_lists, frames=frames, reason=reason
    )


class _Input(Evidence):
    """The guess for a column that is no target."""

    def _is(self, role: Role, reason: str, **more: Any) -> ColumnGuess:
        return ColumnGuess(name=self.name, role=role, reason=reason, **more)

    def _ignored(self, reason: str, modality: Modality | None = None) -> ColumnGuess:
        return self._is(Role.IGNORED, f"ignored: {reason}", modality=modality)

    def _input(self, modality: Modality, evidence: str, multiple: bool = False) -> ColumnGuess:
        return self._is(Role.INPUT, f"{modality}: {evidence}", modality=modality, multiple=multiple)

    def guess(self) -> ColumnGuess:
        """The guess."""
        if not self.cells:
            return self._ignored(f"all {self.num_rows:,} cells are missing")
        for guess in (
            self._split,
            self._media,
            self._lists,
            self._structures,
            self._constant,
            self._numbers,
            self._strings,
        ):
            found = guess()
            if found is not None:
                return found
        return self._ignored(
            f"its cells are of several kinds ({', '.join(sorted({type(c).__name__ for c in self.cells}))})"
        )

    def _split(self) -> ColumnGuess | None:
        if not self.words & _SPLIT_NAMES or self.are_lists:
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

    def _media(self) -> ColumnGuess | None:
        multiple = self.are_lists
        items = _items(self.cells)
        kinds = Counter(kind for kind in map(_medium, items) if kind is not None)
        if not kinds and not multiple:
            kinds = self._media_by_content()
        modality, count = kinds.most_common(1)[0] if kinds else (None, 0)
        if modality is None or count < _MAJORITY * len(items):
            if items and all(isinstance(item, bytes) for item in items):
                return self._ignored("bytes of no image or audio format that is known here")
            return None
        listed = "lists of " if multiple else ""
        paths = [item for item in items if isinstance(item, str)]
        if paths:
            urls = sum(bool(re.match(r"(?!file:)\w+://", path)) for path in paths)
            if urls > 0.5 * len(paths):
                return self._ignored(f"{listed}URLs of {modality} files; download them and name the files", modality)
            evidence = f"{listed}paths such as {quote(paths[0])}{self._existing(paths)}"
        else:
            evidence = f"{listed}{modality} files held in the table"
        evidence = f"{evidence}, {self._missing()}"
        if modality is Modality.VIDEO or (modality is Modality.IMAGE and self._move(items)):
            what = "videos" if modality is Modality.VIDEO else "moving pictures"
            evidence = f"{what}, of which the encoder of images sees {_FRAMES} frames each (frames); {evidence}"
            return dataclasses.replace(self._input(Modality.IMAGE, evidence, multiple), frames=_FRAMES)
        return self._input(modality, evidence, multiple)

    def _move(self, items: Sequence[object]) -> bool:
        """Whether most pictures are moving ones, of 20 looked at; only formats that are made for it."""
        able = [item for item in items if _can_move(item)]
        looked = able[:20]
        return 2 * len(able) > len(items) and 2 * sum(is_animation(i, self.table.root) for i in looked) > len(looked)

    def _missing(self) -> str:
        missing = self.num_rows - self.num_present
        return f"{missing:,} of {self.num_rows:,} missing" if missing else "none missing"

    def _media_by_content(self) -> Counter[Modality]:
        """Paths without an extension that name files: told by the files' first bytes, of 20 at most."""
        texts = [cell for cell in self.cells if isinstance(cell, str) and " " not in cell.strip() and len(cell) < 256]
        if len(texts) < len(self.cells) or not any(c in text for text in texts[:20] for c in "/\\"):
            return Counter()
        kinds: Counter[Modality] = Counter()
        looked = texts[:20]
        for text in looked:
            try:
                with resolve(self.table.root, text).open("rb") as stream:
                    kind = media_of_bytes(stream.read(16))
            except (OSError, DecodeError):
                continue
            if kind is not None:
                kinds[kind] += 1
        return Counter({kind: len(texts) * count // len(looked) for kind, count in kinds.items()})

    def _existing(self, paths: list[str]) -> str:
        """For a reason: whether the files are there; a sample of 20."""
        looked = paths[:20]
        found = 0
        for path in looked:
            try:
                found += resolve(self.table.root, path).is_file()
            except (OSError, DecodeError):
                continue
        if found == len(looked):
            return ""
        return f" ({found or 'none'} of {len(looked)} looked for under {self.table.root} is there)"

    def _lists(self) -> ColumnGuess | None:
        if not self.are_lists:
            return None
        items = [item for cell in self.cells if isinstance(cell, list) for item in cell if item is not None]
        longest = max(len(cell) for cell in self.cells if isinstance(cell, list))
        if items and all(isinstance(item, str) for item in items):
            return self._input(
                Modality.TEXT, f"lists of up to {longest:,} texts such as {quote(items[0])}", multiple=True
            )
        if items and all(isinstance(item, (int, float)) for item in items):
            return self._ignored(
                f"lists of up to {longest:,} numbers, a series, which is not supported yet", Modality.SERIES
            )
        return self._ignored("lists of mixed or nested values, which no column type reads")

    def _structures(self) -> ColumnGuess | None:
        if not isinstance(self.cells[0], dict):
            return None
        return self._ignored(f"structures with the keys {', '.join(self.cells[0])}; give each key a column of its own")

    def _constant(self) -> ColumnGuess | None:
        if self.num_distinct() > 1:
            return None
        share = self.num_present / self.num_rows
        if 0.05 <= share <= 0.95:
            only = f"only {quote(self.cells[0])}, in {share:.0%} of the rows: whether it is there may say something"
            return self._input(Modality.CATEGORY, only)
        return self._ignored(f"constant, {quote(self.cells[0])} in all {self.num_present:,} rows that have a value")

    def _numbers(self) -> ColumnGuess | None:
        distinct = self.num_distinct()
        if all(isinstance(cell, bool) for cell in self.cells):
            return self._input(Modality.CATEGORY, "true or false")
        numeric = [cell for cell in self.cells if is_number(cell)]
        if len(numeric) < _NUMBERS * len(self.cells):
            return None
        if any(isinstance(cell, str) and re.match(r"0\d", cell.strip()) for cell in numeric):
            # "007" is a code; as a number it would become 7.
            return self._codes("digits with leading zeros", distinct)
        low, high, whole = self.range_of_numbers()
        odd = len(self.cells) - len(numeric)
        rest = f"; {odd:,} of {len(self.cells):,} looked at are no numbers and will be missing" if odd else ""
        if not whole:
            return self._input(Modality.NUMBER, f"from {low} to {high}, {self.counts()}{rest}")
        unique = distinct == self.num_present and self.num_present >= 10
        if unique and (self._is_running() or self.words & (_ID_NAMES | _INDEX_NAMES)):
            return self._ignored(f"numbers the rows, {low} to {high}, each once; {_USE}")
        if self.last_word in _INDEX_NAMES:
            return self._ignored(f"an index by its name, integers {low} to {high}; {_USE}")
        if self.last_word in _ID_NAMES or (self.last_word in _GROUP_NAMES and not self.words & _COUNT_NAMES):
            return self._codes(f"integers {low} to {high}", distinct)
        if distinct == 2:
            return self._input(Modality.CATEGORY, f"two integers, {low} and {high}, a flag")
        if self.words & _CODE_NAMES and distinct <= _MAX_CATEGORIES and self.num_present >= 5 * distinct:
            return self._input(
                Modality.CATEGORY, f"integers {low} to {high} that are codes by the column's name, {self.counts()}"
            )
        hint = "; if they are codes without an order, its type is category" if distinct <= _FEW else ""
        return self._input(Modality.NUMBER, f"integers from {low} to {high}, {self.counts()}{rest}{hint}")

    def _is_running(self) -> bool:
        """Whether unique integers are 0, 1, 2, ... or 1, 2, 3, ... in some order."""
        numbers = self.series.drop_nulls().cast(pl.Float64, strict=False)
        values = np.sort(numbers.to_numpy())  # what is spelled oddly is NaN
        return values[0] in (0, 1) and bool(np.all(np.diff(values) == 1))

    def _strings(self) -> ColumnGuess | None:
        texts = [cell for cell in self.cells if isinstance(cell, str)]
        if len(texts) < _NUMBERS * len(self.cells):
            return None
        distinct, present = self.num_distinct(), self.num_present
        words = float(np.mean([num_words(text) for text in texts]))
        example = quote(max(texts[:20], key=len) if words < 4 else texts[0])
        if sum(map(is_date, texts)) >= _NUMBERS * len(texts):
            return self._dates(texts)
        extensions = Counter(
            match[1] for text in texts if (match := re.fullmatch(r"[^\n]*[^\s./\\]\.([A-Za-z]\w{1,4})", text))
        )
        if extensions and distinct > 0.5 * present and extensions.most_common(1)[0][1] >= _MAJORITY * len(texts):
            return self._ignored(f"names of .{extensions.most_common(1)[0][0]} files, which no column type reads")
        per_value = present / distinct
        is_category = distinct <= _MAX_CATEGORIES and (
            (per_value >= 10 and words <= 6)
            or (per_value >= 5 and distinct <= 50 and words <= 6)
            or (per_value >= 2 and distinct <= 10 and words <= 4)
            or (per_value >= 50 and distinct <= 20)
        )
        codes = sum(map(is_code, texts)) >= _MAJORITY * len(texts)
        if codes and (not is_category or self.last_word in _ID_NAMES):
            return self._codes(f"codes such as {quote(texts[0])}", distinct)
        if is_category:
            return self._input(Modality.CATEGORY, f"{self.counts()}, such as {example}")
        return self._input(Modality.TEXT, f"{self.counts()}, {_words(words)} on average, such as {example}")

    def _dates(self, texts: list[str]) -> ColumnGuess:
        """Recognised, but an input only if the user says so.

        Rows lie in time, and a random split lets a model learn which day had which answer: such a model looks good and
        knows nothing of tomorrow. Whether a date is known before the answer, and whether the split respects time, no
        cell tells.
        """
        order = day_first(texts)
        told = f" ({order})" if order.num_day_first or order.num_month_first or order.num_open else ""
        return self._ignored(
            f"dates or times such as {quote(texts[0])}{told}, from which a model may learn which day had which answer; "
            f"to use it, name it under columns with its type, date, and see that the test rows are later than the rest",
            Modality.DATE,
        )

    def _codes(self, what: str, distinct: int) -> ColumnGuess:
        """Codes or ids: a category if each occurs often, else no input."""
        per_value = self.num_present / max(1, distinct)
        if distinct <= 100 and per_value >= 10:
            return self._input(Modality.CATEGORY, f"{what}, {self.counts()}")
        if distinct == self.num_present:
            return self._ignored(f"an identifier: {what}, each once; {_USE}")
        return self._ignored(
            f"an identifier: {what}, {distinct:,} different, {per_value:.3g} rows each; if rows that share one belong "
            f"together, split by group on it; {_USE}"
        )


def _items(cells: Sequence[object]) -> list[object]:
    """The items of cells, lists unfolded."""
    return [item for cell in cells for item in (cell if isinstance(cell, list) else [cell]) if item is not None]


def _can_move(item: object) -> bool:
    if isinstance(item, dict):
        item = item.get("bytes") or item.get("path")
    if isinstance(item, bytes):
        return item[:4] == b"GIF8" or item[8:12] == b"WEBP"
    return isinstance(item, str) and item.strip().lower().endswith((".gif", ".webp", ".apng"))


def _medium(item: object) -> Modality | None:
    if isinstance(item, dict) and item.keys() <= {"bytes", "path"}:
        data, path = item.get("bytes"), item.get("path")
        found = media_of_bytes(data) if isinstance(data, bytes) else None
        return found or (media_of_text(path) if isinstance(path, str) else None)
    if isinstance(item, bytes):
        return media_of_bytes(item)
    return media_of_text(item) if isinstance(item, str) else None


def _words(count: float) -> str:
    return "1 word" if count == 1 else f"{count:.3g} words"
