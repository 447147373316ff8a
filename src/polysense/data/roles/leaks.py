"""Whether a column gives the target away.

A table often holds the answer twice: `class_id` beside `label`, a coarser class beside a fine one, a caption that was
made from the label. A model that reads it looks perfect and is worth nothing. Tests, all cheap:

- how often one column tells the other: the commonest value among the *other* rows of the same value is the guess, so
  a column of unique values tells nothing. Counted above chance, as Cohen's kappa is: 0 for the commonest value, 1 for
  always right.
- whether a text holds its row's class name;
- whether some of its cells decide a class (`one_sided`), which is said and left to the user.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from polysense.core.random import permutation
from polysense.core.registry import modality, task
from polysense.core.role import Role
from polysense.core.task_spec import Answer
from polysense.data.roles.cleaned import cleaned
from polysense.data.roles.one_sided import OneSided
from polysense.data.roles.profile import SAMPLE, Cause, ColumnGuess, read_numbers
from polysense.data.tables.sources import Table

__all__ = ["find_leaks", "names_target", "tells"]

_LEAK = 0.98  # above chance; what leaks is left out
_CAUTION = 0.75  # what nearly leaks stays, with a warning
_COUNTED_ROWS = 200_000
_MADE_FROM = (0.2, 0.8)  # the answers' share of the texts that hold them, within which these were made from them


def tells(source: pl.Series, target: pl.Series) -> tuple[float, float]:
    """How well one column tells another.

    Args:
        source: The column that is known, missing = null.
        target: The column that is guessed, missing = null. Rows that lack either are left out.

    Returns:
        Share of rows guessed right, and the same above chance (kappa). (0, 0) if fewer than 20 rows have both, or
        fewer than 5 differ from the commonest value.
    """
    pairs = pl.DataFrame({"x": source, "y": target}).drop_nulls()
    num_rows = len(pairs)
    if num_rows < 20:
        return 0.0, 0.0
    commonest = max(int(part.group_by("y").len()["len"].to_numpy().max()) for part in _parts(pairs, "y"))
    if num_rows - commonest < 5:
        return 0.0, 0.0
    right = _num_right(pairs)
    return right / num_rows, (right - commonest) / (num_rows - commonest)


def _num_right(pairs: pl.DataFrame) -> int:
    """The rows whose y is guessed right from the others of the same x."""
    x, y = (int(pairs.select(pl.col(n).approx_n_unique()).item()) if _can_be_parted(pairs[n]) else 0 for n in "xy")
    by = "x" if x >= y else "y"
    counts = (part.group_by("x", "y").len() for part in _parts(pairs, by))
    if by == "x":
        return sum(map(_num_leading, counts))
    # Of the parts of y the two that are most frequent beside each x are enough.
    return _num_leading(pl.concat([part.group_by("x").agg(pl.col("len").top_k(2)).explode("len") for part in counts]))


def _parts(pairs: pl.DataFrame, by: str) -> Iterator[pl.DataFrame]:
    """Pairs in parts, those of one value in the same one: to count a million different texts at once takes 130 MB."""
    num_parts = -(-len(pairs) // _COUNTED_ROWS) if _can_be_parted(pairs[by]) else 1
    if num_parts == 1:
        yield pairs
        return
    part_of = (pairs[by].hash() % num_parts).cast(pl.Int32)
    for part in range(num_parts):
        rows = pairs.filter(part_of == part)
        if len(rows):
            yield rows


def _can_be_parted(values: pl.Series) -> bool:
    """Whether equal values have equal hashes; of floats 0 and -0 need not."""
    return values.dtype == pl.String or values.dtype.is_integer()


def _num_leading(counts: pl.DataFrame) -> int:
    # Per value of x, its most frequent y leads the others; it must still lead (or draw) without the row to be guessed.
    ordered = counts.group_by("x").agg(pl.col("len").sort(descending=True))["len"]
    top = ordered.list.get(0).cast(pl.Int64)
    second = ordered.list.get(1, null_on_oob=True).fill_null(0).cast(pl.Int64)
    return int(top.filter((top > 1) & (top - 1 >= second)).sum())


def names_target(texts: Sequence[str], labels: Sequence[str]) -> tuple[float, float]:
    """How often a text holds its row's class name, and how often that of another row; of rows that have both.

    Returns:
        Shares in [0, 1]; (0, 0) with fewer than 20 rows.
    """
    if len(texts) < 20:
        return 0.0, 0.0
    texts = [text.casefold() for text in texts]
    patterns = {label: re.compile(rf"(?<!\w){re.escape(label.strip().casefold())}(?!\w)") for label in set(labels)}
    own = sum(bool(patterns[label].search(text)) for text, label in zip(texts, labels, strict=True))
    # Half a table further on, another class in all but strange orders; rows of the same class don't count.
    shift = len(labels) // 2
    others = [(text, labels[(i + shift) % len(labels)]) for i, text in enumerate(texts)]
    others = [(text, other) for (text, other), label in zip(others, labels, strict=True) if other != label]
    foreign = sum(bool(patterns[other].search(text)) for text, other in others)
    return own / len(texts), foreign / max(1, len(others))


def find_leaks(table: Table, guesses: dict[str, ColumnGuess], target: ColumnGuess, stated: Collection[str]) -> None:
    """Marks the inputs that give a target away; what the user stated stays as it is."""
    assert target.task is not None, f"{target.name}: a target has a task"
    kind = task(target.task).answer
    if kind is Answer.STRUCTURE:
        return
    answer = cleaned(table, target.name, literal=True)
    num_inputs = sum(guess.role is Role.INPUT for guess in guesses.values())
    is_class = kind is Answer.CLASS and not answer.dtype.is_nested()
    sides = OneSided(answer, num_inputs) if is_class else None
    for name, guess in guesses.items():
        if guess.role is not Role.INPUT or name in stated:
            continue
        column = cleaned(table, name, literal=False)
        result, cautions = (None, []) if guess.multiple else _compare(table, column, answer, guess, kind)
        if result:
            what = result.format(target=repr(target.name))
            reason = f"ignored: it {what}; to use it, name it under columns with its type"
            warnings = (*guess.warnings, f"it {what}")
            guesses[name] = replace(guess, role=Role.IGNORED, reason=reason, warnings=warnings, cause=Cause.LEAK)
        else:
            if sides is not None and (text := _decides(table, column, sides, guess)) is not None:
                cautions.append(text)
            texts = [f"the target {target.name!r} {caution}, is it known before the target is?" for caution in cautions]
            reason = "".join([guess.reason, *(f"; careful: {text}" for text in texts)])
            leaks = (*guess.leaks, *texts)
            guesses[name] = replace(guess, reason=reason, warnings=(*guess.warnings, *texts), leaks=leaks)


def _compare(
    table: Table, column: pl.Series, answer: pl.Series, guess: ColumnGuess, kind: Answer
) -> tuple[str | None, list[str]]:
    """Why a column of single values is left out, and what nearly tells the target."""
    spec = modality(guess.modality or "")
    if kind is Answer.WORDS and spec.is_textual and answer.dtype == pl.String:
        # A text that has another text as its answer tells it one to one, as a question or a sentence should.
        result = _same_text(column, answer) or _made_from(column, answer)
        part = _is_part(column, answer) if result is None and spec.is_discrete else None
        return result, [part] if part else []
    if kind is Answer.NUMBER:
        return _same_number(table, column, answer) if spec.is_numeric else None, []
    if kind is Answer.CLASS and spec.is_textual and not spec.is_discrete:
        # A text for each class, such as the product's description, gives it away without naming it.
        return _names_class(column, answer) or _tells_class(column, answer), []
    if kind is Answer.CLASS and spec.is_discrete:
        if _is_individual(column, answer):
            return None, []
        share, kappa = tells(answer, column)
        return _tells_class(column, answer), [f"tells it in {share:.0%} of the rows"] if kappa >= _CAUTION else []
    return None, []  # files are not compared


def _decides(table: Table, column: pl.Series, sides: OneSided, guess: ColumnGuess) -> str | None:
    """What some of a column's cells decide."""
    spec = modality(guess.modality or "")
    numeric, discrete = spec.is_numeric and not guess.multiple, spec.is_discrete and not guess.multiple
    if numeric and not column.dtype.is_numeric():
        column = pl.Series(read_numbers(table, column)).fill_nan(None)
    return sides.describe(column, discrete=discrete and not numeric, numeric=numeric)


