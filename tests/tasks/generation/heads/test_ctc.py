"""Heads that read frames: what is read, rows on their own, losses per token, texts too long, the language model."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
import torch
from head_helpers import Probe, Rows

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.nn.decoding.base import DecodingConfig
from polysense.nn.decoding.beam import BeamSearchConfig
from polysense.nn.decoding.best_path import BestPathConfig
from polysense.nn.decoding.greedy import GreedyConfig
from polysense.nn.decoding.prefix_beam import PrefixBeamConfig
from polysense.nn.decoding.sample import SamplingConfig
from polysense.nn.decoding.speech_beam import SpeechBeamConfig
from polysense.nn.layers.ctc import ctc_losses
from polysense.tasks.generation.heads.ctc import CTCHead, CTCHeadConfig
from polysense.tasks.generation.heads.ctc_attention import CTCAttentionHead, CTCAttentionHeadConfig
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

WIDTH, ROWS, LENGTH, VOCABULARY = 16, 5, 8, 9
SPEECH = AudioColumn(name="speech", sample_rate=8000)
AGE = NumberColumn(name="age", mean=0.0, std=1.0)
TARGET = GenerationTarget(
    name="words",
    columns=("words",),
    vocabulary_size=VOCABULARY,
    padding_id=0,
    begin_id=1,
    end_id=2,
    max_length=10,
)
KINDS = pytest.mark.parametrize("kind", [CTCHeadConfig, CTCAttentionHeadConfig], ids=lambda kind: kind.type)


def fused(seed: int = 0) -> Rows:
    """Rows of 8, 5, 3, 1 and no frames, and a number."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(LENGTH) < torch.tensor([8, 5, 3, 1, 0])[:, None]
    mask = torch.cat([mask, torch.ones(ROWS, 1, dtype=torch.bool)], dim=1)
    return Rows(
        Tokens(torch.randn(ROWS, LENGTH + 1, WIDTH, generator=generator), mask, (LENGTH + 1,)),
        torch.randn(ROWS, WIDTH, generator=generator),
        {"speech": (0, LENGTH), "age": (LENGTH, LENGTH + 1)},
        {},
        rows=torch.arange(10, 10 + ROWS),
        grids={"speech": (LENGTH,), "age": (1,)},
    )


def select(whole: Rows, rows: torch.Tensor) -> Rows:
    assert whole.rows is not None
    return dataclasses.replace(
        whole,
        tokens=Tokens(whole.tokens.values[rows], whole.tokens.mask[rows], whole.tokens.grid),
        pooled=whole.pooled[rows],
        rows=whole.rows[rows],
    )


def texts(*rows: tuple[int, ...] | None) -> GenerationTruth:
    """Texts with begin and end; None has none."""
    values = torch.zeros(len(rows), 2 + max(len(row or ()) for row in rows), dtype=torch.int64)
    for index, row in enumerate(rows):
        if row is not None:
            values[index, : len(row) + 2] = torch.tensor([1, *row, 2])
    lengths = (values != 0).sum(dim=1)
    return GenerationTruth(values=values, present=lengths > 0, lengths=lengths)


def head(kind: Any, columns: tuple[Column, ...] = (SPEECH, AGE), **settings: Any) -> Any:
    torch.manual_seed(0)
    made = kind(dropout=0.0, **settings).build(TARGET, WIDTH).eval()
    made.connect(columns)
    with torch.no_grad():
        for parameter in made.frames.readout.parameters():
            parameter.mul_(4.0)
    return Probe(made)


def test_the_loss_is_that_of_the_frames_and_its_count_the_tokens() -> None:
    one, truth = head(CTCHeadConfig), texts((3, 4), (5, 5), (3,), (4,), (6,))
    outputs = one(fused(), truth)
    frames = one.frames.readout(fused().tokens.values[:, :LENGTH])
    frames[:, :, [1, 2]] = -torch.inf
    expected = ctc_losses(
        frames.log_softmax(-1), torch.tensor([8, 5, 3, 1, 0]), truth.values[:, 1:], torch.tensor([2, 2, 1, 1, 1]), 0
    )
    torch.testing.assert_close(one.row_losses(outputs, truth), expected)
    assert one.row_counts(truth).tolist() == [3, 3, 2, 2, 2]
    likelihood = one.likelihood(fused(), truth).detach()
    torch.testing.assert_close(likelihood[:4, 0], -expected[:4].detach())
    assert (likelihood[:, 1] <= likelihood[:, 2]).all()
    # What was never heard counts as guessed: two tokens, each one of 7 (blank and letters).
    assert float(likelihood[4, 0]) == pytest.approx(-2 * float(torch.log(torch.tensor(7.0))))


