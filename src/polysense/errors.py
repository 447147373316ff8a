"""The exception tree.

    PolysenseError                  everything that polysense raises on purpose
    ├── UserError                   what the caller can mend; exit code 2, HTTP 4xx, one message, no traceback
    │   ├── TableError              a table can't be read, or lacks what was asked of it
    │   ├── ColumnError             a column can't serve as what it was named for
    │   ├── DecodeError             one cell can't be read (it becomes missing; raised only where a cell stands alone)
    │   ├── SplitError              a split can't be made as asked
    │   ├── ConfigError             a recipe or an override is wrong
    │   ├── BundleError             a trained model's folder is broken or of another version
    │   ├── CheckpointError         a run can't be resumed from what is there
    │   ├── LockedError             another process is writing to a folder
    │   ├── WeightsError            pretrained weights can't be had
    │   ├── SearchError             an index can't be opened, written or asked
    │   └── DependencyError         an optional package is missing, or a known trap is installed
    ├── TrainingError               training can't go on (the loss is not finite)
    └── TrainingInterrupted         stopped by Ctrl-C or a signal, state saved

Every message says what was found, what was expected, where (table, row, column, file) and what to do. It is one line,
whatever the names and cells that it quotes hold; an error of several lines is given each as an argument.
"""

from __future__ import annotations

from polysense.escaping import joined

__all__ = [
    "BundleError",
    "CheckpointError",
    "ColumnError",
    "ConfigError",
    "DecodeError",
    "DependencyError",
    "LockedError",
    "PolysenseError",
    "SearchError",
    "SplitError",
    "TableError",
    "TrainingError",
    "TrainingInterrupted",
    "UserError",
    "WeightsError",
]


class PolysenseError(Exception):
    """Base of everything that polysense raises on purpose.

    Args:
        lines: The message; more than one only where it is a list.
    """

    exit_code = 1
    http_status = 500

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)

    def __str__(self) -> str:
        return joined(map(str, self.args))


class UserError(PolysenseError, ValueError):
    """Something that the caller can mend."""

    exit_code = 2
    http_status = 422


class TableError(UserError):
    """A table can't be read, or lacks what was asked of it."""


class ColumnError(UserError):
    """A column can't serve as what it was named for."""


class DecodeError(UserError):
    """One cell can't be read. Inside a table it makes the cell missing and is listed; it never ends a run."""


class SplitError(UserError):
    """A split can't be made as asked."""


class ConfigError(UserError):
    """A recipe or an override is wrong."""


class BundleError(UserError):
    """A trained model's folder is broken or of another version."""


class CheckpointError(UserError):
    """A run can't be resumed from what is there."""


class LockedError(UserError):
    """Another process is writing to a folder."""


class WeightsError(UserError):
    """Pretrained weights can't be had."""


class SearchError(UserError):
    """A vector index can't be opened, written or asked."""


class DependencyError(UserError):
    """An optional package is missing, or a known trap is installed."""


class TrainingError(PolysenseError):
    """Training can't go on, for example because the loss is not finite."""


class TrainingInterrupted(PolysenseError):
    """Training was stopped by Ctrl-C or a signal; its state was saved."""

    exit_code = 130