def _is_individual(column: pl.Series, answer: pl.Series) -> bool:
    """Whether so many values occur once that neither column can tell the other: not worth counting pairs."""
    there = len(column) - column.null_count()
    distinct, classes = column.n_unique(), answer.n_unique()
    return distinct > max(0.5 * there, 2 * classes, 20) and classes < 0.25 * there


def _tells_class(column: pl.Series, answer: pl.Series) -> str | None:
    distinct, classes = column.drop_nulls().n_unique(), answer.drop_nulls().n_unique()
    there, there_kappa = tells(column, answer)
    back, back_kappa = tells(answer, column)
    sizes = f"{distinct:,} values for {classes:,} classes"
    how = "exactly" if max(there, back) == 1 else f"in {max(there, back):.1%} of the rows"
    if there_kappa >= _LEAK and back_kappa >= _LEAK and distinct == classes:
        sizes = f"{distinct:,} values, one to one"
        return f"determines the target {{target}} {how} ({sizes}): looks like another spelling of it"
    # A value for nearly every row, or hundreds for two classes, is an identifier rather than a spelling.
    if there_kappa >= _LEAK and distinct <= max(2 * classes, 20):
        return f"determines the target {{target}} {how} ({sizes}): looks like a finer spelling of it"
    if back_kappa >= _LEAK:
        return f"follows from the target {{target}} {how} ({sizes}): looks like a coarser spelling of it"
    return None


