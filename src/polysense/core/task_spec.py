"""TaskSpec: everything that generic code asks of a task, so that no code outside `tasks/` names one.

Required questions are abstract methods. Optional ones are attributes that every spec states: a method, or
`Unsupported(reason)`, which pages and messages print. There is no default for either, because a default is an answer
that nobody gave: a segmentation task once got a classification's majority baseline without a word.

Predictions reach metrics as row statistics alone. A batch's outputs leave small arrays behind, one entry per row, and
the outputs themselves are dropped; metrics, baselines, averages, samples and report sections read the statistics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

from polysense.core.audit_answers import ClassProbabilities, ConformalSets, PredictedNumbers, RowScore
from polysense.core.editor import Editor, EditorRequest
from polysense.core.geometry import Geometry, Placement
from polysense.core.metric import Metric, Scorer, Statistics
from polysense.core.modality_spec import ModelSize
from polysense.core.sample import Sample
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported

__all__ = [
    "OPTIONAL",
    "Answer",
    "Arrays",
    "BatchRows",
    "Contribution",
    "Explained",
    "Measure",
    "TargetClaim",
    "TargetReader",
    "TaskPreset",
    "TaskSpec",
]

T = TypeVar("T", bound=Target)

Arrays: TypeAlias = Mapping[str, np.ndarray]
"""What a head's prediction or a truth holds, by name, rows first."""


_REQUIRED = (
    "name",
    "record",
    "rank",
    "generates",
    "has_column",
    "has_classes",
    "truth",
    "decode",
    "answer",
)

OPTIONAL = (
    "infer",
    "preset",
    "baselines",
    "average",
    "proper_score",
    "contribution",
    "explained",
    "prior",
    "align",
    "searches",
    "reconstructions",
    "summary",
    "report_section",
    "sample_outputs",
    "row_score",
    "class_probabilities",
    "conformal",
    "numbers",
    "mistakes",
    "editor",
)
"""The optional questions."""


@dataclass(frozen=True, kw_only=True)
class TargetClaim:
    """A task's claim on a target column.

    Attributes:
        confidence: From 0 to 1; the surest task gets the column. From `SURE` on the cells leave no doubt, and the claim
            goes before what speaks against a target (all cells alike).
        evidence: Why, for a person.
        multiple: Whether a cell holds several items.
        delimiter: What separates the items of a cell that is one text; None if cells are lists.
        over: The input column that the target lies in; None if the cells don't tell.
        settings: Of the target's config, where the table tells what the column alone does not.
    """

    SURE: ClassVar[float] = 0.85

    confidence: float
    evidence: str
    multiple: bool = False
    delimiter: str | None = None
    over: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TaskPreset:
    """What a recipe says of a column that is taken for a task's, as plain values with a `type`.

    Attributes:
        target: The target.
        head: Its head.
    """

    target: Mapping[str, object]
    head: Mapping[str, object]


class Answer(StrEnum):
    """What a target's cells are to an input that could give them away."""

    CLASS = "a class, which another column may spell in its own way"
    NUMBER = "a number, which another column may hold on another scale"
    WORDS = "words, which another text may hold"
    STRUCTURE = "a structure, which no other column spells"


