"""Labeling a table: opens a session over it, and brings what was labeled out again.

The table is never changed. Labels live in a folder of their own (`store`), by keys of rows (`row_keys`), so that the
table may be sorted or grow between two sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysense.core.editor import Editor, EditorRequest
from polysense.core.files import named_path
from polysense.core.registry import modality, task, tasks
from polysense.core.role import Role
from polysense.core.spelling import enumerated
from polysense.core.unsupported import Unsupported
from polysense.data.roles.infer import ColumnGuess, guess_target, infer, stated_target
from polysense.data.roles.profile import ColumnProfile
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ColumnError, ConfigError
from polysense.workflows.labeling.background import BackgroundLearner
from polysense.workflows.labeling.displays import RowDisplays
from polysense.workflows.labeling.features import labeling_features
from polysense.workflows.labeling.row_keys import row_keys
from polysense.workflows.labeling.session import LabelingSession, SessionSettings
from polysense.workflows.labeling.store import JournalHeader, LabelStore, read_header
from polysense.workflows.labeling.strategies.base import strategy_named
from polysense.workflows.prepare import file_stem

__all__ = ["PreparedLabeling", "label", "prepare_labeling"]

_FOLDER = Path("labels")
_OF_CLASSES, _OF_NUMBERS = "margin", "typical"
_LONGEST_GUIDELINE = 200_000  # characters


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedLabeling:
    """A table with what its labels are.

    Attributes:
        table: The rows.
        keys: Of the rows.
        folder: Of the labels.
        header: What the labels are of.
        editor: Of the target.
        guesses: What the columns are.
    """

    table: Table
    keys: list[str]
    folder: Path
    header: JournalHeader
    editor: Editor
    guesses: Sequence[ColumnGuess]


def prepare_labeling(
    source: Any,
    *,
    target: str,
    task: str | None = None,
    classes: Sequence[str] = (),
    over: str | None = None,
    output: str | Path | None = None,
    key: str | None = None,
    seed: int | None = None,
    root: str | Path | None = None,
) -> PreparedLabeling:
    """Reads a table and settles what its labels are; arguments and errors as of `label`."""
    table = read_table(source, root=root)
    folder = folder_of(source, table, target, output)
    before = read_header(folder)
    guesses = infer(table, [], logs=False)
    texts = [
        guess.name
        for guess in guesses
        if guess.role is Role.INPUT and guess.modality and modality(guess.modality).is_prose and guess.name != target
    ]
    name, delimiter, over_guess = _task_of(table, target, task, before)
    known = tuple(classes) or (before.classes if before is not None else ())
    editor = editor_for(
        name,
        EditorRequest(
            target=target,
            classes=known,
            cells=table.cells(target, literal=True) if table.has(target) else (),
            delimiter=delimiter,
            texts=texts,
            over=over or over_guess or (before.over if before is not None else None),
        ),
    )
    options = editor.settings.get("options")
    chosen_over = editor.settings.get("over")
    header = JournalHeader(
        target=target,
        task=name,
        classes=tuple(map(str, options)) if isinstance(options, list) else (),
        over=None if chosen_over is None else str(chosen_over),
        key=key if key is not None or before is None else before.key,
        seed=seed if seed is not None else before.seed if before is not None else 0,
    )
    return PreparedLabeling(
        table=table,
        keys=row_keys(table, target, header.key),
        folder=folder,
        header=header,
        editor=editor,
        guesses=guesses,
    )


@contextmanager
def label(
    source: Any,
    *,
    target: str,
    task: str | None = None,
    classes: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    over: str | None = None,
    output: str | Path | None = None,
    annotator: str = "",
    guideline: str | Path | None = None,
    key: str | None = None,
    shared: float = 0.1,
    annotations: int = 1,
    relabel: bool = False,
    strategy: str = "auto",
    pretrained: str | None = None,
    seed: int | None = None,
    root: str | Path | None = None,
) -> Iterator[LabelingSession]:
    """Opens a labeling of a table, alone, until the block ends.

    Args:
        source: A table's path, a data frame, a list of dictionaries, ...
        target: The column that labels are for; the table may have it, in part, or not.
        task: Its task; None: what its cells say, else the first task whose labels can be entered.
        classes: In the order of their keys on the page; empty takes those of the table and of an earlier session.
        columns: The columns that are shown, and that a model learns from; None: the inputs, the rest folded away.
        over: The text column that labels lie in, where the task labels stretches of one.
        output: The folder of the labels; None: labels/TABLE-TARGET.
        annotator: The name that a page begins with.
        guideline: A file whose text annotators are shown.
        key: The column that names rows; None: rows are told by their cells.
        shared: The share of rows that every annotator labels, so that their agreement is known.
        annotations: How many annotators a row gets otherwise.
        relabel: Whether rows that have a label in the table are handed out, too.
        strategy: Chooses the rows that are worth a label, by a model that learns in the background; "off": rows come at
            random, and nothing is guessed; "auto": the default strategy where a model can learn such labels, else off.
        pretrained: Where pretrained encoders for its features are looked for, as in a recipe; None: as it says itself.
        seed: Of the order of rows; None: that of an earlier session, else 0.
        root: The folder that media paths start from; by default the table's own.

    Yields:
        The session.

    Raises:
        UserError: The table, its target or the labels' folder can't be used so; says why.
    """
    if not 0 <= shared <= 1:
        raise ConfigError(f"shared: found {shared:g}, expected a share from 0 to 1")
    if annotations < 1:
        raise ConfigError(f"annotations: found {annotations}, expected at least 1")
    settings = SessionSettings(
        annotator=annotator,
        guideline=_guideline(guideline),
        shared=shared,
        annotations=annotations,
        relabel=relabel,
    )
    prepared = prepare_labeling(
        source,
        target=target,
        task=task,
        classes=classes,
        over=over,
        output=output,
        key=key,
        seed=seed,
        root=root,
    )
    displays = RowDisplays(prepared.table, prepared.guesses, target, columns)
    read = [guess for guess in prepared.guesses if columns is None or guess.name in columns]
    assistant = _assistant(prepared, read, strategy, pretrained)
    with LabelStore.opened(prepared.folder, prepared.header, prepared.editor) as store:
        try:
            yield LabelingSession(
                prepared.table, prepared.keys, store, prepared.editor, displays, settings, assistant=assistant
            )
        finally:
            if assistant is not None:
                assistant.close()


def _assistant(
    prepared: PreparedLabeling, guesses: Sequence[ColumnGuess], strategy: str, pretrained: str | None
) -> BackgroundLearner | None:
    """What learns while labels come in; None where nothing does.

    Raises:
        ConfigError: There is no such strategy, or none can be had for such labels though one is named.
    """
    codes = prepared.editor.codes
    if strategy == "off":
        return None
    if isinstance(codes, Unsupported):
        if strategy == "auto":
            return None
        raise ConfigError(f"strategy: found {strategy!r}, expected auto or off: {codes.reason}")
    if strategy == "auto":
        strategy = _OF_NUMBERS if codes.classes is None else _OF_CLASSES
    return BackgroundLearner(
        lambda: labeling_features(
            prepared.table, guesses, prepared.header.target, prepared.folder, pretrained=pretrained
        ),
        prepared.editor,
        strategy_named(strategy),
        len(prepared.table),
        seed=prepared.header.seed,
    )


def folder_of(source: Any, table: Table, target: str, output: str | Path | None) -> Path:
    """Where the labels of a table are kept."""
    if output is not None:
        return named_path(output, "the labels' folder")
    named = str(source) if isinstance(source, (str, Path)) else table.name
    return _FOLDER / f"{file_stem(named)}-{file_stem(target)}"


def _task_of(
    table: Table, target: str, stated: str | None, before: JournalHeader | None
) -> tuple[str, str | None, str | None]:
    """The task, what separates several labels in one cell, and the column that labels lie in, as the cells tell it."""
    name = stated or (before.task if before is not None else None)
    if name is not None and name not in tasks():
        raise ConfigError(f"task: found {name!r}, expected one of {', '.join(tasks())}")
    guess: ColumnGuess | None = None
    if table.has(target):
        profile = ColumnProfile(table, target, literal=True)
        try:
            if name is None:
                guess = guess_target(profile)
            elif profile.cells:
                guess = stated_target(profile, name)
        except ColumnError:  # too few labels to tell by
            guess = None
    if name is None:
        name = (guess.task if guess is not None else None) or next(iter(_editable()))
    return name, None if guess is None else guess.delimiter, None if guess is None else guess.over


def _editable() -> Mapping[str, object]:
    """Tasks whose labels a person can enter, in their order."""
    return {name: spec for name, spec in tasks().items() if not isinstance(spec.editor, Unsupported)}


def editor_for(name: str, request: EditorRequest) -> Editor:
    """A task's editor.

    Raises:
        ConfigError: The task has none, or the request lacks what it needs.
    """
    make = task(name).editor
    if isinstance(make, Unsupported):
        raise ConfigError(
            f"{request.target}: labels of the task {name} can't be entered: {make.reason}. Tasks that can be labeled: "
            f"{enumerated(list(_editable()))}"
        )
    return make(request)


def _guideline(path: str | Path | None) -> str:
    """A guideline's text.

    Raises:
        ConfigError: It can't be read, or is no text.
    """
    if path is None:
        return ""
    path = named_path(path, "guideline")
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: can't be read as a guideline: {reason}; expected a text file in UTF-8") from None
    if len(text) > _LONGEST_GUIDELINE:
        raise ConfigError(f"{path}: found {len(text):,} characters, expected at most {_LONGEST_GUIDELINE:,}")
    return text