def _names_class(column: pl.Series, answer: pl.Series) -> str | None:
    texts, labels = _pairs(column, answer)
    if len({label for label in labels if len(label) >= 3}) < 2:
        return None  # "0" and "1" stand in many texts
    return _hold(texts, labels)


def _hold(texts: Sequence[str], answers: Sequence[str]) -> str | None:
    own, foreign = names_target(texts, answers)
    if own < 0.95 or foreign > 0.5:
        return None
    return f"holds the target {{target}} itself in {own:.0%} of the rows (that of another row in {foreign:.0%})"


def _same_text(column: pl.Series, answer: pl.Series) -> str | None:
    if column.dtype != pl.String:
        return None
    both = column.is_not_null() & answer.is_not_null()
    if both.sum() < 20:
        return None
    plain = [series.filter(both).str.to_lowercase() for series in (column, answer)]
    share = float((plain[0] == plain[1]).to_numpy().mean())
    return f"is the target {{target}} itself in {share:.0%} of the rows" if share >= 0.95 else None


def _made_from(column: pl.Series, answer: pl.Series) -> str | None:
    """Whether a text was made from the answer, as "grinning face, in color" is from "grinning face".

    A long text that holds its answer somewhere is a document that a question is about, and a text that is hardly longer
    is one to be cleaned; neither is a leak.
    """
    texts, answers = _pairs(column, answer)
    lowest, highest = _MADE_FROM
    if not texts or not lowest <= sum(map(len, answers)) / sum(map(len, texts)) <= highest:
        return None
    return _hold(texts, answers)


def _is_part(column: pl.Series, answer: pl.Series) -> str | None:
    """Whether the answer holds a category's value; that may be meant, as a product's name in a reply is."""
    values, answers = _pairs(column, answer)
    own, foreign = names_target(answers, values)
    return None if own < 0.95 or foreign > 0.7 else f"holds it in {own:.0%} of the rows"


def _pairs(column: pl.Series, answer: pl.Series) -> tuple[list[str], list[str]]:
    """Some rows' cells and answers, of rows that have both."""
    both = np.flatnonzero((column.is_not_null() & answer.is_not_null()).to_numpy())
    chosen = both[permutation(len(both), "infer")[:SAMPLE]].tolist()
    return [str(column[i]) for i in chosen], [str(answer[i]) for i in chosen]


def _same_number(table: Table, column: pl.Series, answer: pl.Series) -> str | None:
    pairs = np.array([read_numbers(table, column), read_numbers(table, answer)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < 20 or (pairs.std(axis=1) == 0).any():
        return None
    r = float(np.corrcoef(pairs)[0, 1])
    return f"is the target {{target}} on another scale (correlation {r:.5f})" if abs(r) > 0.9999 else None
