"""Connectionist temporal classification: the probability of a text, summed over all its alignments to frames.

Graves et al., "Connectionist Temporal Classification" (ICML 2006, sections 3 and 4). Each frame says a token or nothing
(the blank); repeated tokens count once unless a blank stands between them. So a text of n tokens of which r follow
their like needs n + r frames at least; with fewer it has no alignment, and its loss would be infinite.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

__all__ = ["PrefixScores", "collapse", "ctc_losses", "exact", "frames_needed"]

_NEVER = -1e4  # a log probability whose exponential is 0


def exact(device: torch.device) -> torch.dtype:
    """The type that sums over alignments are taken in: float64, where the device has it (Apple's GPUs don't)."""
    return torch.float32 if device.type == "mps" else torch.float64


def frames_needed(texts: Int[Tensor, "batch length"], lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The least frames that each text can be aligned to: its tokens, and a blank between two that are the same."""
    inside = torch.arange(1, texts.shape[1], device=texts.device) < lengths[:, None]
    repeats = (texts[:, 1:] == texts[:, :-1]) & inside
    return lengths + repeats.sum(dim=1)


def ctc_losses(
    log_probabilities: Float[Tensor, "batch frames vocabulary"],
    num_frames: Int[Tensor, " batch"],
    texts: Int[Tensor, "batch length"],
    lengths: Int[Tensor, " batch"],
    blank: int,
) -> Float[Tensor, " batch"]:
    """-log P(text | frames) of each row; 0, with no gradient, where the text has no alignment.

    Args:
        log_probabilities: float32, normalized over the vocabulary.
        num_frames: Valid frames of each row, its first ones.
        texts: Token ids without begin and end; what lies beyond a text's length is not read.
        lengths: Tokens of each text; 0 is the empty text, whose frames are all blank.
        blank: The blank's id.
    """
    if not log_probabilities.shape[1]:
        return log_probabilities.sum(dim=(1, 2))
    # Of what is never said: its gradient, which nobody takes up, would be -inf plus inf.
    finite = log_probabilities.clamp(min=_NEVER)
    losses = F.ctc_loss(
        finite.transpose(0, 1),
        texts,
        num_frames.clamp(min=1),
        lengths,
        blank=blank,
        reduction="none",
        zero_infinity=True,
    )
    return losses.masked_fill(num_frames == 0, 0.0)


def collapse(
    path: Int[Tensor, "batch frames"], valid: Bool[Tensor, "batch frames"], blank: int
) -> tuple[Int[Tensor, "batch length"], Int[Tensor, " batch"]]:
    """The texts that paths spell: repeats are one, blanks are nothing.

    Returns:
        Token ids, padded with the blank, and the tokens of each.
    """
    before = F.pad(path[:, :-1], (1, 0), value=blank)
    keep = valid & (path != blank) & (path != before)
    lengths = keep.sum(dim=1)
    order = torch.argsort((~keep).to(torch.int8), dim=1, stable=True)
    texts = path.masked_fill(~keep, blank).gather(1, order)
    return texts[:, : int(lengths.max()) if len(lengths) else 0], lengths


