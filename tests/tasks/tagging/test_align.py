from __future__ import annotations

import numpy as np
import torch

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.schema import Schema
from polysense.data.augmentation.augment import augment
from polysense.modalities.audio.augment import AudioTransformConfig
from polysense.modalities.audio.record import AudioColumn
from polysense.tasks.regression.record import RegressionTarget
from polysense.tasks.tagging.align import align
from polysense.tasks.tagging.record import TaggingTarget

CLIP = AudioColumn(name="clip", sample_rate=1000, typical_length=600)
TARGET = TaggingTarget(name="events", columns=("events",), classes=("a", "b"), over="clip")
OTHER = RegressionTarget(name="loudness", columns=("loudness",))


def truth(*rows: list[tuple[float, float, float]]) -> ValueTruth:
    return ValueTruth(values=torch.tensor(rows), present=torch.ones(len(rows), dtype=torch.bool))


def clips(lengths: list[int]) -> ColumnBatch:
    return ColumnBatch(values=torch.zeros(len(lengths), 1, 800).short(), lengths=torch.tensor(lengths)[:, None])


def moved(*by: float) -> torch.Tensor:
    matrices = torch.eye(3).repeat(len(by), 1, 1)
    matrices[:, 0, 2] = torch.tensor(by)
    return matrices


def test_what_is_cut_off_is_gone_and_what_is_cut_is_shorter() -> None:
    before = truth([(0, 500, -1), (10, 90, 0), (80, 300, 1), (450, 500, 0)])
    after = align(TARGET, before, moved(-100.0), clips([330]))
    assert after.values[0].tolist() == [[0, 330, -1], [0, 0, -1], [0, 200, 1], [0, 0, -1]]


def test_a_row_whose_place_nobody_knows_has_no_target_and_one_without_its_column_keeps_it() -> None:
    before = truth([(0, 500, -1), (10, 90, 0)], [(0, 400, -1), (10, 90, 1)])
    after = align(TARGET, before, moved(torch.nan, 0.0), clips([500, 0]))
    assert after.present.tolist() == [False, True]
    assert torch.equal(after.values[1], before.values[1])


def test_events_lie_on_the_same_samples_after_a_sound_is_delayed() -> None:
    generator = np.random.default_rng(0)
    waves, marks = np.zeros((12, 1, 800), np.int16), []
    for row in range(12):
        start = int(generator.integers(0, 400))
        waves[row, 0, start : start + 100] = 1000  # the event alone is heard
        marks.append([(0.0, 600.0, -1.0), (float(start), start + 100.0, 1.0)])
    batch = Batch(
        rows=torch.arange(12),
        columns={"clip": ColumnBatch(values=torch.from_numpy(waves), lengths=torch.full((12, 1), 600))},
        truths={
            "events": truth(*marks),
            "loudness": ValueTruth(values=torch.zeros(12, 1), present=torch.ones(12, dtype=torch.bool)),
        },
    )
    transform = AudioTransformConfig(shift=0.15, noise_probability=0.0).build(CLIP)
    after = augment(batch, Schema(columns=(CLIP,), targets=(TARGET, OTHER)), {"clip": transform}, seed=0, epoch=0)
    assert after.truths["loudness"] is batch.truths["loudness"], "it lies in no column"
    delays = after.columns["clip"].lengths[:, 0] - 600
    assert len(set(delays.tolist())) > 5
    for row in range(12):
        whole, event = after.truths["events"].values[row].tolist()
        assert whole == [0, 600 + int(delays[row]), -1]
        attended = after.columns["clip"].values[row, 0].nonzero()[:, 0]
        assert (attended.min(), attended.max() + 1) == tuple(event[:2])
