"""Row i depends on row i alone, to the last bit: every fusion, encoder and head, mixed columns, any batch.

No training is needed: random weights round as trained ones do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars
import pytest
import torch
from every_kind import CHOICES, LARGE, READS, TARGETS, lies_in, needs_of, settings_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from independent_rows import Cells, bits, mixed_rows, random_bundle, without_column

from polysense.bundle import Bundle, load
from polysense.config.base import members
from polysense.core.registry import tasks
from polysense.data.batches.dataset import TableDataset
from polysense.data.column import ColumnConfig
from polysense.data.tables.sources import read_table
from polysense.data.target import TargetConfig
from polysense.workflows.evaluating import evaluate_model

ROWS = 24
ENCODERS = [name for name in members("encoder") if name not in CHOICES]
SMALL_IMAGES = ("image_cnn", {"channels": 8, "stages": 2})
CHEAP: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("embedding_bag", {}), "image": SMALL_IMAGES, "images": SMALL_IMAGES, "video": SMALL_IMAGES,
    "audio": ("audio_cnn", {}), "series": ("series_cnn", {}), "number": ("number_mlp", {}),
    "category": ("category_embedding", {}), "date": ("date_mlp", {}),
}  # fmt: skip
"""The encoder of each column where the encoder is not what is tested."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(scope="module")
def rows(folder: Path) -> Cells:
    return mixed_rows(folder, ROWS)


@pytest.fixture(scope="module")
def needs(
    language_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, dict[str, Any]]:
    return needs_of(tmp_path_factory.mktemp("needs"), language_model)


def column(kind: str, **options: Any) -> Any:
    config: Any = members(ColumnConfig.family)[kind]
    return config(**options)


def cheap(names: Iterable[str]) -> Any:
    return {name: members("encoder")[CHEAP[name][0]](**CHEAP[name][1]) for name in names}


def column_of(name: str) -> Any:
    return (
        column(name[:-1]) if name in ("images", "texts") else column(name, **({"frames": 3} if name == "video" else {}))
    )


def target(kind: str, **options: Any) -> Any:
    config: Any = members(TargetConfig.family)[kind]
    return config(**options)


def head(name: str, **options: Any) -> Any:
    config: Any = members("head")[name]
    return config(**options)


def mixed(rows: Cells, folder: Path, fusion: str, names: tuple[str, ...], **options: Any) -> Bundle:
    """Several columns with a fusion."""
    return random_bundle(
        rows,
        folder,
        {name: column_of(name) for name in names},
        {"kind": target("classification"), "size": target("regression")},
        cheap(names),
        {"kind": head("classification"), "size": head("regression", hidden=16)},
        fusion=members("fusion")[fusion](**options),
    )


def assert_alone(bundle: Bundle, rows: Cells, folder: Path, columns: list[str], *, numbered: bool = False) -> None:
    """Every row is the same among others, which are reordered, removed or broken; some rows are asked for alone.

    What is drawn for a row is a function of its number in the table: where `numbered`, rows keep theirs.
    """
    reference = bits(bundle, rows, folder)

    def chosen(cells: Cells, order: list[int]) -> list[str]:
        if numbered:
            return bits(bundle, read_table(cells, root=folder).select(order), folder)
        return bits(bundle, [cells[i] for i in order], folder)

    draw = random.Random(1)
    order = draw.sample(range(len(rows)), len(rows) - 5)
    broken = set(order[::3])
    changed = [{**row, **dict.fromkeys(columns, "\x00")} if i in broken else row for i, row in enumerate(rows)]
    found = chosen(changed, order)
    for position, i in enumerate(order):
        assert i in broken or found[position] == reference[i], f"row {i} of {len(rows)} others"
    (i,) = draw.sample([i for i, row in enumerate(rows) if row[columns[0]] is not None], 1)
    assert chosen(rows, [i]) == [reference[i]], f"row {i} alone"
    there = [i for i, row in enumerate(rows) if row[columns[0]] is None]
    assert there, "some row lacks the column"
    found = bits(bundle, without_column(rows, columns[0]), folder)
    assert [found[i] for i in there] == [reference[i] for i in there], f"without {columns[0]}"


