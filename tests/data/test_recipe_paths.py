"""A recipe's paths are absolute in memory and relative in files."""

from __future__ import annotations

from pathlib import Path

from polysense.data.recipe_paths import absolute_paths, path_from, relative_paths


def test_paths_come_back_from_a_file_and_the_values_given_stay_as_they_were(tmp_path: Path) -> None:
    plain = {
        "data": {"table": str(tmp_path / "t.csv"), "test": "s3://b/t", "impute": None, "split": {"table": "x"}},
        "init_from": {"bundle": str(tmp_path / "runs" / "old")},
    }
    written = relative_paths(plain, tmp_path / "runs" / "new")
    assert written == {
        "data": {"table": "../../t.csv", "test": "s3://b/t", "impute": None, "split": {"table": "x"}},
        "init_from": {"bundle": "../old"},
    }
    assert absolute_paths(written, tmp_path / "runs" / "new") == plain
    assert plain["data"]["table"] == str(tmp_path / "t.csv")


def test_only_the_named_keys_are_changed(tmp_path: Path) -> None:
    plain = {"data": {"table": "t.csv", "test": "u.csv"}, "init_from": "old"}
    assert absolute_paths(plain, tmp_path, {"test"}) == {
        "data": {"table": "t.csv", "test": str(tmp_path / "u.csv")},
        "init_from": "old",
    }
    assert absolute_paths(plain, tmp_path, {"init_from"})["init_from"] == {"bundle": str(tmp_path / "old")}
    assert absolute_paths({}, tmp_path) == {}


def test_paths_lead_out_of_where_a_linked_folder_is(tmp_path: Path) -> None:
    (tmp_path / "disk" / "deep" / "run").mkdir(parents=True)
    (tmp_path / "run").symlink_to(tmp_path / "disk" / "deep" / "run")
    assert path_from(tmp_path / "run", str(tmp_path / "t.csv")) == "../../../t.csv"
    assert path_from(tmp_path / "run", "t.csv") == "t.csv"
