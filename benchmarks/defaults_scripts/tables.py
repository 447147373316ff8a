"""Tables that one command and the scripts are judged on: their columns, their target and their metric.

Every table is written anew as `train.csv` (with a column `split`) and `test.csv`, media by absolute paths, so that both
sides read the same cells of the same rows. Columns that give the label away, as a data set's README says, are left
out. `group` names whose rows resemble one another: the scripts cross-validate by it and the intervals resample it. The
command sees the group only where it names persons, as a user's table would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["TABLES", "JudgedTable", "write_table"]

SPLIT, GROUP = "split", "group"
TRAINING, TEST = ("train", "val"), "test"


@dataclass(frozen=True, kw_only=True)
class JudgedTable:
    """One table.

    Attributes:
        name: What the results call it.
        kinds: Per input column text, image, audio, series, number, category or date.
        target: The column that is predicted.
        metric: accuracy, auroc, f1_weighted or r2.
        load: Makes the frame: the inputs, the target, `split` or none, and `group` where there is one.
        persons: The name under which the command sees the groups; None: it does not.
        package: What has to be installed; "" for a data set of the folder.
    """

    name: str
    kinds: Mapping[str, str]
    target: str
    metric: str
    load: Callable[[Path, Path], pl.DataFrame] = field(repr=False)
    persons: str | None = None
    package: str = ""

    @property
    def is_regression(self) -> bool:
        """Whether a number is predicted."""
        return self.metric == "r2"


def write_table(table: JudgedTable, data: Path, folder: Path, rows: int | None, test_rows: int | None) -> dict:
    """Writes train.csv, test.csv, scripts.csv (with the groups) and table.json; returns what table.json says.

    Args:
        table: Which one.
        data: The folder of data sets.
        folder: Where to write.
        rows: Most training rows; a fixed sample, in the table's order. None takes all.
        test_rows: Most test rows, likewise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frame = table.load(data, folder).drop_nulls(table.target)
    if SPLIT not in frame.columns:
        frame = frame.with_columns(pl.Series(SPLIT, _drawn_split(frame[table.target], table.is_regression)))
    if GROUP not in frame.columns:
        frame = frame.with_columns(pl.Series(GROUP, [f"row {i}" for i in range(len(frame))]))
    frame = frame.filter(pl.col(SPLIT).is_in([*TRAINING, TEST]))
    training = _sample(frame.filter(pl.col(SPLIT) != TEST), rows)
    test = _sample(frame.filter(pl.col(SPLIT) == TEST), test_rows)
    if not table.is_regression:  # a class without a training row can't be predicted by anybody
        test = test.filter(pl.col(table.target).is_in(training[table.target].unique().to_list()))
    inputs = [*table.kinds, table.target]
    shown = [*inputs, SPLIT]
    command = pl.concat([training, test])
    if table.persons is not None:
        command, shown = command.with_columns(pl.col(GROUP).alias(table.persons)), [table.persons, *shown]
    command.select(shown).write_csv(folder / "train.csv")
    command.filter(pl.col(SPLIT) == TEST).select([name for name in shown if name != SPLIT]).write_csv(
        folder / "test.csv"
    )
    pl.concat([training, test]).select(*inputs, GROUP, SPLIT).write_csv(folder / "scripts.csv")
    facts = {key: value for key, value in asdict(table).items() if key != "load"}
    facts |= {"rows": len(training), "test_rows": len(test), "is_regression": table.is_regression}
    facts["available"] = len(frame.filter(pl.col(SPLIT) != TEST))
    (folder / "table.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return facts


def _sample(frame: pl.DataFrame, rows: int | None) -> pl.DataFrame:
    if rows is None or len(frame) <= rows:
        return frame
    return frame[np.sort(np.random.default_rng(0).permutation(len(frame))[:rows])]


def _drawn_split(target: pl.Series, is_regression: bool) -> list[str]:
    """70% for training and 30% for the test; each class its share."""
    draws = np.random.default_rng(0).random(len(target))
    names = np.full(len(target), TRAINING[0], dtype=object)
    groups = np.zeros(len(target)) if is_regression else target.cast(str).to_numpy()
    for value in np.unique(groups):
        members = np.flatnonzero(groups == value)
        names[members[np.argsort(draws[members])[: round(0.3 * len(members))]]] = TEST
    return names.tolist()


def _csv(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "data.csv", infer_schema_length=None)


def _lines(folder: Path) -> pl.DataFrame:
    return pl.read_ndjson(folder / "data.jsonl", infer_schema_length=None)


def _absolute(frame: pl.DataFrame, folder: Path, *columns: str) -> pl.DataFrame:
    prefix = f"{folder.resolve()}/"
    return frame.with_columns((pl.lit(prefix) + pl.col(name)).alias(name) for name in columns)


def _avdigits(data: Path, folder: Path) -> pl.DataFrame:
    frame = _absolute(_csv(data / "avdigits"), data / "avdigits", "image_deg", "audio")
    return frame.with_columns(pl.col("speaker").alias(GROUP))


def _covid_cxr(data: Path, folder: Path) -> pl.DataFrame:
    frame = _absolute(_csv(data / "covid_cxr"), data / "covid_cxr", "image")
    return frame.with_columns(pl.col("patient").cast(str).alias(GROUP))


def _grocery(data: Path, folder: Path) -> pl.DataFrame:
    return _absolute(_csv(data / "grocery").drop("group"), data / "grocery", "image")


def _esc10(data: Path, folder: Path) -> pl.DataFrame:
    frame = _absolute(_csv(data / "esc10"), data / "esc10", "audio")
    return frame.with_columns(pl.col("clip_id").cast(str).alias(GROUP))


def _meld(data: Path, folder: Path) -> pl.DataFrame:
    return _lines(data / "meld").with_columns(pl.col("dialogue_id").alias(GROUP))


def _emoji(data: Path, folder: Path) -> pl.DataFrame:
    frame = _absolute(_lines(data / "emoji").drop("keywords"), data / "emoji", "image")
    return frame.rename({"group": "class"}).with_columns(pl.col("family").alias(GROUP))


def _mosi(data: Path, folder: Path) -> pl.DataFrame:
    return _lines(data / "mosi").with_columns(pl.col("video_id").alias(GROUP))


def _imu_digits(data: Path, folder: Path) -> pl.DataFrame:
    """Without the accelerometer: each digit was drawn in one sitting, and the posture gives it away."""
    frame = _csv(data / "imu_digits")
    for name in frame["series"]:
        series, path = pl.read_csv(data / "imu_digits" / name), folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        series.select(column for column in series.columns if not column.startswith("acc_")).write_csv(path)
    return _absolute(frame, folder, "series")


def _easy_vqa(data: Path, folder: Path) -> pl.DataFrame:
    frame = _absolute(_lines(data / "easy_vqa"), data / "easy_vqa", "image")
    return frame.with_columns(pl.col("image").alias(GROUP))


def _sklearn(name: str) -> Callable[[Path, Path], pl.DataFrame]:
    def load(data: Path, folder: Path) -> pl.DataFrame:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{name}")()
        columns = {_plain(column): bunch.data[:, i] for i, column in enumerate(bunch.feature_names)}
        named = "target_names" in bunch
        target = [bunch.target_names[i] for i in bunch.target] if named else bunch.target
        return pl.DataFrame({**columns, "target": target})

    return load


def _plain(name: str) -> str:
    return name.split(" (")[0].replace(" ", "_").replace("/", "_")


def _digits(data: Path, folder: Path) -> pl.DataFrame:
    """Digits of 8 x 8 pixels, as pictures."""
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    (folder / "images").mkdir(exist_ok=True)
    paths = []
    for i, pixels in enumerate(bunch.images):
        path = folder.resolve() / "images" / f"{i:04d}.png"
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(path)
        paths.append(str(path))
    return pl.DataFrame({"image": paths, "digit": bunch.target})


def _vega(name: str) -> pl.DataFrame:
    import vega_datasets

    return pl.from_pandas(getattr(vega_datasets.local_data, name)())


def _cars(data: Path, folder: Path) -> pl.DataFrame:
    return _vega("cars").with_columns(pl.col("Year").dt.strftime("%Y-%m-%d"))


def _weather(data: Path, folder: Path) -> pl.DataFrame:
    return _vega("seattle_weather").with_columns(pl.col("date").dt.strftime("%Y-%m-%d"))


def _airports(data: Path, folder: Path) -> pl.DataFrame:
    return _vega("airports").with_columns(pl.col("city").fill_null("")).drop("country")


def _penguins(data: Path, folder: Path) -> pl.DataFrame:
    import palmerpenguins

    return pl.from_pandas(palmerpenguins.load_penguins())


_CELLS = (
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave_points", "symmetry",
    "fractal_dimension",
)  # fmt: skip
_CANCER = [form.format(name) for form in ("mean_{}", "worst_{}", "{}_error") for name in _CELLS]
_WINE = (
    "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
    "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280_od315_of_diluted_wines", "proline",
)  # fmt: skip
_LABORATORY = (
    "age", "offset_days", "temperature", "pO2_saturation", "leukocyte_count", "neutrophil_count", "lymphocyte_count",
)  # fmt: skip


def _numbers(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "number")


TABLES = tuple(
    JudgedTable(name=name, load=load, target=target, metric=metric, kinds=kinds, **options)
    for name, load, target, metric, kinds, options in (
        (
            "covid_cxr", _covid_cxr, "label_covid", "auroc",
            {"image": "image", "notes_masked": "text", "sex": "category", **_numbers(*_LABORATORY)},
            {"persons": "patient"},
        ),
        ("covid_cxr_notes", _covid_cxr, "label_covid", "auroc", {"notes_masked": "text"}, {"persons": "patient"}),
        ("esc10", _esc10, "label", "accuracy", {"audio": "audio"}, {}),
        ("imu_digits", _imu_digits, "label", "accuracy", {"series": "series"}, {}),
        ("mosi", _mosi, "label", "accuracy", {"text": "text"}, {}),
        ("emoji", _emoji, "class", "accuracy", {"image": "image", "name": "text"}, {}),
        ("grocery", _grocery, "label", "accuracy", {"image": "image"}, {}),
        (
            "avdigits", _avdigits, "label", "accuracy", {"image_deg": "image", "audio": "audio"},
            {"persons": "speaker"},
        ),
        ("avdigits_audio", _avdigits, "label", "accuracy", {"audio": "audio"}, {"persons": "speaker"}),
        ("meld", _meld, "emotion", "f1_weighted", {"text": "text"}, {}),
        ("easy_vqa", _easy_vqa, "answer", "accuracy", {"image": "image", "question": "text"}, {}),
        ("breast_cancer", _sklearn("breast_cancer"), "target", "auroc", _numbers(*_CANCER), {"package": "sklearn"}),
        ("wine", _sklearn("wine"), "target", "accuracy", _numbers(*_WINE), {"package": "sklearn"}),
        (
            "diabetes", _sklearn("diabetes"), "target", "r2",
            _numbers("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"), {"package": "sklearn"},
        ),
        ("digits", _digits, "digit", "accuracy", {"image": "image"}, {"package": "sklearn"}),
        (
            "cars", _cars, "Miles_per_Gallon", "r2",
            {
                "Name": "text", "Origin": "category", "Year": "date",
                **_numbers("Cylinders", "Displacement", "Horsepower", "Weight_in_lbs", "Acceleration"),
            },
            {"package": "vega_datasets"},
        ),
        (
            "seattle_weather", _weather, "weather", "accuracy",
            {"date": "date", **_numbers("precipitation", "temp_max", "temp_min", "wind")},
            {"package": "vega_datasets"},
        ),
        (
            "airports", _airports, "latitude", "r2", {"name": "text", "city": "text", "state": "category"},
            {"package": "vega_datasets"},
        ),
        (
            "penguins", _penguins, "sex", "auroc",
            {
                "species": "category", "island": "category",
                **_numbers("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"),
            },
            {"package": "palmerpenguins"},
        ),
    )
)  # fmt: skip
"""Of the folder of data sets first, then of packages."""