@pytest.mark.parametrize("fusion", list(members("fusion")))
def test_every_fusion(rows: Cells, folder: Path, fusion: str) -> None:
    options = {"dim": 4} if fusion == "tensor" else {}
    bundle = mixed(rows, folder, fusion, ("text", "images", "number", "category"), **options)
    assert_alone(bundle, rows, folder, ["text", "images"])


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in ENCODERS])
def test_every_encoder(rows: Cells, folder: Path, needs: Mapping[str, dict[str, Any]], name: str) -> None:
    encoder: Any = members("encoder")[name](**needs.get(name, {}))
    few = rows[:10]
    for kind in READS.get(name, sorted(encoder.reads())):
        other = "number" if kind == "date" else "date"  # for the rows that lack the column
        bundle = random_bundle(
            rows, folder, {other: column_of(other), kind: column_of(kind)}, {"size": target("regression")},
            {**cheap([other]), kind: encoder}, {"size": head("regression")},
        )  # fmt: skip
        assert_alone(bundle, few, folder, [kind])


@pytest.mark.parametrize("name", ["text_transformer", "text_cnn", "text_rnn", "bag_of_words"])
@pytest.mark.parametrize("order", ["sequence", "set"])
def test_lists_of_texts(rows: Cells, folder: Path, name: str, order: str) -> None:
    bundle = random_bundle(
        rows, folder, {"date": column_of("date"), "texts": column_of("texts")}, {"size": target("regression")},
        {**cheap(["date"]), "texts": members("encoder")[name](items=order)}, {"size": head("regression")},
    )  # fmt: skip
    assert_alone(bundle, rows, folder, ["texts"])


HEADS = [
    name
    for name, config in members("head").items()
    if config.tasks and name not in CHOICES  # type: ignore[attr-defined]
]
OVER = {name: lies_in(name)[0] for name in tasks() if lies_in(name)}


