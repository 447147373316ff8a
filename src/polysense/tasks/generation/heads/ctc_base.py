"""One column's tokens read as frames, each of which says a token of the text or nothing; what CTC heads share.

A frame is what a column's length counts: a token of an audio clip (40 ms), a column of an image of handwriting, an
image of a sequence. The other columns reach it as far as the fusion lets tokens attend to one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysense.config.base import Config
from polysense.config.limits import PositiveInt
from polysense.core.logs import get_logger
from polysense.core.pytree import pytree_node
from polysense.core.registry import modality
from polysense.core.rows import RowContext
from polysense.core.schema import Column
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.head import readout
from polysense.nn.layers.ctc import ctc_losses, frames_needed
from polysense.nn.layers.ngram import NgramModel
from polysense.tasks.generation.heads.autoregressive import O, WritingHead
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["FrameHead", "FrameReader", "FrameReaderConfig", "Frames"]

_log = get_logger("polysense.nn.heads")


@dataclass(frozen=True, kw_only=True)
class FrameReaderConfig(Config):
    """How a column becomes frames.

    Attributes:
        column: The input column that the head reads; auto is the only audio column, else the only column of videos or
            of several images per cell, else the only image column.
        steps: The unit of a CTC frame: "tokens" for the column's tokens, "columns" for the pixel columns of an image
            (averaged over the height, for a line of handwriting), "items" for the images of a cell or the frames of a
            video. auto depends on the column's type.
        upsampling: CTC frames per step. Increase it if texts have more tokens than their audio has steps (a warning
            says so).
        language_model: Tokens of the longest sequence that is counted in the training texts, for a language model that
            is combined in decoding; null for none. 5 or 6 for characters, 3 for subwords.
    """

    column: str = "auto"
    steps: Literal["auto", "tokens", "columns", "items"] = "auto"
    upsampling: PositiveInt = 1
    language_model: PositiveInt | None = None

    def find_column(self, columns: Sequence[Column], target: str) -> Column:
        """The column that is read.

        Raises:
            ConfigError: There is no such column, or none or several could be meant.
        """
        where = f"model.heads.{target}.column"
        if self.column != "auto":
            for column in columns:
                if column.name == self.column:
                    return column
            raise ConfigError(f"{where}: no input column {self.column!r} among {', '.join(c.name for c in columns)}")
        groups = (
            [c for c in columns if c.modality == "audio"],
            [c for c in columns if _has_frames(c) and c.multiple],
            [c for c in columns if _has_frames(c)],
            list(columns),
        )
        result = next(group for group in groups if group or group is groups[-1])
        if len(result) != 1:
            raise ConfigError(
                f"{where}: auto could be any of {', '.join(c.name for c in result)}; say whose steps spell the text"
            )
        return result[0]


@pytree_node
@dataclass(frozen=True, eq=False)
class Frames:
    """What each frame says.

    Attributes:
        logits: Of its token.
        valid: Which frames there are.
    """

    logits: Float[Tensor, "batch frames vocabulary"]
    valid: Bool[Tensor, "batch frames"]


class FrameReader(nn.Module):
    """Logits of each frame's token.

    Args:
        config: What is read and how.
        target: What is written. Its padding id is the blank: no text holds it.
        width: Width of the tokens.
        hidden: Of a hidden layer; 0 for none.
        dropout: Before the output.

    Attributes:
        language_model: Of the training texts, if there is to be one.
    """

    never: Tensor

    def __init__(
        self, config: FrameReaderConfig, target: GenerationTarget, width: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        if target.padding_id in (target.begin_id, target.end_id):
            raise ConfigError(
                f"target {target.name!r}: its padding is no token of its own, which a CTC takes for its blank; choose "
                f"another kind of tokens"
            )
        self.config, self.target = config, target
        self.column: Column | None = None
        self.readout = readout(width, hidden, dropout, config.upsampling * target.vocabulary_size)
        never = torch.zeros(target.vocabulary_size)
        never[[*target.never_generated, target.end_id]] = -torch.inf
        never[target.padding_id] = 0.0
        self.register_buffer("never", never, persistent=False)
        self.language_model = None
        if config.language_model is not None:
            self.language_model = NgramModel(config.language_model, target.vocabulary_size, target.never_generated)
        self._too_short: set[int] = set()
        self._said_how_many = False

    def connect(self, columns: Sequence[Column]) -> None:
        """Settles which column is read; see `Head.connect`."""
        self.column = self.config.find_column(columns, self.target.name)

    def fit_texts(self, texts: Iterable[Sequence[int]]) -> None:
        """Fits the language model; see `Head.fit_texts`."""
        assert self.language_model is not None, "no language model was asked for"
        self.language_model.fit(texts)
        _log.info(
            "target %r: a language model of %d sequences of up to %d tokens",
            self.target.name, self.language_model.num_sequences, self.language_model.order,
        )  # fmt: skip

    def forward(self, fused: Fused, context: RowContext, target: GenerationTruth | None = None) -> Frames:
        """Logits of each frame's token.

        Args:
            fused: What is read.
            context: Of the rows.
            target: In training, rows whose text is too long for their frames are reported.
        """
        values, mask = self._steps(fused)
        logits: Tensor = self.readout(values)
        batch, steps, _ = logits.shape
        logits = logits.view(batch, steps * self.config.upsampling, -1)
        valid = mask.repeat_interleave(self.config.upsampling, dim=1)
        if self.training and target is not None:
            self._report(valid.sum(dim=1), target, context.rows)
        return Frames(logits, valid)

    def normalized(self, frames: Frames) -> tuple[Float[Tensor, "batch frames vocabulary"], Int[Tensor, " batch"]]:
        """float32 log probabilities of the valid frames, first in each row, and how many there are."""
        valid = frames.valid
        log_probabilities = (frames.logits.float() + self.never).log_softmax(dim=-1)
        if self.column is not None and self.column.multiple:
            # A cell's items follow one another, each with its own padding.
            order = torch.argsort((~valid).to(torch.int8), dim=1, stable=True)
            log_probabilities = log_probabilities.gather(1, order[:, :, None].expand_as(log_probabilities))
        return log_probabilities, valid.sum(dim=1)

    def losses(self, frames: Frames, target: GenerationTruth) -> Float[Tensor, " batch"]:
        """-log P(text | frames) of each row; 0 where the target is absent or too long for the frames."""
        texts, lengths = self._texts(target)
        return ctc_losses(*self.normalized(frames), texts, lengths, self.target.padding_id) * target.present

    def log_likelihood(self, frames: Frames, target: GenerationTruth) -> Float[Tensor, " batch"]:
        """log P(text | frames); a text that is too long for its frames counts as one that is guessed evenly."""
        texts, lengths = self._texts(target)
        log_probabilities, num_frames = self.normalized(frames)
        result = -ctc_losses(log_probabilities, num_frames, texts, lengths, self.target.padding_id)
        guessed = -(lengths + 1) * torch.log((self.never == 0).sum())
        return torch.where(frames_needed(texts, lengths) > num_frames, guessed, result) * target.present

    def _steps(self, fused: Fused) -> tuple[Float[Tensor, "batch steps width"], Bool[Tensor, "batch steps"]]:
        column = self.column
        assert column is not None, f"the head of {self.target.name!r} was not told of the columns"
        tokens = fused.columns[column.name].tokens
        values, mask, grid = tokens.values, tokens.mask, tokens.grid
        steps = self.config.steps
        if steps == "auto":
            steps = "tokens"
            if _has_frames(column):
                steps = "items" if column.multiple else "columns"
        # A column that the batch lacks is one masked token, whatever it would unfold to.
        if steps == "tokens" or len(grid) < 2:
            return values, mask
        batch, _, width = values.shape
        if steps == "columns":
            shape = (batch, -1, grid[-2], grid[-1])
            values = values.reshape(*shape, width).transpose(2, 3).flatten(1, 2)
            mask = mask.reshape(shape).transpose(2, 3).flatten(1, 2)
        else:
            inner = grid[-2] * grid[-1] if len(grid) > 2 else grid[-1]
            values, mask = values.reshape(batch, -1, inner, width), mask.reshape(batch, -1, inner)
        weights = mask.to(values.dtype)
        mean = torch.einsum("bsnd,bsn->bsd", values, weights) / weights.sum(dim=2, keepdim=True).clamp(min=1)
        return mean, mask.any(dim=2)

    def _texts(self, target: GenerationTruth) -> tuple[Int[Tensor, "batch length"], Int[Tensor, " batch"]]:
        """The true texts without begin and end, and their tokens."""
        last = target.values.gather(1, (target.lengths - 1).clamp(min=0)[:, None])[:, 0]
        lengths = (target.lengths - 1 - (last == self.target.end_id).long()).clamp(min=0)
        return target.values[:, 1:], lengths

    def _report(self, num_frames: Int[Tensor, " batch"], target: GenerationTruth, rows: Tensor) -> None:
        """Says once which row is too short for its text, and once more how many are, after all have been seen."""
        if self._said_how_many:
            return
        texts, lengths = self._texts(target)
        needed = frames_needed(texts, lengths)
        short = (needed > num_frames) & (num_frames > 0) & target.present
        if not bool(short.any()):
            return
        name = self.target.name
        at = int(torch.nonzero(short)[0, 0])
        result = set(rows[short].tolist())
        if not self._too_short:
            _log.warning(
                "target %r: the text of training row %d has %d tokens and takes %d frames, its %r gives %d; such rows "
                "teach the CTC nothing. Raise upsampling (now %d) in model.heads.%s, or write shorter tokens' texts "
                "with longer tokens (data.targets.%s.tokens)",
                name, int(rows[at]), int(lengths[at]), int(needed[at]), self.column.name if self.column else "",
                int(num_frames[at]), self.config.upsampling, name, name,
            )  # fmt: skip
        elif result & self._too_short:
            self._said_how_many = True
            _log.warning("target %r: %d training rows are too short for their texts", name, len(self._too_short))
        self._too_short |= result


class FrameHead(WritingHead[O]):
    """A head that reads one column's frames."""

    frames: FrameReader

    def connect(self, columns: Sequence[Column]) -> None:
        self.frames.connect(columns)

    @property
    def learns_from_texts(self) -> bool:
        return self.frames.language_model is not None

    def fit_texts(self, texts: Iterable[Sequence[int]]) -> None:
        self.frames.fit_texts(texts)


def _has_frames(column: Column) -> bool:
    """Whether its items are images, as a video's are."""
    return modality(column.modality).item_modality == "image"
