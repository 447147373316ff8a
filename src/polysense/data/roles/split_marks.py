"""Columns that mark how rows were split: folds of a cross-validation, flags of training rows, a second split.

A model that reads them learns which rows were put where, which no new row has. Their names say what they are, and their
values bear it out: a few consecutive numbers or codes, each on about as many rows.
"""

from __future__ import annotations

import re

import polars as pl

from polysense.data.roles.cleaned import cleaned
from polysense.data.roles.column_names import folded_words, name_words
from polysense.data.roles.profile import ColumnProfile
from polysense.data.split import split_name
from polysense.data.tables.sources import Table

__all__ = ["SPLIT_NAMES", "trained_and_held_out", "why_split_mark"]

SPLIT_NAMES = folded_words("split splits fold folds subset partition set phase usage")
"""Words in the names of columns whose values name splits."""

_FOLDS = folded_words(
    """fold folds kfold kfolds cvfold cvfolds foldid foldno split splits cv xval crossval crossvalidation subset
    subsets partition partitions set sets phase usage falte falten pli plis particion partizione"""
)
_BESIDE_FOLDS = folded_words(
    """id ids no nr num number index idx k n train val test valid validation dev outer inner random stratified
    group data dataset original official cross the col column my new"""
)
_FLAG_MARKS = folded_words("is in for used on flag mask set split rows row sample")
_FLAG_PARTS = folded_words(
    """train training trn trainset test testing testset val validation holdout heldout dev devset oos oof eval
    evaluation"""
)
_BESIDE_FLAGS = _FLAG_MARKS | frozenset({"the", "held", "out", "of", "data", "dataset"})
_MOST = 20  # folds; leaving one out makes more, and then the column is an identifier
_UNEVEN = 3.0  # the largest fold to the smallest
_CODE = re.compile(r"(?:fold|split|set|part|partition|subset|cv|s|f|k|p)?[\s_.-]*(\d{1,2}|[a-j])", re.IGNORECASE)


def why_split_mark(profile: ColumnProfile) -> str | None:
    """Why a column marks a split and is no input; None if it does not.

    A column whose values name training and others ("train", "val") is a split itself; this is what is left.
    """
    words = name_words(profile.name)
    if not words or profile.are_lists or not profile.cells:
        return None
    if set(words) <= _FOLDS | _BESIDE_FOLDS and set(words) & _FOLDS:
        return _folds(profile)
    words = [part for word in words for part in _parts(word)]
    is_flag = set(words) <= _FLAG_PARTS | _BESIDE_FLAGS and set(words) & _FLAG_PARTS and set(words) & _FLAG_MARKS
    return _flag(profile, words) if is_flag else None


def trained_and_held_out(table: Table, split: str, values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The distinct values of the rows that a split column trains on, and of those that it holds out.

    Args:
        table: The table.
        split: Its column whose values name splits.
        values: Of another of its columns; null where missing.
    """
    parts = cleaned(table, split, literal=False).cast(pl.String, strict=False)
    part = parts.map_elements(lambda value: split_name(value) or "", return_dtype=pl.String)
    rows = pl.DataFrame({"value": values, "part": part}).drop_nulls()
    trained, held_out = pl.col("part") == "train", pl.col("part").is_in(["validation", "test"])
    return rows.filter(trained)["value"].unique(), rows.filter(held_out)["value"].unique()


def _parts(word: str) -> list[str]:
    """A flag's words where they are written as one: "istest", "trainmask"."""
    for first in _FLAG_MARKS | _FLAG_PARTS:
        rest = word.removeprefix(first)
        if rest != word and rest in (_FLAG_PARTS if first in _FLAG_MARKS else _FLAG_MARKS):
            return [first, rest]
    return [word]


def _folds(profile: ColumnProfile) -> str | None:
    rows = _value_counts(profile)
    if not 2 <= len(rows) <= _MOST or min(rows.values()) * _UNEVEN < max(rows.values()) or min(rows.values()) < 2:
        return None
    codes = [_CODE.fullmatch(value) for value in rows]
    if not all(codes):
        return None
    numbers = sorted(_position(code[1]) for code in codes if code)
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] not in (0, 1):
        return None
    name, first = profile.name, next(iter(sorted(rows)))
    return (
        f"marks {len(rows)} folds by its name and values ({_listed(rows)}), which no new row has; to test on one of "
        f"them: data.split.type=column data.split.column={name} and its values under data.split.train and .test "
        f"(as [{first}])"
    )


def _flag(profile: ColumnProfile, words: list[str]) -> str | None:
    rows = _value_counts(profile)
    spelled = {"0": False, "false": False, "no": False, "n": False, "1": True, "true": True, "yes": True, "y": True}
    if not rows or not set(rows) <= set(spelled):
        return None
    own = next(word for word in words if word in _FLAG_PARTS)
    part = "train" if own.startswith("tr") else "validation" if own.startswith(("val", "dev")) else "test"
    marked = [value for value in rows if spelled[value]]
    rest = [value for value in rows if not spelled[value]]
    keys = {part: marked, "test" if part == "train" else "train": rest}
    values = " ".join(f"data.split.{key}=[{','.join(named)}]" for key, named in keys.items() if named)
    return (
        f"marks the {part} rows by its name and values ({_listed(rows)}), which no new row has; to use it as the "
        f"split: data.split.type=column data.split.column={profile.name} {values}"
    )


def _value_counts(profile: ColumnProfile) -> dict[str, int]:
    if profile.num_distinct() > _MOST:
        return {}
    texts = profile.series.drop_nulls().cast(pl.String, strict=False).drop_nulls()
    counts: dict[str, int] = {}
    for value, count in texts.value_counts(sort=True).rows():
        key = re.sub(r"\.0+$", "", str(value).strip().casefold())
        counts[key] = counts.get(key, 0) + count
    return counts


def _position(code: str) -> int:
    return int(code) if code.isdigit() else ord(code.casefold()) - ord("a") + 1


def _listed(rows: dict[str, int]) -> str:
    return ", ".join(f"{value} ({count:,})" for value, count in list(rows.items())[:6]) + (
        " ..." if len(rows) > 6 else ""
    )
