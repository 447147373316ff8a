"""Images are imputed as files, sounds are refused by name, and hashed categories are read without being restored."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from model_helpers import row_arrays
from PIL import Image
from small_runs import SMALL as SMALL_RUN

import polysense
from polysense.bundle import Bundle
from polysense.cli.app import main
from polysense.data.tables.sources import read_table
from polysense.errors import ColumnError, ConfigError
from polysense.workflows.imputation.impute import why_not_imputed
from polysense.workflows.imputation.plan import plan_imputer
from polysense.workflows.prepare import prepare
from polysense.workflows.representation.features import choose_features, features, random_model

SMALL = [*SMALL_RUN, "training.epochs=2"]
KINDS = {"kind": "category", "sound": "audio", "photo": "image", "code": "category", "label": "ignored"}
RATE = 4000


def wav(index: int, channels: int = 1) -> bytes:
    """A low or a high tone, a fifth of a second or a bit more, in as many channels."""
    time = np.arange(RATE // 5 + 40 * (index % 3)) / RATE
    tone = (0.1 * np.sin(2 * np.pi * (1200 if index % 2 else 300) * time) * 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone] * channels, axis=1), RATE, format="WAV")
    return file.getvalue()


def rows(number: int = 24, lost: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for index in range(number):
        image = io.BytesIO()
        Image.fromarray(np.full((8, 8), 60 + 120 * (index % 2), dtype=np.uint8)).save(image, "PNG")
        gone = index in lost
        found.append(
            {
                "kind": "high" if index % 2 else "low",
                "sound": None if gone else wav(index, 2 if index % 5 == 0 else 1),
                "photo": None if gone else image.getvalue(),
                "code": None if gone else f"c{index}",
                "label": "yes" if index % 2 else "no",
            }
        )
    return found


def fit(source: Any, folder: Path, *overrides: str, **options: Any) -> polysense.Run:
    options = {"task": "reconstruction", "columns": KINDS} | options
    options = {key: value for key, value in options.items() if value is not None}
    return polysense.fit(
        source, preset="fast", output=folder, overrides=[*SMALL, *overrides], progress=False, **options
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Restores a category, sounds and pictures; reads hashed codes."""
    folder = tmp_path_factory.mktemp("model")
    return polysense.load(fit(rows(), folder / "run", "data.columns.code.hash_buckets=64").folder)