@KINDS
def test_an_absent_target_and_one_that_is_too_long_have_no_ctc_loss(kind: Any) -> None:
    one, truth = head(kind), texts((3, 4), None, (3, 3, 3), (4, 5, 6), (6,))
    outputs = one(fused(), truth)
    losses = one.row_losses(outputs, truth)
    assert losses.isfinite().all()
    attended = one.frames.losses(one.frames(fused().fused(), fused().context()), truth)
    assert (attended > 0).tolist() == [True, False, False, False, False]
    assert one.row_counts(truth).tolist() == [3, 0, 4, 4, 2]
    likelihood = one.likelihood(fused(), truth)
    assert likelihood.isfinite().all()
    assert not likelihood[1].any()
    if kind is CTCAttentionHeadConfig:
        assert (losses > 0).tolist() == [True, False, True, True, True], "the decoder learns from those rows"


def test_it_says_once_which_row_is_too_short_and_once_how_many(caplog: pytest.LogCaptureFixture) -> None:
    one, truth = head(CTCHeadConfig).train(), texts((3, 4), (5, 5, 5), (3, 3, 3), None, (4,))
    with caplog.at_level(logging.WARNING, logger="polysense"):
        one(select(fused(), torch.tensor([2, 0, 1, 3, 4])), texts((3, 3, 3), (4,), (3,), None, (4,)))
        assert len(caplog.messages) == 1
        assert "training row 12 has 3 tokens and takes 5 frames, its 'speech' gives 3" in caplog.text
        assert "upsampling" in caplog.text
        one(fused(), truth)
        one(fused(), truth)
    assert caplog.messages[1:] == ["target 'words': 1 training rows are too short for their texts"]
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="polysense"):
        head(CTCHeadConfig, upsampling=2).train()(fused(), truth)
    assert not caplog.messages


def test_upsampling_reads_more_frames_of_each_step() -> None:
    one = head(CTCHeadConfig, upsampling=3)
    outputs = one(fused())
    assert outputs.logits.shape == (ROWS, 3 * LENGTH, VOCABULARY)
    assert one.frames.normalized(outputs)[1].tolist() == [24, 15, 9, 3, 0]
    expected = one.frames.readout(fused().fused().columns["speech"].tokens.values).view(ROWS, LENGTH, 3, VOCABULARY)
    torch.testing.assert_close(outputs.logits[:, 3:6, 3:], expected[:, 1, :, 3:])


@KINDS
@pytest.mark.parametrize(
    "decoding",
    [
        GreedyConfig(),
        BeamSearchConfig(beam_size=3, num_texts=2),
        SamplingConfig(),
        BestPathConfig(),
        PrefixBeamConfig(beam_size=4, num_texts=2),
        SpeechBeamConfig(beam_size=3),
    ],
    ids=lambda config: config.type,
)
def test_rows_padding_and_order_change_nothing(kind: Any, decoding: DecodingConfig) -> None:
    one = head(kind, language_model=3, decoding=decoding)
    one.fit_texts([[1, 3, 4, 2], [1, 5, 4, 2]])
    whole, order = fused(), torch.tensor([3, 0, 4, 1, 2])
    truth = texts((3, 4), (5, 5), (3,), (4,), None)
    found = one.read(whole, truth)
    mixed = one.read(select(whole, order), GenerationTruth(
        values=truth.values[order], present=truth.present[order], lengths=truth.lengths[order]  # type: ignore[index]
    ))  # fmt: skip
    assert found["values"].shape == mixed["values"].shape
    assert torch.equal(mixed["values"], found["values"][order])
    assert torch.equal(mixed["scores"], found["scores"][order])
    assert torch.equal(mixed["likelihood"], found["likelihood"][order])
    # Every text ends, or is as long as any training text.
    ends = (found["values"] == 2).any(dim=1)
    assert (ends | (found["values"] != 0).all(dim=1)).all()
    assert not torch.isin(found["values"], torch.tensor([1])).any()
    # Padding behind a recording is not heard.
    values, mask = whole.tokens.values.clone(), whole.tokens.mask
    values[~mask] = 1e3
    other = one.read(dataclasses.replace(whole, tokens=Tokens(values, mask, whole.tokens.grid)))
    assert torch.equal(other["values"], found["values"])
    torch.testing.assert_close(other["scores"], found["scores"])
    # Nothing heard, nothing written (by frames alone).
    if kind is CTCHeadConfig and not isinstance(decoding, SpeechBeamConfig):
        assert found["values"][4].tolist()[0] == 2
        assert float(found["scores"][4]) == pytest.approx(0.0, abs=1e-6)