@runtime_checkable
class TargetReader(Protocol):
    """A fitted target beside a table: how values are spelled, and what the table's rows hold."""

    def spell(self, value: np.ndarray) -> object:
        """One row's predicted value as the table would hold it."""

    def references(self, row: int) -> Sequence[str]:
        """What a row of the table holds, in words; several texts may do, and none if it lacks the target."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchRows:
    """The rows of a batch beside their outputs.

    Attributes:
        numbers: int64 [rows], the rows' numbers in the table.
        present: Per input column of the batch bool [rows], which rows have it.
        reader: How the target's values are spelled; None where nothing is to be spelled.
        geometry: Per input column whose items have places, where each row's cell lies: back to original pixels.
    """

    numbers: np.ndarray
    present: Arrays = field(default_factory=dict)
    reader: TargetReader | None = None
    geometry: Mapping[str, Geometry] = field(default_factory=dict)


class TaskSpec(ABC, Generic[T]):
    """A task's answers. One instance, named SPEC, stands in the `spec` module of the task's folder.

    Attributes:
        name: The task's name, its folder's.
        record: The class of its fitted targets.
        rank: Its place among the tasks wherever they are listed, the lowest first.
        generates: Whether its predictions are generated step by step, which costs as many passes: a validation then
            generates for some rows only, and a control without the right inputs says whether they were looked at.
        baselines: `(target) -> {name: statistics -> statistics}`: what a model has to beat. A baseline is a function of
            an evaluation's row statistics that puts its own predictions in the place of the model's. The first one
            stands beside every score.
        average: `(target, statistics of each expert, weights) -> statistics`: several predictions as one. The weights
            are float64 [rows, experts] and sum to 1 in each row; what is not predicted is the first expert's.
        proper_score: The metric that is least, in the mean, where the predicted probabilities (or numbers) are the true
            ones: checkpoints are selected by it, and training stops by it. Accuracy on some tens of rows ties, jumps,
            and goes on rising while a model grows overconfident.
        contribution: How columns' contributions are measured.
        explained: Which number of a prediction an explanation is of, and when two predictions are the same answer.
        prior: `(target) -> {array: one row's}`: what is predicted of a row with nothing in it, by the names of the
            head's arrays: what the training rows say of the target alone, such as the classes' shares.
        align: "module:function" of what augmentation does to a target that lies in a column (`lies_in`), `(target,
            truth, matrices, column) -> truth`. `truth` is a `core.batch.Truth` as collated; `matrices` float32 [batch,
            3, 3], from the column's values before augmentation to those after it (see `core.geometry`; NaN where no
            matrix says it); `column` is augmented. All lie on one device. It is named, since specs import no torch.
        join: "module:function" of the truth of several items that were put together into one, `(target, truths,
            inside) -> truth`. The truths, the row's own first, are aligned with where each item came to lie; `inside`
            is bool [batch, items, height, width]: which places are each one's. Named, as `align` is.
        summary: `(target, statistics) -> {key: value}`: what stands beside the metrics in summary files.
        report_section: "module:function" of the task's sections in the report, `(target, evaluation, baseline,
            dataset) -> sections`; the data set may be None. It is named and not imported, since few processes make
            pages.
        has_column: Whether it is read from columns of the table that are its own; else from the input columns.
        has_classes: Whether a row that has it is of exactly one of `Target.classes`: splits are stratified by it, and
            few-shot classification learns them.
        candidates: "module:function" of the table of what is chosen from, whose rows a model encodes once for all that
            it predicts, `(fitted target, table of rows) -> Table | None`; None where the table does not tell.
        searches: "module:function" of how its members retrieve one another in a joint space, `(target, evaluation,
            num_queries, num_neighbors, seed) -> [Retrieval]`; the statistics hold `embeddings`, float [rows, members,
            size], NaN where a member is absent.
        reconstructions: `(target, prediction) -> {member: array}`: what each member holds, decoded from a code of the
            whole row, for imputation; the prediction's `errors`, `mean_errors` are float [rows, members].
        truth: "module:class" of a batch's truth, a `core.batch.Truth` whose fields `collate` names.
        decode: "module:function" from outputs to columns of the predictions' table, `(target, arrays, processor, table,
            geometry) -> {column: values}`; `geometry` as in `BatchRows`.
        answer: What its cells are to an input that could give them away.
        infer: "module:function" that recognizes a column, `(evidence, stated=False) -> TargetClaim | None`; `stated`:
            the user says that it is this task's, and the claim says how its cells are read.
        preset: `(size, delimiter) -> TaskPreset`: the default target and head of a column that was taken for the
            task's; the delimiter is the claim's.
        sample_outputs: "module:function" of the predictions of one row that has the target, in words, `(target,
            evaluation, position, dataset) -> [SampleOutput]`; named, too.
        row_score: `(target, statistics) -> RowScore`: how good each row's prediction is, so that an audit finds the
            rows for which it is worse.
        class_probabilities: `(target, statistics) -> ClassProbabilities`, for calibration and for thresholds; of the
            rows that have the target.
        conformal: `(target, calibration, judged, level) -> [ConformalSets]`: sets or intervals that hold the truth of
            the judged rows with the probability `level`, fitted on the calibration rows, which are others; both are
            statistics.
        numbers: `(target, statistics) -> [PredictedNumbers]`, for predicted against actual, and residuals.
        mistakes: "module:function" of the worst predictions by kind, `(target, evaluation) -> [MistakeGroup]`; named,
            too.
        editor: `(request) -> Editor`: how a person enters its labels on a page, how they are checked and compared. It
            raises a ConfigError where the request lacks what it needs, such as classes.
    """

    name: ClassVar[str]
    record: ClassVar[type[Target]]
    rank: ClassVar[int]
    generates: ClassVar[bool]
    has_column: ClassVar[bool]
    has_classes: ClassVar[bool]
    truth: ClassVar[str]
    decode: ClassVar[str]
    answer: ClassVar[Answer]

    infer: str | Unsupported
    preset: Callable[[ModelSize, str | None], TaskPreset] | Unsupported

    baselines: Callable[[T], Mapping[str, Callable[[Statistics], Statistics]]] | Unsupported
    average: Callable[[T, Sequence[Statistics], np.ndarray], Statistics] | Unsupported
    proper_score: str | Unsupported
    contribution: Contribution[T] | Unsupported
    explained: Explained[T] | Unsupported
    prior: Callable[[T], Arrays] | Unsupported
    align: str | Unsupported
    join: str | Unsupported = Unsupported("its truth lies in no image, beside which others could stand")
    candidates: str | Unsupported = Unsupported("its predictions are not chosen from a table")
    searches: str | Unsupported
    reconstructions: Callable[[T, Arrays], Arrays] | Unsupported
    summary: Callable[[T, Statistics], Mapping[str, object]] | Unsupported
    report_section: str | Unsupported
    sample_outputs: str | Unsupported
    row_score: Callable[[T, Statistics], RowScore] | Unsupported
    class_probabilities: Callable[[T, Statistics], ClassProbabilities] | Unsupported
    conformal: Callable[[T, Statistics, Statistics, float], Sequence[ConformalSets]] | Unsupported
    numbers: Callable[[T, Statistics], Sequence[PredictedNumbers]] | Unsupported
    mistakes: str | Unsupported
    editor: Callable[[EditorRequest], Editor] | Unsupported

    def __init_subclass__(cls, *, is_base: bool = False) -> None:
        super().__init_subclass__()
        if is_base:  # of several tasks, which answer the rest
            return
        unanswered = [question for question in (*_REQUIRED, *OPTIONAL) if getattr(cls, question, None) is None]
        if unanswered:
            raise TypeError(
                f"{cls.__module__}.{cls.__qualname__} does not say what its {', '.join(unanswered)} is; state it, or "
                'refuse it: Unsupported("the reason, as the end of a sentence")'
            )

    @property
    def embeds_columns(self) -> bool:
        """Whether it gives each of its members an embedding in one joint space."""
        return not isinstance(self.searches, Unsupported)

    @property
    def reconstructs_columns(self) -> bool:
        """Whether it gives each of its members back from a code."""
        return not isinstance(self.reconstructions, Unsupported)

    @abstractmethod
    def collate(
        self, target: T, samples: Sequence[Sample], num_rows: int, *, all_references: bool, prompt_length: int
    ) -> Arrays:
        """The truth of a batch, padded: `values`, `present`, and what else the task's truth holds.

        Args:
            target: The fitted target.
            samples: Rows; at most `num_rows`, the rest lacks the target.
            num_rows: Rows of the batch.
            all_references: Whether a row has all its references, where a target has several.
            prompt_length: What the batch's prompts are padded to.
        """

    @abstractmethod
    def absence(self, target: T) -> str:
        """What a row lacks that does not have the target, after "rows have": "no label"."""

    @abstractmethod
    def lies_in(self, target: T) -> str | None:
        """The input column whose parts the target is about, such as segments of a text; None: it is about the row."""

    @abstractmethod
    def masked_groups(self, target: T) -> Sequence[tuple[str, ...]]:
        """Groups of input columns that an evaluation masks, one group at a time, to predict once more; mostly none."""

    @abstractmethod
    def row_statistics(self, target: T, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows) -> Statistics:
        """What a batch leaves behind: `present`, and what the metrics read.

        Args:
            target: What was predicted.
            outputs: The head's arrays for the rows; then those with each of `masked_groups` masked.
            truth: What `collate` made, for the same rows.
            rows: Which rows they are.
        """

    @abstractmethod
    def metrics(self, target: T, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        """What is measured, in the order in which it is reported.

        Args:
            target: What is predicted.
            statistics: Of the rows, where they are there; they may decide which metrics are shown first.
        """

    @abstractmethod
    def scorer(self, target: T, statistics: Statistics) -> Scorer:
        """The metrics' values as a function of bootstrap weights of the rows that have the target.

        Args:
            target: What was predicted.
            statistics: Of all evaluated rows; those without the target may still be looked among.
        """


class Measure(str):
    """The name of a measure of contributions, which JSON and mappings have it under, and how people read a gain in it.

    Attributes:
        label: Its name in words.
        unit: "pp" for what is shown in percentage points, "nats", or "" for none.
    """

    label: str
    unit: str

    def __new__(cls, name: str, label: str, unit: str = "") -> Measure:
        measure = super().__new__(cls, name)
        measure.label, measure.unit = label, unit
        return measure

    def __reduce__(self) -> tuple[type[Measure], tuple[str, str, str]]:
        return Measure, (str(self), self.label, self.unit)

    @property
    def is_share(self) -> bool:
        """Whether a row's value lies between 0 and 1: what is shown in percentage points."""
        return self.unit == "pp"

    @property
    def in_sentence(self) -> str:
        """What stands behind a gain's number."""
        return " ".join(filter(None, (self.unit, "of" if self.unit not in ("", "pp") else "", self.label)))


class Contribution(ABC, Generic[T]):
    """How much a column's presence is worth: measures over rows, comparable between subsets of columns.

    Attributes:
        measures: Of a value, higher is better; the one that decides first.
        is_prior_without_columns: Whether the prediction from no column is the first baseline's; else it is the model's
            own from an empty row, because that holds what the model knows of the language or of lengths.
    """

    measures: ClassVar[tuple[Measure, ...]]
    is_prior_without_columns: ClassVar[bool]

    @abstractmethod
    def row_values(self, target: T, statistics: Statistics) -> np.ndarray:
        """What a row adds to each measure; float64 [rows, measures or what `measured` takes]."""

    def measured(self, target: T, values: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Every row's value of every measure for every subset; float64 [measures, rows, subsets].

        Args:
            target: What is predicted.
            values: float64 [rows, subsets, ...], stacked `row_values`.
            truth: The statistics' `truth`, for measures that depend on all rows.
        """
        del target, truth
        return values.transpose(2, 0, 1)


class Explained(ABC, Generic[T]):
    """The number of a prediction that an explanation divides among columns and parts of cells.

    A prediction has a choice of such numbers: a class's probability, a column of several numbers.

    Attributes:
        scores_answer: Whether the number is how probable the model finds its own answer, such as a text. Then the
            answer to the whole row is given as the truth (`cell`) while columns and parts of cells are masked, and
            `numbers` reads what the head's `score` says of it.
    """

    scores_answer: ClassVar[bool] = False

    def cell(self, target: T, prediction: Arrays, choice: int, placements: Mapping[str, Placement]) -> np.ndarray:
        """The first row's answer as a cell of the target, preprocessed, for `scores_answer`.

        Args:
            target: What is predicted.
            prediction: The head's arrays, texts written.
            choice: What of it is explained.
            placements: By column where the row's cell lies in the model's input, as far as that is known: what is
                predicted beside it is no answer.
        """
        raise AssertionError(f"{type(self).__name__}: {target.name}: its number is of the prediction itself")

    @abstractmethod
    def choices(self, target: T) -> Sequence[str]:
        """What can be explained, as a user names it."""

    @abstractmethod
    def chosen(self, target: T, prediction: Arrays) -> int:
        """What is explained unless a user says otherwise: the answer itself.

        Args:
            target: What is predicted.
            prediction: The head's arrays for one row.
        """

    @abstractmethod
    def numbers(self, target: T, prediction: Arrays, choice: int) -> np.ndarray:
        """The number in each row, float64 [rows]."""

    @abstractmethod
    def title(self, target: T, choice: int) -> str:
        """What the number is, in words: "probability of 'cat'"."""

    @abstractmethod
    def answers(self, target: T, prediction: Arrays, choice: int) -> Sequence[str] | None:
        """Each row's answer in words, equal where it is the same answer; None where there is no telling, since a number
        changes by degrees."""