def encoders_of(name: str, columns: Iterable[str], needs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Cheap ones, but for a head that reads its own encoder."""
    own = {"audio": members("encoder")["pretrained"](path=needs[name]["path"])} if name == "pretrained_decoder" else {}
    return {**cheap(columns), **own}


@pytest.mark.parametrize("name", HEADS)
def test_every_head(rows: Cells, folder: Path, needs: Mapping[str, dict[str, Any]], name: str) -> None:
    config: Any = members("head")[name]
    (kind,) = config.tasks
    over = OVER.get(kind)
    members_of = ("text", "image") if kind in ("retrieval", "reconstruction") else ()
    options = {**settings_of(kind, over, members_of)}
    cell = TARGETS[kind] if over is None else f"{TARGETS[kind]} of {over}"
    if kind == "regression":
        options["columns"] = (cell,)
    elif "column" in {field.name for field in fields(members(TargetConfig.family)[kind])}:  # type: ignore[arg-type]
        options["column"] = cell
    written = {"column": "audio"} if name.startswith("ctc") else {}
    named = {**needs.get(name, {}), **written}
    columns = {"text": column("text"), "image": column("image"), "audio": column("audio")}
    bundle = random_bundle(
        rows, folder, columns, {"y": target(kind, **options)}, encoders_of(name, columns, needs),
        {"y": config(**named)},
        fusion=members("fusion")["transformer"](),
    )  # fmt: skip
    assert_alone(bundle, rows, folder, ["text", "audio"], numbered=kind == "image_generation")


def _texts(bundle: Bundle, rows: Cells, folder: Path) -> dict[int, tuple[object, ...]]:
    """What an evaluation knows of each row: how likely its own text is, what was generated and how likely that is."""
    dataset = bundle.dataset(rows, root=folder, with_targets=True)
    evaluation = evaluate_model(bundle.model, dataset, generate=True)
    statistics = evaluation.statistics["y"]
    known = [name for name in ("likelihood", "predicted", "score") if name in statistics]
    assert "likelihood" in known
    assert evaluation.rows.tolist() == list(range(len(rows)))
    return {i: tuple(repr(statistics[name][i]) for name in known) for i in range(len(rows))}


@pytest.mark.parametrize("name", [name for name in HEADS if "generation" in members("head")[name].tasks])
def test_how_likely_a_given_text_is_depends_on_its_row_alone(
    rows: Cells, folder: Path, needs: Mapping[str, dict[str, Any]], name: str
) -> None:
    written = {"column": "audio"} if name.startswith("ctc") else {}
    columns = {"text": column("text"), "audio": column("audio")}
    # Texts of very different lengths: a batch is padded to its longest.
    cells = [{**row, "caption": " ".join([row["caption"]] * (1 + 3 * (i % 4 == 2)))} for i, row in enumerate(rows)]
    bundle = random_bundle(
        cells, folder, columns, {"y": target("generation", column="caption")}, encoders_of(name, columns, needs),
        {"y": members("head")[name](**needs.get(name, {}), **written)}, fusion=members("fusion")["transformer"](),
    )  # fmt: skip
    reference = _texts(bundle, cells, folder)
    order = random.Random(2).sample(range(ROWS), ROWS - 7)
    result = _texts(bundle, [cells[i] for i in order], folder)
    assert [result[k] for k in range(len(order))] == [reference[i] for i in order]
    for i in order[:3]:
        assert _texts(bundle, [cells[i]], folder)[0] == reference[i]


@pytest.fixture(scope="module")
def whole(rows: Cells, folder: Path) -> tuple[Bundle, list[str]]:
    bundle = mixed(rows, folder, "transformer", tuple(CHEAP))
    return bundle, bits(bundle, rows, folder)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 31, 64])
def test_every_batch_size(whole: tuple[Bundle, list[str]], rows: Cells, folder: Path, batch_size: int) -> None:
    bundle, reference = whole
    assert bits(bundle, rows, folder, batch_size=batch_size) == reference
    parts = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    if len(parts) < ROWS:  # requests as they come to a server
        assert [row for part in parts for row in bits(bundle, part, folder)] == reference


@pytest.mark.parametrize("block_size", [1, 64])
def test_other_blocks(whole: tuple[Bundle, list[str]], rows: Cells, folder: Path, block_size: int) -> None:
    bundle = whole[0].with_blocks(block_size=block_size)
    few = rows[: ROWS if block_size > 1 else 8]
    assert_alone(bundle, few, folder, ["text", "images"])


@settings(max_examples=6, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_any_rows_among_any_others(
    data: st.DataObject, whole: tuple[Bundle, list[str]], rows: Cells, folder: Path
) -> None:
    bundle, reference = whole
    chosen = data.draw(st.lists(st.sampled_from(range(ROWS)), min_size=1, max_size=ROWS))
    broken = data.draw(st.sets(st.sampled_from(range(len(chosen)))))
    bad = {"image": "no such file", "number": "?"}
    cells = [{**rows[i], **bad} if k in broken else rows[i] for k, i in enumerate(chosen)]
    found = bits(bundle, cells, folder)
    assert all(k in broken or found[k] == reference[i] for k, i in enumerate(chosen))


def test_every_column_that_is_not_there_is_one_with_every_cell_missing(
    whole: tuple[Bundle, list[str]], rows: Cells, folder: Path
) -> None:
    bundle, reference = whole
    for name in bundle.schema.names:
        expected = bits(bundle, [{**row, name: None} for row in rows], folder)
        assert bits(bundle, without_column(rows, name), folder) == expected, name
        assert expected != reference, name


def test_every_format_of_the_table(whole: tuple[Bundle, list[str]], rows: Cells, folder: Path) -> None:
    bundle, reference = whole
    frame = polars.DataFrame(rows, infer_schema_length=None)
    frame.write_parquet(folder / "table.parquet")
    frame.write_ndjson(folder / "table.jsonl")
    for name in ("table.parquet", "table.jsonl"):
        assert bits(bundle, folder / name, folder) == reference, name


def test_evaluation_predicts_as_prediction_does(whole: tuple[Bundle, list[str]], rows: Cells, folder: Path) -> None:
    bundle, _ = whole
    evaluation = evaluate_model(bundle.model, bundle.dataset(rows, root=folder, with_targets=True))
    frame = bundle.predict(rows, root=folder).frame
    assert evaluation.statistics["size"]["predicted"][:, 0].tolist() == frame["size"].to_list()


def test_a_subset_of_the_columns_is_a_table_without_the_others(
    whole: tuple[Bundle, list[str]], rows: Cells, folder: Path
) -> None:
    bundle, _ = whole
    dataset = TableDataset(bundle.dataset(rows, root=folder).table, bundle.processor, with_targets=False)
    names = bundle.schema.names
    for batch in bundle.batches(dataset):
        for left_out in names[::3]:
            subset = [name for name in names if name != left_out]
            (masked,), (lacking,) = bundle.model.predict(batch, [subset]), bundle.model.predict(batch.only(subset))
            for each in masked:
                for array in masked[each]:
                    assert torch.equal(masked[each][array], lacking[each][array]), (left_out, each)


def test_a_saved_bundle_keeps_its_blocks(whole: tuple[Bundle, list[str]], tmp_path: Path) -> None:
    bundle = whole[0].with_blocks(block_size=96, exact=False)
    bundle.save(tmp_path / "bundle")
    assert load(tmp_path / "bundle").prediction == bundle.prediction