def test_an_image_becomes_a_file_that_the_column_reads_and_a_sound_is_refused_by_name(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    cells = []
    for index, row in enumerate(rows(6)):
        if index % 2:
            (tmp_path / "in" / f"{index}.png").write_bytes(row["photo"])
        name = f"in/{index}.png" if index % 2 else ""
        cells.append({"kind": "high" if index < 4 else "low", "sound": "", "photo": name})
    pl.DataFrame(cells).write_csv(tmp_path / "t.csv")
    assert bundle.folder is not None
    assert main(["impute", str(bundle.folder), str(tmp_path / "t.csv"), "-o", str(tmp_path / "filled.csv")]) == 0
    text = capsys.readouterr().out
    assert "photo: 3 of 3 missing cells imputed" in text
    assert (
        "sound: not imputed: audio is reconstructed as a spectrogram, which is not converted back into a waveform"
        in text
    )
    with (tmp_path / "filled.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [row["photo"] for row in found][1::2] == [row["photo"] for row in cells][1::2]
    assert sorted(path.name for path in (tmp_path / "filled_media").iterdir()) == [
        Path(found[index]["photo"]).name for index in (0, 2, 4)
    ]
    # It reads as any other cell does, and is filled once.
    dataset = bundle.dataset(tmp_path / "filled.csv")
    for index in range(len(dataset)):
        assert not dataset[index].unreadable
        assert "photo" in dataset[index].values
    again = polysense.impute(bundle, tmp_path / "filled.csv", media=tmp_path / "m")
    assert again.missing["photo"] == 0
    with pytest.raises(ConfigError, match="'sound': can't be imputed: audio is reconstructed as a spectrogram"):
        polysense.impute(bundle, tmp_path / "t.csv", columns=["sound"])


def test_each_row_is_filled_from_itself_and_bytes_stay_bytes(bundle: Bundle) -> None:
    source = rows(6, lost=(1, 4))
    whole = polysense.impute(bundle, source).frame
    assert whole["imputed"].to_list() == [[], ["photo"], [], [], ["photo"], []]
    alone = polysense.impute(bundle, pl.DataFrame(source)[4:5]).frame
    assert alone["photo"][0] == whole["photo"][4]
    assert isinstance(whole["photo"][4], bytes)


def test_cells_that_are_no_files_are_refused_by_name(bundle: Bundle) -> None:
    found = polysense.impute(
        bundle, pl.DataFrame([{"kind": "low", "photo": {"width": 3}}, {"kind": "low", "photo": None}])
    )
    assert "made of width" in found.refused["photo"]
    assert not found.counts.get("photo")
    assert "no folder for images" in polysense.impute(bundle, [{"kind": "low", "photo": ""}]).refused["photo"]


def test_an_image_is_no_video(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a column whose images and sound are two inputs, no cell can be made of either."""
    assert why_not_imputed(bundle, "photo") is None
    monkeypatch.setitem(
        bundle.processor.columns, "heard", bundle.processor.columns["sound"].taken_over("heard", "photo")
    )
    assert "read as audio too" in str(why_not_imputed(bundle, "photo"))
    found = polysense.impute(bundle, rows(3, lost=(1,)))
    assert "audio too" in found.refused["photo"]
    assert not found.counts


def test_hashed_categories_are_read_and_not_restored(bundle: Bundle) -> None:
    """The model was trained on a table with such a column, and says why its cells are left."""
    assert bundle.schema.target("reconstruction").members == ("kind", "sound", "photo")
    assert "code" in bundle.schema.names
    found = polysense.impute(bundle, rows(6, lost=(1, 4)))
    assert "hashed" in found.refused["code"]
    assert "code: not imputed: its categories are hashed" in found.text()
    with pytest.raises(ConfigError, match="'code' is none of those that the model reconstructs"):
        polysense.impute(bundle, rows(6, lost=(1,)), columns=["code"])


def test_hashed_by_the_encoder_likewise_and_never_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = [{"code": f"c{index}", "x": float(index % 5)} for index in range(20)]
    options: dict[str, Any] = {"columns": {"code": "category", "x": "number"}}
    hashing = "model.encoders.code={type: hashed_category, hash_buckets: 32}"
    with caplog.at_level(logging.WARNING):
        run = fit(source, tmp_path / "run", hashing, **options)
    assert "read and not reconstructed: code: its categories are hashed" in caplog.text
    assert run.bundle.schema.target("reconstruction").members == ("x",)
    with pytest.raises(ColumnError, match=r"code.*hashed"):
        fit(source, tmp_path / "none", hashing, target="code", **options)


def test_images_are_filled_in_training_if_asked_for_and_sounds_never(bundle: Bundle, tmp_path: Path) -> None:
    source = rows(24, lost=tuple(range(0, 24, 3)))
    named = [f"data.impute={bundle.folder}", "data.impute_media=true", "model.fusion=concat"]
    kinds = KINDS | {"code": "ignored"}
    kinds.pop("label")
    run = fit(source, tmp_path / "run", *named, task=None, target="label", columns=kinds)
    report = run.bundle.info["impute"]
    assert list(report["imputations"]) == ["kind", "photo"]
    assert (
        report["left_alone"]["sound"]
        == "audio is reconstructed as a spectrogram, which is not converted back into a waveform"
    )
    loaded = polysense.load(run.folder)
    dataset = loaded.dataset(rows(6, lost=(1, 4)))
    for index in range(6):
        sample = dataset[index]
        assert not sample.unreadable
        assert "photo" in sample.values
    assert loaded.predict(rows(6, lost=(1, 4))).frame["imputed"].to_list()[1] == "photo"
    # Without being asked it looks at them, and says how to ask.
    recipe = prepare(source, preset="fast", overrides=[*SMALL, named[0]], target="label", columns=kinds).recipe
    left = plan_imputer(recipe, {"train": read_table(source)})
    assert left is not None
    assert "data.impute_media" in left.report["left_alone"]["photo"]
    assert list(left.report["imputations"]) == ["kind"]


def test_features_of_such_a_model_are_its_code(bundle: Bundle) -> None:
    requested = choose_features(bundle)
    assert requested.kind == "code"
    assert choose_features(bundle, "fused").kind == "fused"
    assert choose_features(bundle, "tokens").kind == "tokens"
    table = read_table(rows(6, lost=(2,)))
    (own, other), unreadable = features([bundle.model.eval(), random_model(bundle, 0)], bundle, table, requested)
    assert not unreadable
    assert np.array_equal(own, row_arrays(bundle, table, "reconstruction")["values"])
    assert own.shape == other.shape == (6, 64)
    assert not np.allclose(own, other)
    part = choose_features(bundle, columns=["sound"])
    ((alone,), _) = features([bundle.model], bundle, table, part)
    assert np.isnan(alone[2]).all()  # it has no sound
    assert not np.isnan(alone[[0, 1, 3, 4, 5]]).any()
    few = polysense.fewshot(bundle, rows(24), target="label", shots=[2], draws=2, methods=["prototypes"], test=rows(12))
    assert "the code of the reconstruction" in few.measured.features
    # A column that is restored may be the label, as long as it isn't read.
    few = polysense.fewshot(
        bundle, rows(24), target="kind", columns=["sound", "photo"], methods=["knn"], shots=[2], draws=2, test=rows(12)
    )
    assert few.measured.classes == ("high", "low")
