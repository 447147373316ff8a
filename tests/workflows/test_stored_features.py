"""Frozen features once: the store gives what the network gives, to the last bit, and forgets what is not true any more.

A table of a text, two pictures in a cell and a clip, with cells that are missing, unreadable and of different lengths.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from backbone_folders import save_bert, save_vit, save_whisper
from PIL import Image
from safetensors.torch import load_file
from tiny_run import TINY

import polysense
from polysense.data.batches.dataset import TableDataset
from polysense.nn.backbone import BackboneEncoder
from polysense.training import time_plan
from polysense.workflows.stored_features import store_for_bundle

_NUM_ROWS = 20
_WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "the",
    "mat",
    "and",
    "it",
    "was",
    "not",
    "amused",
    "to",
    "be",
    "or",
    "not",
    "to",
    "be",
]
_COLUMNS = {"note": "text", "photos": "image", "speech": "audio"}

Fit = Callable[..., polysense.Run]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three networks and the rows' files."""
    folder = tmp_path_factory.mktemp("made")
    save_bert(folder / "bert", layers=2)
    save_vit(folder / "vit")
    save_whisper(folder / "whisper")
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for i in range(_NUM_ROWS):
        label = "ab"[i % 2]
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.normal(size=2000 + 900 * (i % 4)), 16000)
        for k in range(2):
            pixels = rng.integers(0, 255, (24 + 8 * k, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}-{k}.png")
        note = " ".join(_WORDS[i % 5 : i % 5 + 1 + i % 9])
        photos = [f"{i}-{k}.png" for k in range(1 + i % 2)]
        rows.append({"note": note, "photos": photos, "speech": f"{i}.wav", "label": label})
    rows[1]["note"] = rows[2]["photos"] = rows[3]["speech"] = None
    (folder / "broken.wav").write_bytes(b"RIFF and no more")
    (folder / "broken.png").write_bytes(b"\x89PNG and no more")
    rows[4]["speech"], rows[5]["photos"] = "broken.wav", ["5-0.png", "broken.png"]
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def fit(made: Path, tmp_path: Path, cache: Path) -> Fit:
    """Trains; arguments are overrides, then keywords of `polysense.fit`."""

    def run(name: str, *overrides: str, **options: Any) -> polysense.Run:
        backbones = {"note": "bert", "photos": "vit", "speech": "whisper"}
        encoders = [
            f"model.encoders.{column}={{type: pretrained, path: {made / folder}}}"
            for column, folder in backbones.items()
        ]
        return polysense.fit(
            made / "table.jsonl",
            target="label",
            columns=_COLUMNS,
            output=tmp_path / name,
            overrides=[
                *TINY, "training.batch_size=6", "evaluation.baselines=false", "data.transforms={}",
                "data.split={type: fraction, validation: 0.3, test: 0.2}", *encoders, *overrides,
            ],
            progress=False,
            **options,
        )  # fmt: skip

    return run


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Items of each call of a frozen network."""
    sizes: list[int] = []
    whole = BackboneEncoder.item_features

    def counted(self: BackboneEncoder, values: Any, lengths: Any) -> Any:
        sizes.append(int((lengths > 0).sum()))
        return whole(self, values, lengths)

    monkeypatch.setattr(BackboneEncoder, "item_features", counted)
    return sizes


def weights(run: polysense.Run) -> dict[str, torch.Tensor]:
    return load_file(run.folder / "bundle" / "weights.safetensors")


def alike(one: polysense.Run, other: polysense.Run) -> bool:
    """Whether two runs gave the same weights, predictions and scores, to the last bit."""
    mine, yours = weights(one), weights(other)
    assert mine.keys() == yours.keys()
    return all(torch.equal(mine[name], yours[name]) for name in mine) and one.metrics == other.metrics


def test_rows_for_whose_features_there_is_no_time_are_not_trained_on(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, calls: list[int]
) -> None:
    monkeypatch.setattr(time_plan, "_FEWEST_ROWS", 4)
    monkeypatch.setattr(time_plan, "_SHARE_OF_FEATURES", 0.0)
    run = fit("cut", time="10m")
    assert any(what.startswith("features of ") and "training rows" in what for what in run.left_out)
    kept = json.loads((run.folder / "training_rows.json").read_text())
    assert kept["rows"] == 4
    assert 0 < kept["validation"] <= 4
    log = (run.folder / "train.log").read_text()
    assert "fitted on 4 training rows" in log
    # Resumed, it is the same run: its features are stored by now, and all rows would fit.
    (run.folder / "verdict.json").unlink()
    again = fit("cut", resume=True, time="10m")
    assert weights(again).keys() == weights(run).keys()


def test_stored_features_train_and_predict_what_live_ones_do(
    fit: Fit, made: Path, calls: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="polysense.workflows")
    # An audit damages cells, and nothing is stored of damaged ones.
    live = fit("live", "data.store=off", "audit=off")
    assert not [record for record in caplog.records if "frozen features" in record.message]
    num_live = sum(calls)
    calls.clear()
    stored = fit("stored", "audit=off")
    said = [record.message for record in caplog.records if "frozen features" in record.message]
    assert any("'speech': frozen features of" in message and "0 stored before" in message for message in said)
    assert alike(live, stored)
    assert sum(calls) < num_live
    ours, theirs = (run.bundle.predict(made / "table.jsonl") for run in (live, stored))
    assert ours.frame.equals(theirs.frame)
    assert [cell.as_dict() for cell in ours.unreadable] == [cell.as_dict() for cell in theirs.unreadable]
    assert len(ours.unreadable) == 2
    calls.clear()
    again = fit("again", "audit=off")
    assert alike(live, again)
    # Only blank items, whose shape is asked for.
    assert sum(calls) < 12
    calls.clear()
    assert polysense.predict(again.folder / "bundle", made / "table.jsonl").frame.equals(theirs.frame)
    assert sum(calls) < 12


@pytest.mark.parametrize("size", [1, 20])
def test_other_batches_and_orders_read_the_same_features(fit: Fit, size: int) -> None:
    overrides = (f"training.batch_size={size}", "training.seed=3", "data.modality_dropout=0.4")
    assert alike(fit("live", "data.store=off", *overrides), fit("stored", *overrides))


def test_a_table_of_old_and_new_cells_in_another_order(fit: Fit, made: Path, tmp_path: Path) -> None:
    bundle = fit("run").bundle
    rows = [json.loads(line) for line in (made / "table.jsonl").read_text().splitlines()]
    new = {"note": "amused cat", "photos": ["0-1.png", "3-1.png", None], "speech": None, "label": "a"}
    rows = [*rows[::-1], new]
    dataset = TableDataset(polysense.read_table(rows, root=made), bundle.processor)
    expected = bundle.predict_dataset(dataset).frame
    store_for_bundle(bundle, [dataset], fill=False)
    assert dataset.stored
    samples = dataset.__getitems__(range(len(rows)))
    assert "note" in samples[0].stored
    assert "note" in samples[-1].values
    assert bundle.predict_dataset(dataset).frame.equals(expected)


def test_training_goes_on_after_a_kill_while_features_are_computed(
    fit: Fit, cache: Path, monkeypatch: pytest.MonkeyPatch, calls: list[int]
) -> None:
    whole, count = BackboneEncoder.item_features, 0

    class Killed(BaseException):
        pass

    def killed(self: BackboneEncoder, values: Any, lengths: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            raise Killed
        return whole(self, values, lengths)

    with monkeypatch.context() as patch:
        patch.setattr(BackboneEncoder, "item_features", killed)
        with pytest.raises(Killed):
            fit("run")
    assert any(path.stat().st_size for path in cache.rglob("features.bin"))
    calls.clear()
    resumed = fit("run", resume=True) if (cache.parent.parent / "run" / "run.json").exists() else fit("second")
    num_resumed = sum(calls)
    shutil.rmtree(cache)
    calls.clear()
    assert alike(resumed, fit("whole"))
    assert num_resumed < sum(calls)


def test_a_resumed_run_that_began_with_another_models_network_reads_that_networks_features(fit: Fit) -> None:
    first = fit("first", "model.encoders.note.tune=full", "training.epochs=1")

    def resumed(name: str, *overrides: str) -> polysense.Run:
        start = f"init_from={{bundle: {first.folder / 'bundle'}, parts: [encoders.note]}}"
        fit(name, start, "training.epochs=1", *overrides)
        return fit(name, start, "training.epochs=2", *overrides, resume=True)

    assert alike(resumed("stored"), resumed("live", "data.store=off"))


def test_heads_that_are_fitted_on_features_take_them_from_the_store(
    made: Path, tmp_path: Path, cache: Path, calls: list[int]
) -> None:
    def fitted(name: str, *overrides: str) -> polysense.Run:
        return polysense.fit(
            made / "table.jsonl", task="retrieval", target=["note", "speech"], output=tmp_path / name, progress=False,
            columns={"note": "text", "speech": "audio", "photos": "ignored", "label": "ignored"},
            overrides=[
                *(each for each in TINY if "estimators" not in each), "training.batch_size=6", "data.transforms={}",
                "evaluation.baselines=false", "data.split={type: fraction, validation: 0.3, test: 0.2}", *overrides,
                f"model.encoders.note={{type: pretrained, path: {made / 'bert'}}}",
                f"model.encoders.speech={{type: pretrained, path: {made / 'whisper'}}}",
            ],
        )  # fmt: skip

    stored = fitted("stored")
    assert len(list(cache.iterdir())) == 2
    # Each cell once, and blank items, whose shape is asked for.
    assert sum(calls) < 2 * _NUM_ROWS + 12
    assert alike(stored, fitted("live", "data.store=off"))


def test_damaged_features_are_computed_again_and_that_is_said(
    fit: Fit, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fit("whole")
    for path in cache.rglob("features.bin"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    caplog.set_level(logging.INFO, logger="polysense.workflows")
    assert alike(whole, fit("again"))
    said = [record.message for record in caplog.records if "damaged items were computed again" in record.message]
    assert len(said) == len(_COLUMNS)
    for path in cache.rglob("shelf.json"):
        path.write_text("{")
    assert alike(whole, fit("third"))


def test_other_weights_settings_and_preprocessing_have_other_features(
    fit: Fit, made: Path, tmp_path: Path, cache: Path, calls: list[int]
) -> None:
    fit("first")
    shelves = {path.name for path in cache.iterdir()}
    assert len(shelves) == 3
    other = tmp_path / "other"
    save_whisper(other)
    import transformers

    network = transformers.WhisperForConditionalGeneration.from_pretrained(other)
    with torch.no_grad():
        next(iter(network.model.encoder.layers)).fc1.bias[0] += 1e-6
    network.save_pretrained(other)
    fit("second", f"model.encoders.speech={{type: pretrained, path: {other}}}")
    assert len(list(cache.iterdir())) == 4
    # The same weights elsewhere, in a column that is cut otherwise: its cells are read again, whole ones found.
    shutil.copytree(made / "bert", tmp_path / "moved")
    calls.clear()
    run = fit("third", f"model.encoders.note.path={tmp_path / 'moved'}", "data.columns.note.max_tokens=4")
    assert len(list(cache.iterdir())) == 4
    assert sum(calls) > 0
    off = fit(
        "off", f"model.encoders.note.path={tmp_path / 'moved'}", "data.columns.note.max_tokens=4", "data.store=off"
    )
    assert alike(run, off)


def test_features_that_do_not_fit_are_not_stored(
    fit: Fit, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    live = fit("live", "data.store=off")
    monkeypatch.setenv("POLYSENSE_CACHE_BYTES", "20000")
    assert alike(live, fit("stored"))
    assert any("POLYSENSE_CACHE_BYTES" in record.message for record in caplog.records)
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) <= 20000


def test_a_folder_that_can_not_be_written_to_stops_nothing(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "file"))
    assert fit("run").metrics
    assert any("can't be stored" in record.message for record in caplog.records)


_VARIED = "data.transforms={photos: {type: image}, note: {type: text, probability: 0.4}, speech: {type: audio}}"


def test_versions_of_augmented_cells_are_computed_once_and_train_what_live_ones_do(
    fit: Fit, calls: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    views = (_VARIED, "data.views=2", "training.epochs=5", "audit=off")
    live = fit("live", "data.store=off", *views)
    num_live = sum(calls)
    calls.clear()
    caplog.set_level(logging.INFO, logger="polysense.workflows")
    stored = fit("stored", *views)
    assert alike(live, stored)
    assert sum(calls) < num_live / 2
    assert sum("2 augmented versions of" in record.message for record in caplog.records) == len(_COLUMNS)
    calls.clear()
    assert alike(live, fit("again", *views))
    assert sum(calls) < 12  # only blank items, whose shape is asked for
    whole = fit("whole", _VARIED, "training.epochs=5", "audit=off")
    assert not alike(live, whole), "each epoch should have a version of its own"


def test_versions_that_do_not_fit_are_computed_in_every_epoch(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    views = (_VARIED, "data.views=3", "audit=off")
    live = fit("live", "data.store=off", *views)
    monkeypatch.setenv("POLYSENSE_CACHE_BYTES", "90000")
    assert alike(live, fit("stored", *views))


def test_augmented_columns_and_networks_that_learn_are_not_stored(fit: Fit, cache: Path) -> None:
    fit("run", "data.transforms.photos={type: image}", "model.encoders.note.tune=full", "training.epochs=1")
    bundle = polysense.load(cache.parent.parent / "run" / "bundle")
    shelves = [each.shelf for each in bundle.model.column_encoders.values() if isinstance(each, BackboneEncoder)]
    assert shelves == [""] * 3
    # Once trained, nothing varies the photos: they are kept for whoever evaluates the model again.
    assert len(list(cache.iterdir())) == 2
