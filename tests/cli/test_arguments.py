from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.cli.arguments import VECTORS, exports_of, join_overrides, joined, names, writable
from polysense.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "found"),
    [("a", ["a"]), (" a , b,", ["a", "b"]), ('"a,b", c', ["a,b", "c"]), ('"say ""hi""",x', ['say "hi"', "x"])],
)
def test_names(text: str, found: list[str]) -> None:
    assert names(text, "--columns") == found


@given(st.lists(st.text(st.characters(blacklist_categories=["C", "Z"]), min_size=1), min_size=1))
def test_whatever_a_name_holds_it_can_be_said(requested: list[str]) -> None:
    text = ",".join('"' + name.replace('"', '""') + '"' for name in requested)
    assert names(text, "--columns") == requested


def test_nothing_is_not_given_and_no_name_is_wrong() -> None:
    assert names(None, "--columns") is None
    for text in ("", " , ", '""'):
        with pytest.raises(ConfigError, match=r"--classes: found .*, expected names"):
            names(text, "--classes")


def test_what_cannot_be_written_is_told_first(tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    table.touch()
    with pytest.raises(ConfigError, match=r"can't write \.txt; use \.parquet or \.npz"):
        writable(tmp_path / "v.txt", table, "the vectors", VECTORS)
    with pytest.raises(ConfigError, match=r"the vectors would overwrite the table .* another file with -o$"):
        writable(tmp_path / "." / "t.parquet", table, "the vectors", VECTORS)
    with pytest.raises(ConfigError, match=r"or say --force$"):
        writable(table, table, "the imputed table", force=False)
    writable(table, table, "the imputed table", force=True)
    writable(tmp_path / "new" / "v.npz", table, "the vectors", VECTORS)
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        writable(tmp_path / "file" / "v.npz", table, "the vectors", VECTORS)


def test_exports_are_named_by_their_path() -> None:
    given_ = ["coco=a=b.json", "{type: coco, annotations: x=y.json}=r.json", "drawn_boxes = d"]
    assert exports_of(given_) == {
        "a=b.json": "coco", "r.json": "{type: coco, annotations: x=y.json}", "d": "drawn_boxes",
    }  # fmt: skip
    assert exports_of(None) == {}
    for options in (["coco"], ["=r.json"], ["coco="], ["coco=r", "drawn_boxes=r"], ["{type: coco=r.json"]):
        with pytest.raises(ConfigError, match="--export"):
            exports_of(options)


def test_tables_to_join_are_named_by_their_file_or_by_the_user(tmp_path: Path) -> None:
    table, odd = tmp_path / "my items.v2.csv", tmp_path / "a=b.csv"
    for path in (table, odd):
        path.write_text("a\n1\n", encoding="utf-8")
    tables = joined(table, [str(table), str(odd), f"people={odd}"])
    assert {name: side.name for name, side in tables.sides.items()} == {
        "my_items": "my items.v2.csv", "a_b": "a=b.csv", "people": "a=b.csv",
    }  # fmt: skip
    assert joined(Path("orders.csv"), None) == Path("orders.csv")
    assert join_overrides([f"x={table}"]) == [f'data.tables[x].table="{table}"']
    for wrong in (["=users.csv"], ["users="], [""]):
        with pytest.raises(ConfigError, match="expected TABLE or NAME=TABLE"):
            joined(Path("orders.csv"), wrong)
    with pytest.raises(ConfigError, match="--join names two tables 'a'"):
        joined(Path("orders.csv"), ["a=b.csv", "a=c.csv"])