@KINDS
def test_every_parameter_is_touched_even_if_nothing_can_be_learned(kind: Any) -> None:
    for truth in (texts((3, 4), (5,), (3,), (4,), (6,)), texts((3,) * 9, (3,) * 9, None, None, None)):
        one, whole = head(kind).train(), fused()
        one.row_losses(one(whole, truth), truth).sum().backward()
        for name, parameter in one.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_the_joint_loss_is_a_weighted_sum() -> None:
    truth, parts = texts((3, 4), (5,), (3,), (4,), (6,)), {}
    for weight in (0.0, 0.3, 1.0):
        one = head(CTCAttentionHeadConfig, ctc_weight=weight, label_smoothing=0.0)
        with torch.no_grad():
            parts[weight] = (one.row_losses(one(fused(), truth), truth), one.likelihood(fused(), truth))
        assert torch.allclose(one.row_losses(one.train()(fused(), truth), truth), parts[weight][0], atol=1e-4)
    torch.testing.assert_close(parts[0.3][0], 0.3 * parts[1.0][0] + 0.7 * parts[0.0][0])
    torch.testing.assert_close(parts[0.3][1][:4, 0], -parts[0.3][0][:4])
    assert torch.equal(parts[0.3][1][:, 1:], parts[0.0][1][:, 1:])


def test_the_ctc_keeps_the_decoder_from_what_was_not_said() -> None:
    one = head(CTCAttentionHeadConfig, decoding=SpeechBeamConfig(beam_size=4, ctc_weight=0.5))
    generated = one.write(fused()).ids[:, 0]
    most = [8, 5, 3, 1]
    for row, frames in enumerate(most):
        assert int(((generated[row] != 0) & (generated[row] != 2)).sum()) <= frames
    # Of what nothing was heard, the decoder alone speaks.
    alone = head(CTCAttentionHeadConfig, decoding=SpeechBeamConfig(beam_size=4, ctc_weight=0.0)).write(fused())
    assert torch.equal(generated[4], alone.ids[4, 0][: generated.shape[1]])


def test_a_language_model_prefers_what_was_written_in_training() -> None:
    one = head(CTCHeadConfig, language_model=4, decoding=PrefixBeamConfig(beam_size=20, language_model_weight=5.0))
    assert one.learns_from_texts
    with torch.no_grad():
        for parameter in one.frames.readout.parameters():
            parameter.mul_(0.1)
    one.fit_texts([[1, 3, 4, 5, 2]] * 50)
    assert one.write(fused()).ids[0, 0].tolist()[:4] == [3, 4, 5, 2]
    exclude = one.redecoded(PrefixBeamConfig(beam_size=20, language_model_weight=0.0))
    assert exclude.write(fused()).ids[0, 0].tolist()[:4] != [3, 4, 5, 2]
    assert not head(CTCHeadConfig).learns_from_texts
    other = head(CTCHeadConfig, language_model=4, decoding=PrefixBeamConfig(beam_size=20, language_model_weight=5.0))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.write(fused()).ids, one.write(fused()).ids)


