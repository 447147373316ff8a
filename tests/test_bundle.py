"""A bundle is whole or refused by name, and goes to the device that is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
import torch
from bundle_files import manifest_of, rewrite_manifest
from safetensors import SafetensorError

import polysense
from polysense.bundle import FORMAT, Bundle, as_bundle, load
from polysense.core import tensor_file
from polysense.core.checksum import with_own_checksum
from polysense.data.tables.predictions import Predictions
from polysense.data.tables.sources import read_table
from polysense.data.values.cells import MEDIA
from polysense.errors import BundleError, ConfigError

ROWS = [{"note": f"this looks like a {word} thing to me", "shop": "north"} for word in ("red", "green", "blue")]


@pytest.fixture
def folder(trained: Callable[[str], polysense.Run], tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained("several").folder / "bundle", tmp_path / "bundle"))


@pytest.mark.parametrize(("number", "advice"), [(FORMAT - 1, "train again"), (FORMAT + 1, "upgrade polysense")])
def test_other_formats_are_refused_by_name(folder: Path, number: int, advice: str) -> None:
    rewrite_manifest(folder, manifest_of(folder) | {"format": number, "polysense": "9.9"})
    with pytest.raises(BundleError, match=f"written by polysense 9.9 in format {number}.*format {FORMAT}: {advice}"):
        load(folder)


def test_a_save_that_fails_leaves_the_older_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def full(*arguments: Any, **options: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(tensor_file, "save_file", full)
        with pytest.raises(OSError, match="No space left") as caught:
            bundle.save(folder)
    assert caught.value.errno == 28
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    bundle.save(folder)
    assert load(folder).predict(ROWS).frame.equals(bundle.predict(ROWS).frame)
    assert not [path for path in folder.parent.rglob("*") if path.name.endswith(".part")]


def test_what_is_no_bundles_stays_in_its_folder(folder: Path, tmp_path: Path) -> None:
    bundle = load(folder)
    mine = tmp_path / "mine"
    (mine / "data").mkdir(parents=True)
    (mine / "data" / "table.csv").write_text("a")
    for _ in range(2):
        bundle.save(mine)
        assert load(mine).predict(ROWS).frame.equals(bundle.predict(ROWS).frame)
        assert (mine / "data" / "table.csv").read_text() == "a"
        assert {path.name for path in mine.iterdir()} == {"data", *(path.name for path in folder.iterdir())}


def test_a_flipped_bit_in_any_file_is_refused_by_its_name(folder: Path) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    checked = [path for path in files if path.name not in ("bundle.json", "README.md")]
    assert {"weights.safetensors", "processor.json"} <= {path.name for path in checked}
    for path in checked:
        content = path.read_bytes()
        for position in (len(content) - 1, len(content) // 2):
            path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
            with pytest.raises(
                BundleError, match=f"damaged: {path.relative_to(folder)} is not the file that was saved"
            ):
                load(folder)
        path.write_bytes(content[:-1])
        with pytest.raises(BundleError, match=f"damaged: {path.relative_to(folder)} is not the file"):
            load(folder)
        path.unlink()
        with pytest.raises(BundleError, match=f"damaged: {path.relative_to(folder)} can't be read"):
            load(folder)
        path.write_bytes(content)
    load(folder)


def test_a_changed_value_in_the_manifest_is_refused_whatever_its_type(folder: Path) -> None:
    path = folder / "bundle.json"
    content = path.read_bytes()
    own = manifest_of(folder)["own_sha256"].encode()
    # A letter of a name, a digit of a setting, of the format and of the checksum itself: all are of their types still.
    for old, new in (
        (b'"note"', b'"nota"'),
        (b'"epochs": ', b'"epochs": 1'),
        (f'"format": {FORMAT}'.encode(), f'"format": {FORMAT - 1}'.encode()),
        (own, bytes([own[0] ^ 1]) + own[1:]),
    ):
        assert old in content
        path.write_bytes(content.replace(old, new, 1))
        with pytest.raises(BundleError, match=r"bundle\.json: is not the file that was saved"):
            load(folder)
    path.write_bytes(content.replace(b"\n", b"\r\n"))  # which says the same
    load(folder)


def test_the_weights_of_another_model_of_the_same_shapes_are_refused(folder: Path) -> None:
    bundle = load(folder)
    with torch.no_grad():
        for parameter in bundle.model.parameters():
            parameter.add_(0.1)
    bundle.save(folder.with_name("other"))
    shutil.copyfile(folder.with_name("other") / "weights.safetensors", folder / "weights.safetensors")
    with pytest.raises(BundleError, match=r"weights\.safetensors is not the file that was saved"):
        load(folder)


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", ""])
def test_a_checksum_of_a_file_elsewhere_is_refused(folder: Path, name: str) -> None:
    plain = manifest_of(folder)
    rewrite_manifest(folder, plain | {"sha256": plain["sha256"] | {name: "0"}})
    with pytest.raises(BundleError, match="which is no path within the folder"):
        load(folder)
    plain["sha256"].pop("weights.safetensors")
    rewrite_manifest(folder, plain)
    with pytest.raises(BundleError, match=r"weights\.safetensors has no checksum"):
        load(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("", "can't be read: Expecting value"),
        ("{", "can't be read: Expecting property name"),
        ("[" * 100_000, "can't be read: it is nested too deeply"),
        ("[]", "found a JSON list, expected a dict"),
        ('{"format": "3"}', "found the format '3', expected a number"),
        (f'{{"format": {FORMAT}}}', "holds no checksum of its own"),
        (json.dumps(with_own_checksum({"format": FORMAT})), "polysense: found nothing, expected a text"),
    ],
)
def test_a_broken_file_is_named(folder: Path, damage: str, message: str) -> None:
    (folder / "bundle.json").write_text(damage)
    with pytest.raises(BundleError, match=rf"bundle\.json: .*{message}"):
        load(folder)


def test_a_bundle_goes_to_the_device_that_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert load(folder).device.type == expected
    assert load(folder, device="cpu").device == torch.device("cpu")
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        with pytest.raises(ConfigError, match="device is cuda"):
            load(folder, device="cuda")
    own = load(folder, device="cpu")
    assert as_bundle(own) is own  # it stays where it is
    assert isinstance(as_bundle(folder), Bundle)


def test_files_are_written_beside_the_predictions_and_read_as_paths(tmp_path: Path) -> None:
    cells = [{"bytes": b"one", "path": "0.png"}, None, {"bytes": b"three", "path": "2.png"}]
    frame = polars.DataFrame({"a/b": polars.Series(cells, dtype=MEDIA), "n": [1, 2, 3]})
    predictions = Predictions(frame)
    assert predictions.with_files()["a/b"].to_list() == ["b25l", None, "dGhyZWU="]
    for ending in (".csv", ".jsonl", ".parquet"):
        path = tmp_path / f"out{ending}"
        (tmp_path / f"out{ending}.files" / "0_a_b").mkdir(parents=True)
        (tmp_path / f"out{ending}.files" / "0_a_b" / "9.png").touch()  # of an earlier table
        predictions.write(path)
        table = read_table(path)
        paths = table.cells("a/b")
        assert [path and (table.root / str(path)).read_bytes() for path in paths] == [b"one", None, b"three"]
        assert {file.name for file in (tmp_path / f"out{ending}.files").rglob("*.png")} == {"0.png", "2.png"}