class PrefixScores:
    """The log probability that a row's text begins with some tokens, or is those tokens.

    Graves, "Supervised Sequence Labeling with Recurrent Neural Networks" (2012, section 7.5.3), as a scorer for
    a search that goes token by token (Watanabe et al., "Hybrid CTC/Attention Architecture for End-to-End Speech
    Recognition", 2017, algorithm 2). Of a prefix is kept, per frame, the log probability of having said it by then, the
    last frame being a token's or blank.

    Nothing goes frame by frame: what a next token adds is one product over the frames, and a new prefix's recursions,
    x_t = a_t (x_{t-1} + b_t), are cumulative sums of logarithms.

    Args:
        log_probabilities: [rows, frames, vocabulary], normalized.
        num_frames: Valid frames of each row. With none, the text is surely empty.
        blank: The blank's id. Given as a token it stands for nothing.
        end_id: The id whose score is that of the text ending here.
    """

    # Suffixes: B rows of the batch, K prefixes of each, R = B K, T frames, V vocabulary.

    def __init__(
        self,
        log_probabilities: Float[Tensor, "rows frames vocabulary"],
        num_frames: Int[Tensor, " rows"],
        blank: int,
        end_id: int,
    ) -> None:
        self._blank, self._end_id = blank, end_id
        dtype, device = exact(log_probabilities.device), log_probabilities.device
        # One frame more, so that there is one: beyond the end all are surely blank, which changes no probability.
        rows, num, _ = log_probabilities.shape
        beyond_RT = torch.arange(num + 1, device=device) >= num_frames[:, None]
        p_BTV = F.pad(log_probabilities.to(dtype).exp(), (0, 0, 0, 1)).masked_fill(beyond_RT[:, :, None], 0.0)
        p_BTV[:, :, blank] = p_BTV[:, :, blank].masked_fill(beyond_RT, 1.0)
        # Prefixes of one row of the batch share its frames, so these are never copied.
        self._p_BTV = p_BTV
        self._on_blank_RT = p_BTV[:, :, blank].log().cumsum(dim=1)
        self._on_token_RT = torch.full_like(self._on_blank_RT, -math.inf)
        self._last_R = torch.full((rows,), blank, device=device)
        self._psi_R = torch.zeros(rows, dtype=dtype, device=device)

    def __call__(self) -> Float[Tensor, "rows vocabulary"]:
        """By how much each next token changes the log probability of the prefix; for the end, of the whole text.

        The exponentials sum to 1. -inf for the blank, and for all if the prefix is impossible.
        """
        on_blank_RT, on_token_RT = self._said()
        phi_RT = torch.logaddexp(on_blank_RT, on_token_RT)
        most_R1 = phi_RT.amax(dim=1, keepdim=True)
        possible_R1 = self._psi_R.isfinite()[:, None]
        most_R1 = torch.where(most_R1.isfinite(), most_R1, 0.0)
        phi_BKT = (phi_RT - most_R1).exp().view(len(self._p_BTV), self._num_prefixes, -1)
        psi_RV = (phi_BKT @ self._p_BTV).flatten(0, 1).log() + most_R1
        # The same token again is a new one only after a blank.
        repeated_R1 = torch.logsumexp(on_blank_RT + self._log_p(self._last_R), dim=1, keepdim=True)
        psi_RV = psi_RV.scatter(1, self._last_R[:, None], repeated_R1)
        psi_RV[:, self._end_id] = torch.logaddexp(self._on_blank_RT[:, -1], self._on_token_RT[:, -1])
        psi_RV[:, self._blank] = -math.inf
        # A prefix of probability 0 gets nowhere; -inf less -inf would be NaN.
        psi_R1 = torch.where(possible_R1, self._psi_R[:, None], 0.0)
        return torch.where(possible_R1, psi_RV - psi_R1, -math.inf)

    def reorder(self, rows: Int[Tensor, " new_rows"]) -> None:
        """Makes each row go on from another one's prefix; see `IncrementalDecoder.reorder` for which can be given."""
        self._on_blank_RT, self._on_token_RT = self._on_blank_RT[rows], self._on_token_RT[rows]
        self._last_R, self._psi_R = self._last_R[rows], self._psi_R[rows]

    def advance(self, tokens: Int[Tensor, " rows"]) -> None:
        """Adds a token to each row's prefix; the end and the blank change nothing."""
        emits_R = (tokens != self._end_id) & (tokens != self._blank)
        p_RT = self._log_p(tokens)
        on_blank_RT, on_token_RT = self._said()
        again_R1 = (tokens == self._last_R)[:, None]
        phi_RT = torch.where(again_R1, on_blank_RT, torch.logaddexp(on_blank_RT, on_token_RT))
        token_RT = _recursion(p_RT, phi_RT)
        blank_RT = _recursion(self._log_p(torch.full_like(tokens, self._blank)), _shifted(token_RT, -math.inf))
        psi_R = torch.logsumexp(phi_RT + p_RT, dim=1)
        self._on_token_RT = torch.where(emits_R[:, None], token_RT, self._on_token_RT)
        self._on_blank_RT = torch.where(emits_R[:, None], blank_RT, self._on_blank_RT)
        self._last_R = torch.where(emits_R, tokens, self._last_R)
        self._psi_R = torch.where(emits_R, psi_R, self._psi_R)

    @property
    def _num_prefixes(self) -> int:
        return len(self._last_R) // max(len(self._p_BTV), 1)

    def _log_p(self, tokens_R: Tensor) -> Tensor:
        batch, num, _ = self._p_BTV.shape
        index_BTK = tokens_R.view(batch, 1, self._num_prefixes).expand(-1, num, -1)
        return self._p_BTV.gather(2, index_BTK).transpose(1, 2).flatten(0, 1).log()

    def _said(self) -> tuple[Tensor, Tensor]:
        """The prefix's log probabilities one frame earlier; before the first frame the empty one has been said."""
        first_R = torch.where(self._last_R == self._blank, 0.0, -math.inf).to(self._psi_R.dtype)
        return _shifted(self._on_blank_RT, first_R), _shifted(self._on_token_RT, -math.inf)


def _shifted(values_RT: Tensor, first: Tensor | float) -> Tensor:
    out = torch.empty_like(values_RT)
    out[:, 1:] = values_RT[:, :-1]
    out[:, 0] = first
    return out


def _recursion(a_RT: Tensor, b_RT: Tensor) -> Tensor:
    """log x_t of x_t = a_t (x_{t-1} + b_t), x_{-1} = 0, from the logarithms of a and b."""
    # x_t = A_t sum_{s <= t} b_s / A_{s-1} with A_t the product of a up to t. A probability of 0 would make that 0 / 0:
    # 1e-200 stands in for it.
    total_RT = a_RT.clamp(min=-460.0).cumsum(dim=1)
    return total_RT + torch.logcumsumexp(b_RT - _shifted(total_RT, 0.0), dim=1)
