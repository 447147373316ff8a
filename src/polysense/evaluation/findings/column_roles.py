"""Column roles: columns that give a target away, number rows, mark a split or name things; what is read with doubt.

They are recognized by `data.roles`, which decides what a column is used for; here it becomes findings. A column that is
left out is no danger any more, and is named nevertheless: another program may read the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from polysense.core.finding import Finding, Severity
from polysense.core.role import Role
from polysense.data.roles.profile import Cause, ColumnGuess
from polysense.evaluation.findings.checked import CheckedTable
from polysense.evaluation.findings.detector import Detector

__all__ = ["ColumnRoles"]

_KINDS: Mapping[Cause, str] = {
    Cause.EMPTY: "empty_column",
    Cause.CONSTANT: "constant_column",
    Cause.SPLIT_MARK: "split_mark",
    Cause.ROW_NUMBER: "row_number",
    Cause.IDENTIFIER: "identifier",
    Cause.LEAK: "target_leak",
}
_USED = "leave it out: --column {name}=ignored, or delete it from data.columns"


class ColumnRoles(Detector):
    """Columns that should be no inputs."""

    READING: ClassVar = "reading"
    """The kind of what the list of columns does not show by itself."""

    kinds: ClassVar = {
        "target_leak": "a column that determines the target, as another spelling of it does",
        "possible_leak": "a column some of whose cells determine the target",
        "row_number": "a column that numbers the rows",
        "split_mark": "a column that marks folds or parts of a split",
        "identifier": "a column of identifiers",
        "constant_column": "a column of one value",
        "empty_column": "a column without a value",
        "reading": "cells that may be read otherwise than they were meant",
    }

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        for guess in checked.guesses:
            if guess.cause is not None:
                yield _cause(guess)
            for text in guess.leaks:
                yield Finding(
                    kind="possible_leak",
                    severity=Severity.INFO,  # a strong measurement looks the same
                    columns=(guess.name,),
                    message=f"{guess.name}: {text}",
                    action=_USED.format(name=guess.name) + ", if it is known only afterwards",
                )
            if guess.cause is Cause.LEAK:
                continue
            for text in guess.warnings:
                if text not in guess.leaks:
                    yield Finding(
                        kind="reading",
                        severity=Severity.WARNING,
                        columns=(guess.column or guess.name,),
                        message=f"{guess.name}: {text}",
                    )


def _cause(guess: ColumnGuess) -> Finding:
    assert guess.cause is not None
    is_leak, is_read = guess.cause is Cause.LEAK, guess.role is Role.INPUT
    severity = Severity.INFO
    if is_leak:
        severity = Severity.ERROR if is_read else Severity.WARNING
    elif is_read:
        severity = Severity.WARNING
    why = guess.warnings[-1] if is_leak and guess.warnings else str(guess.cause.value)
    return Finding(
        kind=_KINDS[guess.cause],
        severity=severity,
        columns=(guess.column or guess.name,),
        message=f"{guess.name}: {why}, and {'is an input' if is_read else 'is no input'}",
        action=_USED.format(name=guess.name) if is_read else "",
    )
