"""Writing from frames: prefix beam search and the joint beam against every text that there is."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
from torch import Tensor

from polysense.errors import ConfigError
from polysense.nn.decoding.base import Generated
from polysense.nn.decoding.beam import BeamSearchConfig
from polysense.nn.decoding.best_path import BestPathConfig
from polysense.nn.decoding.incremental import IncrementalDecoder
from polysense.nn.decoding.prefix_beam import PrefixBeamConfig
from polysense.nn.decoding.speech import IncrementalSpeechDecoder, SpeechWeights
from polysense.nn.decoding.speech_beam import SpeechBeamConfig
from polysense.nn.layers.ngram import NgramModel
from polysense.tasks.generation.record import GenerationTarget

BLANK, BEGIN, END = 0, 1, 2
FRAMES, VOCABULARY = 4, 6
SPOKEN = (3, 4, 5)
TARGET = GenerationTarget(
    name="words",
    columns=("words",),
    vocabulary_size=VOCABULARY,
    padding_id=BLANK,
    begin_id=BEGIN,
    end_id=END,
    max_length=FRAMES + 1,
)
NUM_FRAMES = torch.tensor([4, 3, 1, 0])


def log_probabilities(seed: int = 0, sharp: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = sharp * torch.randn(len(NUM_FRAMES), FRAMES, VOCABULARY, generator=generator)
    logits[:, :, [BEGIN, END]] = -math.inf
    return logits.log_softmax(dim=-1)


def by_alignments(row: Tensor, frames: int) -> dict[tuple[int, ...], float]:
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product((BLANK, *SPOKEN), repeat=frames):
        text = tuple(token for token, _ in itertools.groupby(path) if token != BLANK)
        log_p = sum(float(row[frame, token]) for frame, token in enumerate(path))
        found[text] = found.get(text, 0.0) + math.exp(log_p)
    return found


@functools.cache
def language_model() -> NgramModel:
    model = NgramModel(3, VOCABULARY, (BLANK, BEGIN))
    model.fit([[1, 3, 4, 5, 2], [1, 3, 4, 2], [1, 4, 4, 3, 2], [1, 5, 3, 4, 2]])
    return model


@functools.cache
def expected_by(text: tuple[int, ...]) -> float:
    model = language_model()
    contexts, total = model.start(1), 0.0
    for token in (*text, END):
        total += float(model.log_probabilities(contexts)[0, token])
        contexts = model.advance(contexts, torch.tensor([token]))
    return total


def texts_of(generated: Generated) -> list[tuple[int, ...]]:
    return [tuple(t for t in text if t not in (BLANK, END)) for text in generated.ids[:, 0].tolist()]


def incremental(
    probabilities: Tensor, weights: SpeechWeights | None = None, model: NgramModel | None = None
) -> IncrementalSpeechDecoder:
    return IncrementalSpeechDecoder(probabilities, NUM_FRAMES, TARGET, weights or SpeechWeights(), language_model=model)


ROWS = torch.arange(len(NUM_FRAMES))


@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("bonus", [0.0, 0.5])
def test_a_wide_prefix_beam_finds_the_best_of_all_texts(weight: float, bonus: float) -> None:
    model = language_model()
    decoder = PrefixBeamConfig(beam_size=90, language_model_weight=weight, length_bonus=bonus, num_texts=5).build(
        TARGET
    )
    for seed in range(2):
        probabilities = log_probabilities(seed)
        generated = decoder.write(incremental(probabilities, model=model), ROWS)
        for row, frames in enumerate(NUM_FRAMES.tolist()):
            known = by_alignments(probabilities[row], frames)
            ranks = {
                text: math.log(p) + bonus * len(text) + (weight * expected_by(text) if weight else 0.0)
                for text, p in known.items()
            }
            best = sorted(ranks, key=lambda text: -ranks[text])[:5]
            for place, text in enumerate(best):
                ids = generated.ids[row, place].tolist()
                assert tuple(ids[: ids.index(END)]) == text
                assert not any(ids[ids.index(END) + 1 :])
                assert float(generated.scores[row, place]) == pytest.approx(math.log(known[text]), abs=1e-4)
            for place in range(len(best), 5):
                assert generated.scores[row, place] == -math.inf, "there are no more texts"


def test_a_narrow_beam_is_nearly_as_good_and_better_than_the_best_path() -> None:
    totals = []
    decoders = [
        BestPathConfig().build(TARGET),
        *(PrefixBeamConfig(beam_size=n).build(TARGET) for n in (2, 5, 90)),
    ]
    for decoder in decoders:
        totals.append(sum(float(decoder.write(incremental(log_probabilities(s)), ROWS).scores.sum()) for s in range(6)))
    assert totals == sorted(totals)
    assert totals[0] < totals[-1]
    assert totals[2] > totals[-1] - 1.0


def test_best_path_by_hand() -> None:
    probabilities = torch.full((len(NUM_FRAMES), FRAMES, VOCABULARY), 0.05)
    for frame, token in enumerate((3, BLANK, 3, 4)):
        probabilities[:, frame, token] = 0.8
    generated = BestPathConfig().build(TARGET).write(incremental(probabilities.log()), ROWS)
    assert texts_of(generated) == [(3, 3, 4), (3, 3), (3,), ()]
    cut = BestPathConfig(max_new_tokens=1).build(TARGET).write(incremental(probabilities.log()), ROWS)
    assert texts_of(cut) == [(3,)] * 3 + [()]


class _Attention(IncrementalDecoder):
    """A decoder that says by a table what comes next, whatever was said before the last token."""

    def __init__(self) -> None:
        table = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(7))
        table[:, [BLANK, BEGIN]] = -math.inf
        self.table = table.log_softmax(dim=-1)

    def __call__(self, token: Tensor) -> Tensor:
        return self.table[token]

    def reorder(self, rows: Tensor) -> None:
        pass


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_joint_beam_finds_the_best_weighted_sum(weight: float) -> None:
    config = SpeechBeamConfig(beam_size=130, ctc_weight=weight, language_model_weight=0.5, length_bonus=0.2)
    decoder, model, attention = config.build(TARGET), language_model(), _Attention()
    for seed in range(2):
        probabilities = log_probabilities(seed)
        joint = IncrementalSpeechDecoder(probabilities, NUM_FRAMES, TARGET, decoder.weights, attention, model)
        found = texts_of(decoder.write(joint, ROWS))
        for row, frames in enumerate(NUM_FRAMES.tolist()):
            known = by_alignments(probabilities[row], frames)
            ranks = {}
            for length in range(FRAMES + 1):
                for text in itertools.product(SPOKEN, repeat=length):
                    said = sum(float(attention.table[a, b]) for a, b in itertools.pairwise((BEGIN, *text, END)))
                    if frames and weight:
                        if not known.get(text):
                            continue
                        said = weight * math.log(known[text]) + (1 - weight) * said
                    ranks[text] = said + 0.5 * expected_by(text) + 0.2 * length
            assert ranks[found[row]] == pytest.approx(max(ranks.values()), abs=1e-5)


def test_a_beam_over_tokens_finds_what_a_beam_over_frames_does() -> None:
    probabilities, model = log_probabilities(3), language_model()
    wide = SpeechBeamConfig(beam_size=130, language_model_weight=0.4)
    by_token = wide.build(TARGET).write(incremental(probabilities, wide.build(TARGET).weights, model), ROWS)
    by_frame = PrefixBeamConfig(beam_size=90, language_model_weight=0.4).build(TARGET)
    assert texts_of(by_token) == texts_of(by_frame.write(incremental(probabilities, model=model), ROWS))


def test_rows_do_not_depend_on_one_another() -> None:
    probabilities, model = log_probabilities(5), language_model()
    order = torch.tensor([3, 0, 1, 2])
    for config in (BestPathConfig(), PrefixBeamConfig(beam_size=4, num_texts=3), SpeechBeamConfig(num_texts=2)):
        decoder = config.build(TARGET)
        whole = decoder.write(incremental(probabilities, model=model), ROWS)
        mixed = IncrementalSpeechDecoder(
            probabilities[order], NUM_FRAMES[order], TARGET, SpeechWeights(), language_model=model
        )
        other = decoder.write(mixed, ROWS)
        assert torch.equal(other.ids, whole.ids[order])
        assert torch.equal(other.scores, whole.scores[order])


def test_what_has_no_frames_is_refused() -> None:
    for config in (BestPathConfig(), PrefixBeamConfig()):
        with pytest.raises(ConfigError, match="goes frame by frame"):
            config.build(TARGET).write(_Attention(), ROWS)
    with pytest.raises(ConfigError, match="num_texts"):
        PrefixBeamConfig(beam_size=2, num_texts=3)
    with pytest.raises(ConfigError, match="ctc_weight"):
        SpeechBeamConfig(ctc_weight=1.5)
    assert BeamSearchConfig().beam_size > 1