def test_which_column_is_read() -> None:
    photo = ImageColumn(name="photo", image_size=(8, 8), num_channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    lips = ImageColumn(
        name="lips", multiple=True, image_size=(8, 8), num_channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
    )
    other = AudioColumn(name="noise", sample_rate=16_000)
    config = CTCHeadConfig()
    for columns, found in (
        ((AGE, photo, SPEECH, lips), "speech"),
        ((AGE, photo, lips), "lips"),
        ((photo, AGE), "photo"),
        ((AGE,), "age"),
    ):
        assert config.find_column(columns, "words").name == found
    with pytest.raises(ConfigError, match=r"model.heads.words.column: auto could be any of speech, noise"):
        config.find_column((SPEECH, other, AGE), "words")
    assert CTCHeadConfig(column="noise").find_column((SPEECH, other, AGE), "words").name == "noise"
    with pytest.raises(ConfigError, match="no input column 'nose' among speech, age"):
        CTCHeadConfig(column="nose").find_column((SPEECH, AGE), "words")


def test_a_picture_is_read_column_by_column_and_a_sequence_picture_by_picture() -> None:
    values = torch.randn(2, 12, WIDTH)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1] = False

    def read(column: Column, grid: tuple[int, ...], **settings: Any) -> tuple[torch.Tensor, torch.Tensor]:
        one = head(CTCHeadConfig, (column,), **settings)
        tokens = Tokens(values, mask, grid)
        found: tuple[torch.Tensor, torch.Tensor] = one.frames._steps(
            Rows(tokens, torch.zeros(2, WIDTH), {column.name: (0, 12)}, {}, grids={column.name: grid}).fused()
        )
        return found

    line = ImageColumn(name="line", image_size=(8, 8), num_channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    found, valid = read(line, (3, 4))
    torch.testing.assert_close(found[0], values[0].view(3, 4, WIDTH).mean(dim=0))
    assert valid.tolist() == [[True] * 4, [False] * 4]
    lips = ImageColumn(
        name="lips", multiple=True, image_size=(8, 8), num_channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
    )
    found, _ = read(lips, (3, 2, 2))
    torch.testing.assert_close(found[0], values[0].view(3, 4, WIDTH).mean(dim=1))
    found, _ = read(lips, (3, 2, 2), steps="columns")
    torch.testing.assert_close(found[0], values[0].view(3, 2, 2, WIDTH).mean(dim=1).flatten(0, 1))
    found, valid = read(lips, (3, 2, 2), steps="tokens")
    assert torch.equal(found, values * mask[..., None])
    # A column that the batch lacks is one masked token.
    one = head(CTCHeadConfig, (line,))
    nothing = Rows(
        Tokens(torch.zeros(2, 1, WIDTH), torch.zeros(2, 1, dtype=torch.bool), (1,)),
        torch.zeros(2, WIDTH), {"line": (0, 1)}, {}, grids={"line": (1,)},
    )  # fmt: skip
    assert one.read(nothing)["values"].tolist() == [[2], [2]]


def test_items_of_a_cell_are_one_text() -> None:
    """Two recordings in a cell: their frames follow one another, without the padding between."""
    speech = dataclasses.replace(SPEECH, multiple=True)
    one = head(CTCHeadConfig, (speech,))
    values = torch.randn(1, 8, WIDTH)
    mask = torch.tensor([[True, True, False, False, True, True, True, False]])

    def write(values: torch.Tensor, mask: torch.Tensor) -> Any:
        length = values.shape[1]
        tokens = Tokens(values, mask, (length,))
        return one.read(Rows(tokens, torch.zeros(1, WIDTH), {"speech": (0, length)}, {}), texts((3, 4)))

    found, joined = write(values, mask), write(values[mask][None], mask[mask][None])
    assert torch.equal(found["values"], joined["values"])
    torch.testing.assert_close(found["likelihood"], joined["likelihood"])


def test_unusable_settings_are_refused() -> None:
    for settings, message in (({"upsampling": 0}, "upsampling"), ({"language_model": 0}, "language_model")):
        with pytest.raises(ConfigError, match=message):
            CTCHeadConfig(**settings)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=message):
            CTCAttentionHeadConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ctc_weight"):
        CTCAttentionHeadConfig(ctc_weight=2.0)
    with pytest.raises(ConfigError, match="takes for its blank"):
        CTCHeadConfig().build(dataclasses.replace(TARGET, end_id=0), WIDTH)
    assert isinstance(head(CTCHeadConfig).module, CTCHead)
    assert isinstance(head(CTCAttentionHeadConfig).module, CTCAttentionHead)
