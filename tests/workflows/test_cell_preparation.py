"""Cells decoded once: a training from the store is that from files to the last bit, and no other cell is taken.

A table of pictures of two shapes (two in some cells), clips and a film, with cells that are missing, unreadable,
hostile and cut.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_run import TINY

import polysense
from polysense.config.codec import from_dict
from polysense.core.schema import Requirements
from polysense.data.batches.dataset import TableDataset
from polysense.data.cleaning import CellCleaner, CleaningConfig
from polysense.data.column import ColumnConfig
from polysense.data.column_fingerprint import decoding_fingerprint
from polysense.data.executors import ray_cluster
from polysense.data.executors.base import Executor, lists_of
from polysense.data.store import cell_keys
from polysense.data.store.prepared import PreparedStore
from polysense.errors import ConfigError, DependencyError, LockedError
from polysense.modalities.audio.column import AudioProcessor
from polysense.modalities.image.column import ImageProcessor
from polysense.modalities.video.column import VideoProcessor
from polysense.workflows import cell_preparation as module
from polysense.workflows import cell_reading
from polysense.workflows.fitted_data import fit_processor
from polysense.workflows.prepare import prepare as read_recipe
from polysense.workflows.prepare import split_tables
from polysense.workflows.stored_features import stored_of

_NUM_ROWS = 24
_KINDS = {"photos": "image", "speech": "audio", "film": "video"}
_OVERRIDES = [
    *TINY, "training.batch_size=6", "training.epochs=1", "evaluation.baselines=false", "audit=off",
    "data.split={type: fraction, validation: 0.3, test: 0.2}", "data.columns.speech.max_seconds=0.2",
    "data.columns.film.frames=3", "data.columns.photos.size=[24, 32]",
]  # fmt: skip


def save_picture(path: Path, seed: int, size: tuple[int, int] = (24, 40)) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)


def write_table(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for i in range(_NUM_ROWS):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.normal(size=2000 + 900 * (i % 3)), 16000)
        for k in range(2):
            save_picture(folder / f"{i}-{k}.png", 2 * i + k, (24 + 8 * k, 40))
        frames = [Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)) for _ in range(2 + i % 3)]
        frames[0].save(folder / f"{i}.gif", save_all=True, append_images=frames[1:], duration=100)
        photos = [f"{i}-{k}.png" for k in range(1 + i % 2)]
        rows.append({"photos": photos, "speech": f"{i}.wav", "film": f"{i}.gif", "label": "ab"[i % 2]})
    rows[1]["photos"] = rows[2]["speech"] = rows[3]["film"] = None
    (folder / "broken.wav").write_bytes(b"RIFF and no more")
    (folder / "broken.png").write_bytes((folder / "5-0.png").read_bytes()[:90])
    (folder / "folder.gif").mkdir()
    os.mkfifo(folder / "pipe.gif")
    rows[4]["speech"], rows[5]["photos"] = "broken.wav", ["5-0.png", "broken.png"]
    rows[6]["film"], rows[7]["film"], rows[8]["photos"] = "folder.gif", "pipe.gif", ["none.png"]
    rows[9]["photos"] = rows[10]["photos"]  # the same files
    path = folder / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return write_table(tmp_path / "data")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The columns whose items were decoded, one for each."""
    names: list[str] = []
    for kind in (AudioProcessor, ImageProcessor, VideoProcessor):
        whole: Callable[..., Any] = kind._item

        def counted(self: Any, value: Any, source: Any, root: Path, whole: Callable[..., Any] = whole) -> Any:
            if not isinstance(value, np.ndarray):  # a frame, which its video counts
                names.append(self.name)
            return whole(self, value, source, root)

        monkeypatch.setattr(kind, "_item", counted)
    return names


def prepare(table: Path, *overrides: str, **options: Any) -> polysense.api.PreparedCells:
    requested = {"target": "label", "columns": _KINDS, "num_workers": 0, "progress": False} | options
    return polysense.prepare(table, overrides=[*_OVERRIDES, *overrides], **requested)


def fit(table: Path, folder: Path, *overrides: str) -> polysense.Run:
    return polysense.fit(
        table, target="label", columns=_KINDS, output=folder, overrides=[*_OVERRIDES, *overrides], progress=False
    )


def counts(cells: polysense.api.PreparedCells) -> dict[str, tuple[int, int, int, int]]:
    return {c.column: (c.num_new, c.num_stored, c.num_missing, c.num_unreadable) for c in cells.columns}


def unreadable(run: polysense.Run) -> list[dict[str, object]]:
    lines = (run.folder / "unreadable.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def alike(one: polysense.Run, other: polysense.Run) -> bool:
    mine, yours = (load_file(run.folder / "bundle" / "weights.safetensors") for run in (one, other))
    return mine.keys() == yours.keys() and all(torch.equal(mine[name], yours[name]) for name in mine)


def same_samples(table: Path) -> bool:
    """Whether rows are the same with the store and without."""
    made = read_recipe(table, target="label", columns=_KINDS, overrides=_OVERRIDES)
    tables = split_tables(made.recipe.data, made.table, made.recipe.training.seed)
    processor, _, _ = fit_processor(made.recipe, tables, most_for_features=8)
    rows = TableDataset(made.table, processor).__getitems__(range(_NUM_ROWS))
    assert len(processor.use_prepared(PreparedStore())) == len(_KINDS)
    others = TableDataset(made.table, processor).__getitems__(range(_NUM_ROWS))
    for mine, yours in zip(rows, others, strict=True):
        assert mine.unreadable == yours.unreadable
        assert {name: where.size for name, where in mine.placements.items()} == {
            name: where.size for name, where in yours.placements.items()
        }
        assert all(mine.placements[name].same(yours.placements[name]) for name in mine.placements)
        assert mine.values.keys() == yours.values.keys()
        for name, items in mine.values.items():
            if not all(map(np.array_equal, items, yours.values[name])):
                return False
    return True


EXPECTED = {"photos": (20, 1, 1, 2), "speech": (22, 0, 1, 1), "film": (21, 0, 1, 2)}


def test_a_training_from_the_store_is_that_from_files_and_decodes_nothing(
    table: Path, tmp_path: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    files = fit(table, tmp_path / "files")
    of_files = [record.message for record in caplog.records if "cut to" in record.message]
    assert of_files
    num_of_files = len(decoded)
    cells = prepare(table)
    assert counts(cells) == EXPECTED
    assert [(cell.source.row, cell.source.column) for cell in cells.unreadable] == [
        (4, "speech"), (5, "photos"), (6, "film"), (7, "film"), (8, "photos"),
    ]  # fmt: skip
    assert "5 cells can't be read" in cells.text()
    assert json.loads(json.dumps(cells.as_json()))["columns"]["speech"]["cut"] > 0
    decoded.clear()
    caplog.clear()
    caplog.set_level(logging.INFO, logger="polysense.workflows")
    stored = fit(table, tmp_path / "stored")
    said = [record.message for record in caplog.records if "prepared are not decoded" in record.message]
    assert len(said) == len(_KINDS)
    # What can't be read is tried each time.
    assert len(decoded) < num_of_files / 3
    assert alike(files, stored)
    assert files.metrics == stored.metrics
    assert unreadable(files) == unreadable(stored)
    assert [record.message for record in caplog.records if "cut to" in record.message] == of_files
    decoded.clear()
    table_of = {run: polysense.predict(run.folder, table) for run in (files, stored)}
    assert table_of[files].frame.equals(table_of[stored].frame)
    assert [cell.as_dict() for cell in table_of[stored].unreadable] == [cell.as_dict() for cell in cells.unreadable]
    assert len(decoded) <= 2 * 3 * 5
    decoded.clear()
    bundle = polysense.load(stored.folder)
    bundle.recipe = {**bundle.recipe, "data": {**bundle.recipe["data"], "store": "off"}}
    stored_of(bundle)
    bundle.predict(table)
    assert len(decoded) >= 3 * _NUM_ROWS - 5


def test_a_second_call_finds_everything_and_processes_write_the_same_bytes(table: Path, tmp_path: Path) -> None:
    first = prepare(table)
    again = prepare(table, num_workers=2)
    assert counts(again) == {
        name: (0, new + stored, missing, bad) for name, (new, stored, missing, bad) in EXPECTED.items()
    }
    assert [cell.as_dict() for cell in again.unreadable] == [cell.as_dict() for cell in first.unreadable]
    data = {each.column: (each.folder / "cells.bin").read_bytes() for each in first.columns}
    for each in first.columns:
        for path in each.folder.iterdir():
            path.unlink()
    other = prepare(table, num_workers=2)
    assert counts(other) == EXPECTED
    assert {each.column: (each.folder / "cells.bin").read_bytes() for each in other.columns} == data


def test_other_settings_are_decoded_anew_and_only_theirs(table: Path) -> None:
    prepare(table)
    for column, override in (
        ("photos", "data.columns.photos.size=[16, 16]"),
        ("photos", "data.cleaning={photos: [{type: crop_border}]}"),
        ("speech", "data.columns.speech.max_seconds=0.1"),
    ):
        other = counts(prepare(table, override))
        assert other[column][0] > 0
        assert all(new == 0 for name, (new, *_) in other.items() if name != column)
    assert all(new == 0 for new, *_ in counts(prepare(table)).values())  # those of before are still there


def test_all_that_decides_what_is_decoded_is_in_the_fingerprint(table: Path) -> None:
    kinds = {"photos": "image", "speech": "audio", "film": "video"}

    def fingerprint(column: str, cleaning: Sequence[str] = (), **settings: object) -> bytes:
        plain = {"type": kinds[column], **settings}
        config = from_dict(ColumnConfig, plain, where="column")  # type: ignore[type-abstract]
        processor = config.build(column)
        processor.cleaner = CellCleaner([from_dict(CleaningConfig, {"type": each}, where="") for each in cleaning])  # type: ignore[type-abstract]
        read = polysense.read_table(table)
        sources = [read.source(i, column) for i in range(len(read))]
        processor.fit(read.cells(column), sources, read.root, Requirements())
        return decoding_fingerprint(processor)

    variants: dict[str, list[dict[str, object]]] = {
        "photos": [
            {}, {"size": [16, 16]}, {"fit": "crop"}, {"channels": 1}, {"max_items": 1}, {"max_pixels": 3000},
            {"cleaning": ["crop_border"]},
        ],
        "speech": [
            {}, {"sample_rate": 8000}, {"max_seconds": 0.1}, {"max_seconds": None}, {"cleaning": ["dc_offset"]},
            {"cleaning": ["trim_silence"]}, {"cleaning": ["trim_silence", "dc_offset"]},
        ],
        "film": [{}, {"size": [16, 16]}, {"frames": 2}, {"frames_per_second": 3.0}, {"fit": "stretch"}],
    }  # fmt: skip
    for column, settings in variants.items():
        results = [fingerprint(column, **each) for each in settings]  # type: ignore[arg-type]
        assert len(set(results)) == len(settings)
        assert fingerprint(column) == results[0]


def test_another_split_and_other_columns_of_the_same_files_share_the_cells(table: Path, tmp_path: Path) -> None:
    prepare(table)
    assert all(new == 0 for new, *_ in counts(prepare(table, "training.seed=5")).values())
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    moved = tmp_path / "moved"
    table.parent.rename(moved)
    renamed = [{"image": row["photos"], "label": row["label"]} for row in reversed(rows)]
    (moved / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in renamed))
    overrides = ["data.columns.image.size=[24, 32]", "data.split={type: fraction, validation: 0.3, test: 0.2}"]
    again = polysense.prepare(
        moved / "other.jsonl", target="label", columns={"image": "image"}, overrides=overrides, num_workers=0
    )
    assert counts(again) == {"image": (0, 21, 1, 2)}


def test_a_changed_file_is_decoded_anew_whatever_its_date(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_keys, "_SETTLED", -3600.0)  # as if all files had been written long ago
    prepare(table)
    path = table.parent / "0-0.png"
    status = path.stat()
    time.sleep(0.02)
    raw = path.read_bytes()
    save_picture(path, 12345)
    path.write_bytes(path.read_bytes().ljust(len(raw), b"\0")[: max(len(raw), path.stat().st_size)])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert same_samples(table)
    assert counts(prepare(table))["photos"][0] == 1


def test_a_file_that_changes_while_it_is_read_is_not_kept(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, made, changed = AudioProcessor._item, cell_reading.CellReader.made, []

    def changing(self: AudioProcessor, value: Any, source: Any, root: Path) -> Any:
        if changed == [False]:  # asked for by the reader, and not while preprocessing is fitted
            changed.append(True)
            soundfile.write(root / value, np.zeros(1600), 16000)
        return whole(self, value, source, root)

    def reading(self: cell_reading.CellReader, index: int) -> Any:
        changed[:] = changed or ([False] if self.name == "speech" else [])
        return made(self, index)

    monkeypatch.setattr(AudioProcessor, "_item", changing)
    monkeypatch.setattr(cell_reading.CellReader, "made", reading)
    (speech,) = [each for each in prepare(table).columns if each.column == "speech"]
    assert (speech.num_new, speech.num_unknown) == (21, 1)
    assert counts(prepare(table))["speech"][:2] == (1, 21)


def test_damaged_cells_are_decoded_by_training_and_again_by_prepare(table: Path) -> None:
    cells = prepare(table)
    for each in cells.columns:
        path = each.folder / "cells.bin"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    assert same_samples(table)
    assert all(1 <= new <= 2 for new, *_ in counts(prepare(table)).values())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_little_room_is_said_and_what_was_decoded_is_kept(table: Path, tmp_path: Path, num_workers: int) -> None:
    with pytest.raises(ConfigError, match=r"column 'photos': its cells would take about .* Raise the bound") as raised:
        prepare(table, max_bytes=10_000, num_workers=num_workers)
    assert "cells that were decoded are kept" in str(raised.value)
    sizes = [path.stat().st_size for path in (tmp_path / "cache" / "prepared").rglob("*") if path.is_file()]
    assert 0 < sum(sizes) <= 10_000
    assert counts(prepare(table))["photos"][1] > 1


def test_a_lack_of_room_is_said_early(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ESTIMATED_FROM", 3)
    with pytest.raises(ConfigError, match="the 2 cells that were decoded are kept"):
        prepare(table, max_bytes=20_000)


def test_a_table_without_files_has_nothing_to_prepare(rows: list[dict[str, Any]]) -> None:
    cells = polysense.prepare(rows, target="label", progress=False)
    assert cells.columns == ()
    assert "nothing to prepare" in cells.text()


def test_a_store_that_training_would_not_read_is_not_filled(table: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.store is off"):
        prepare(table, "data.store=off")


def test_two_at_a_time_are_refused(table: Path) -> None:
    (photos, *_) = prepare(table).columns
    with PreparedStore().writing(photos.folder.name), pytest.raises(LockedError, match="is writing to this folder"):
        prepare(table)


class Elsewhere(Executor):
    """Another machine, as far as this one can be one: what reads and what it reads are sent as bytes."""

    is_remote = True

    def __init__(self, arrive: Callable[[cell_reading.CellReader], None] = lambda source: None) -> None:
        self.positions: list[int] = []
        self._arrive = arrive

    def read(self, source: Any, positions: Sequence[int], at_once: int) -> Iterator[Any]:
        self.positions += positions
        there = pickle.loads(pickle.dumps(source))
        self._arrive(there)
        for some in lists_of(positions, at_once):
            yield from pickle.loads(pickle.dumps(there.__getitems__(some)))


def bytes_of(cells: polysense.api.PreparedCells) -> dict[str, bytes]:
    return {each.column: (each.folder / "cells.bin").read_bytes() for each in cells.columns}


def emptied(cells: polysense.api.PreparedCells) -> None:
    for each in cells.columns:
        for path in each.folder.iterdir():
            path.unlink()


def test_cells_that_are_decoded_elsewhere_are_the_same_and_only_those_that_are_not_there_are_sent(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_keys, "_SETTLED", -3600.0)  # so that files that were hashed are known again
    local = prepare(table)
    expected = bytes_of(local)
    emptied(local)
    executor = Elsewhere()
    monkeypatch.setattr(module, "_executor", lambda *_: executor)
    monkeypatch.chdir(table.parent)  # a table whose paths start from the working directory
    cells = prepare(Path(table.name))
    assert counts(cells) == EXPECTED
    assert bytes_of(cells) == expected
    assert [cell.as_dict() for cell in cells.unreadable] == [cell.as_dict() for cell in local.unreadable]
    executor.positions.clear()
    again = prepare(table)
    assert sum(new for new, *_ in counts(again).values()) == 0
    assert len(executor.positions) == 5, "what can't be read is tried again"
    (photos, *_) = again.columns
    damaged = bytearray(expected["photos"])
    damaged[len(damaged) // 2] ^= 1
    (photos.folder / "cells.bin").write_bytes(damaged)
    assert counts(prepare(table))["photos"][:2] == (1, 20)


@pytest.mark.parametrize("is_stored", [False, True])
def test_what_a_cell_of_a_remote_folder_holds_is_told_where_it_is_fetched(
    table: Path, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    if is_stored:
        prepare(table)
    executor = Elsewhere()
    monkeypatch.setattr(module, "_executor", lambda *_: executor)
    cells = prepare(table, "data.allow_urls=true")
    assert len(executor.positions) == 3 * (_NUM_ROWS - 1)
    sent = {name: (new, stored) for name, (new, stored, *_) in counts(cells).items()}
    whole = {name: new + stored for name, (new, stored, *_) in EXPECTED.items()}
    assert sent == ({name: (0, all_of) for name, all_of in whole.items()} if is_stored else
                    {name: (EXPECTED[name][0], EXPECTED[name][1]) for name in whole})  # fmt: skip


def test_a_table_without_the_column_keeps_the_places_of_its_rows() -> None:
    sent = cell_reading._cells_alone(polysense.read_table({"label": [1, 2], "note": ["a", "b"]}), "photo")
    assert (len(sent), sent.has("photo"), sent.root.is_absolute()) == (2, False, True)


def test_files_that_only_this_machine_has_are_not_called_damaged(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(source: cell_reading.CellReader) -> None:
        source.tables = [dataclasses.replace(each, root=each.root / "elsewhere") for each in source.tables]

    monkeypatch.setattr(module, "_executor", lambda *_: Elsewhere(lose))
    with pytest.raises(ConfigError, match=r"of the cluster can't read what this one can .*no such file.* file system"):
        prepare(table)
    monkeypatch.setattr(cell_reading, "_MOST_CONTRADICTED", 99)
    assert counts(prepare(table))["speech"] == EXPECTED["speech"], "a few are decoded here"


def test_a_machine_that_decodes_otherwise_is_refused(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(source: cell_reading.CellReader) -> None:
        source.fingerprint = bytes(16)

    monkeypatch.setattr(module, "_executor", lambda *_: Elsewhere(differ))
    with pytest.raises(ConfigError, match="decodes it otherwise than this one; install the same versions"):
        prepare(table)


def test_where_cells_are_decoded_is_checked_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="found 'dask', expected local or ray"):
        polysense.prepare("none.csv", on="dask")
    with pytest.raises(ConfigError, match="expected on=ray"):
        polysense.prepare("none.csv", ray_address="head:6379")
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"needs ray and pandas, not installed: pip .*\[cluster\]"):
        polysense.prepare("none.csv", on="ray")


@pytest.mark.timeout(600)
def test_a_killed_call_goes_on_where_it_was_to_the_same_cells(table: Path, tmp_path: Path) -> None:
    program = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from polysense.modalities.image.column import ImageProcessor
from polysense.workflows import cell_preparation
import polysense
whole = ImageProcessor._item
def slow(*arguments):
    time.sleep(0.1)
    return whole(*arguments)
ImageProcessor._item = slow
cell_preparation._SECONDS = 0.0
polysense.prepare({str(table)!r}, target="label", columns={_KINDS!r}, overrides={_OVERRIDES!r},
    num_workers=int(sys.argv[1]), progress=False)
"""
    cache = tmp_path / "cache" / "prepared"
    for num_workers in (0, 2):
        process = subprocess.Popen([sys.executable, "-c", program, str(num_workers)], start_new_session=True)
        deadline = time.monotonic() + 200
        before = sum(path.stat().st_size for path in cache.rglob("index.bin"))
        while time.monotonic() < deadline and process.poll() is None:
            if sum(path.stat().st_size for path in cache.rglob("index.bin")) > before + 36:
                break
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    resumed = prepare(table)
    assert counts(resumed)["photos"][1] > EXPECTED["photos"][1]
    new, stored, *_ = counts(resumed)["photos"]
    assert new + stored == sum(EXPECTED["photos"][:2])
    assert same_samples(table)
