from __future__ import annotations

import json
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.cli.app import main
from polysense.cli.commands.train import parse_columns
from polysense.data.media.paths import ConfinedFolder
from polysense.errors import ConfigError

FakeApi = Any


def test_train_passes_everything_on(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    line = "train t.csv training.epochs=3 --target a -t b -o out --preset fast --validation v.csv --test w.csv --resume"
    more = ["data.columns[a b].type=text", "-c", "a=b=image", "--baselines", "--pretrained", "models", "--time", "10m"]
    more += ["--folds", "5"]
    before = monotonic()
    assert main([*line.split(), *more]) == 0
    # The time begins with the command, not with its imports' end.
    assert before <= api.calls[0][2].pop("since") <= monotonic()
    assert api.calls == [
        (
            "fit",
            (Path("t.csv"),),
            {
                "target": ["a", "b"],
                "task": None,
                "output": Path("out"),
                "overrides": ["training.epochs=3", "data.columns[a b].type=text", "evaluation.baselines=true"],
                "preset": "fast",
                "validation": Path("v.csv"),
                "test": Path("w.csv"),
                "resume": True,
                "accept_changes": False,
                "progress": True,
                "columns": {"a=b": "image"},
                "init_from": None,
                "pretrained": "models",
                "time": "10m",
                "folds": 5,
            },
        )
    ]
    assert capsys.readouterr().out == "a library prints this\ntrained\n"


def test_short_options_are_keys_of_the_recipe(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    line = "train t.csv model.width=8 --epochs 3 --seed 0 --device cpu --batch-size 16"
    assert main(line.split()) == 0
    assert api.calls[0][2]["overrides"] == [
        "model.width=8", "training.epochs=3", "training.seed=0", "training.device=cpu", "training.batch_size=16",
    ]  # fmt: skip
    assert main(["train", "t.csv", "training.epochs=5", "--epochs", "3"]) == 2
    assert "found --epochs 3 and training.epochs=5, expected one of them" in capsys.readouterr().err
    assert main(["train", "t.csv", "--epochs", "0"]) == 2


def test_train_leaves_out_what_was_not_given(api: FakeApi) -> None:
    assert main(["train", "recipe.yaml"]) == 0
    ((_, arguments, options),) = api.calls
    assert arguments == (Path("recipe.yaml"),)
    options.pop("since")
    assert options == {
        "target": None,
        "task": None,
        "output": None,
        "overrides": [],
        "preset": "balanced",
        "validation": None,
        "test": None,
        "resume": False,
        "accept_changes": False,
        "progress": True,
        "columns": None,
        "init_from": None,
        "pretrained": None,
        "time": None,
        "folds": None,
    }


@pytest.mark.parametrize(
    "line",
    [
        ["train", "t.csv"],
        ["check", "t.csv"],
        ["prepare", "t.csv"],
        ["shards", "t.csv", "-o", "out"],
        ["convert", "folder", "-o", "t.jsonl"],
        ["compare", "r.yaml", "--over", "model.fusion.type=concat,gated"],
        ["evaluate", "bundle", "t.csv"],
        ["predict", "bundle", "t.csv"],
        ["demo"],
    ],
)
def test_json_is_exactly_one_document(line: list[str], api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line, "--json"]) == 0
    listed = capsys.readouterr()
    assert isinstance(json.loads(listed.out), dict)
    assert "a library prints this" in listed.err


def test_json_says_null_for_what_it_can_not_say(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "t.csv", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert listed == {
        "folder": "runs/a",
        "metrics": {"test": {"y": {"accuracy": {"value": 0.5, "low": None}}}},
    }


def test_an_error_leaves_stdout_to_the_document(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.error = ConfigError("wrong")
    assert main(["train", "t.csv", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_new_writes_once(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "t.csv", "--target", "label", "-c", "a=text", "--preset", "best"]) == 0
    options = {
        "task": None,
        "preset": "best",
        "columns": {"a": "text"},
        "pretrained": None,
        "overrides": [],
        "folder": Path(),
        "minimal": False,
    }
    assert api.calls == [("new", (Path("t.csv"), ["label"]), options)]
    assert Path("recipe.yaml").read_text(encoding="utf-8") == "data:\n  table: übung.csv\n"
    assert "polysense train recipe.yaml" in capsys.readouterr().out

    Path("recipe.yaml").write_text("mine")
    assert main(["new", "t.csv", "--target", "label"]) == 2
    assert "recipe.yaml is already there" in capsys.readouterr().err
    assert Path("recipe.yaml").read_text() == "mine"
    assert main(["new", "t.csv", "--target", "label", "--force"]) == 0
    assert Path("recipe.yaml").read_text() != "mine"

    assert main(["new", "t.csv", "--target", "label", "-o", "deep/er/r.yaml"]) == 0
    assert Path("deep/er/r.yaml").exists()
    assert api.calls[-1][2]["folder"] == Path("deep/er"), "where the recipe's paths start"


def test_new_prints_to_a_dash(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "t.csv", "-t", "label", "-o", "-"]) == 0
    assert capsys.readouterr().out.endswith("data:\n  table: übung.csv\n")
    assert list(tmp_path.iterdir()) == []


def test_prepare_takes_what_train_takes(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["prepare", "t.csv", "a.b=1", "-t", "label", "--seed", "3", "--workers", "4", "--max-bytes", "1.5GB", "-q"]
    assert main([*line, "-c", "photo=image", "--test", "other.csv"]) == 0
    options = {
        "target": ["label"],
        "task": None,
        "overrides": ["a.b=1", "training.seed=3"],
        "preset": "balanced",
        "validation": None,
        "test": Path("other.csv"),
        "columns": {"photo": "image"},
        "pretrained": None,
        "num_workers": 4,
        "on": "local",
        "ray_address": None,
        "max_bytes": 1_500_000_000,
        "progress": False,
    }
    assert api.calls == [("prepare", (Path("t.csv"),), options)]
    assert capsys.readouterr().out.splitlines()[-1] == "prepared"
    assert main(["prepare", "t.csv", "--max-bytes", "many"]) == 2
    assert "--max-bytes: found 'many', expected a number of bytes" in capsys.readouterr().err


def test_shards_says_what_was_written(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shards", "t.csv", "-o", "out", "--max-bytes", "300MB", "--rows", "5"]) == 0
    ((name, arguments, options),) = api.calls
    assert (name, arguments) == ("write_shards", (Path("t.csv"), Path("out")))
    assert (options["max_bytes"], options["max_rows"], options["root"]) == (300_000_000, 5, None)
    assert "wrote 3 rows with the files of photo to 1 shard in out, 10 KiB" in capsys.readouterr().out


def test_convert_says_what_was_written_and_what_is_not_there(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "folder", "-o", "t.jsonl", "--format", "coco"]) == 0
    assert api.calls == [("convert", (Path("folder"), Path("t.jsonl")), {"format": "coco"})]
    written = capsys.readouterr()
    assert "wrote 2 rows of image, objects (coco) to t.jsonl" in written.out
    assert "a: b is not there" in written.err


def test_check_fails_where_training_would(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "t.csv", "a.b=1", "-t", "label"]) == 0
    requested = {
        "target": ["label"],
        "task": None,
        "overrides": ["a.b=1"],
        "columns": None,
        "run": None,
        "output": None,
    }
    assert api.calls == [("check", (Path("t.csv"),), requested)]
    assert capsys.readouterr().out.endswith("columns\n")
    api.ok = False
    assert main(["check", "t.csv", "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {"ok": False}


def test_evaluate(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--bootstrap", "0", "--by", "site", "--by", "device", "--against", "runs/b"]
    assert main(["evaluate", "runs/a", "t.csv", *line]) == 0
    [(name, arguments, options)] = api.calls
    assert callable(options.pop("progress"))
    assert (name, arguments) == ("evaluate", (Path("runs/a"), Path("t.csv")))
    assert options == {
        "bootstrap": 0,
        "decoding": None,
        "split": None,
        "by": ["site", "device"],
        "against": [Path("runs/b")],
        "judge": None,
        "simple_baselines": True,
        "block_size": None,
        "exact": None,
        "root": None,
    }
    assert capsys.readouterr().out.endswith("measured\n")


def test_audit(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "runs/a", "t.csv", "--full", "--split", "test", "-o", "out"]) == 0
    assert api.calls == [
        (
            "audit",
            (Path("runs/a"), Path("t.csv")),
            {"full": True, "split": "test", "by": (), "output": Path("out"), "bootstrap": 1000, "root": None},
        )
    ]
    assert capsys.readouterr().out.endswith("audited\n")
    assert main(["audit", "runs/a", "t.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"level": "quick"}


def test_media_can_be_kept_inside_of_the_tables_folder(api: FakeApi, tmp_path: Path) -> None:
    assert main(["evaluate", "runs/a", str(tmp_path / "t.csv"), "--inside-only"]) == 0
    [(_, _, options)] = api.calls
    assert isinstance(options["root"], ConfinedFolder)
    assert options["root"] == tmp_path


def test_predict_writes_and_lists_unreadable_cells(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.num_unreadable = 12
    output = tmp_path / "out.csv"
    assert main(["predict", "runs/a", "t.csv", "-o", str(output)]) == 0
    listed = capsys.readouterr()
    assert output.read_text() == 'y,y_probability\na,0.5\n"b,c",1.0\n'
    assert listed.out.endswith(f"wrote the predictions of 2 rows to {output}\n")
    assert listed.err.count("t.csv, row 1, column 'photo' (x.png): cut in half") == 10
    assert "2 more cells" in listed.err


def test_predict_refuses_a_format_before_the_work(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "runs/a", "t.csv", "-o", "out.xlsx"]) == 2
    assert "can't write .xlsx; use .csv" in capsys.readouterr().err
    assert api.calls == []


def test_predict_keeps_columns_and_takes_a_part(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "runs/a", "t.csv", "--keep", 'id, "a, b"', "--split", "test"]) == 0
    ((_, _, options),) = api.calls
    assert (options["keep"], options["split"]) == (["id", "a, b"], "test")
    for option in (["--keep", "id"], ["--split", "test"], ["--export", "coco=r.json"]):
        assert main(["predict", "runs/a", "t.csv", "--stream", *option]) == 2
        assert "leave out --keep, --split and --export" in " ".join(capsys.readouterr().err.split())
    assert main(["predict", "runs/a", "t.csv", "--keep", ", "]) == 2
    assert "--keep: found ', ', expected names separated by commas" in capsys.readouterr().err


def test_predict_prints_json_lines_or_one_document(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "runs/a", "t.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [json.loads(line) for line in lines] == [
        {"y": "a", "y_probability": 0.5},
        {"y": "b,c", "y_probability": 1.0},
    ]
    assert main(["predict", "runs/a", "t.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "num_rows": 2,
        "output": None,
        "unreadable": [{"table": "t.csv", "row": 1, "column": "photo", "file": "x.png", "reason": "cut in half"}],
        "warnings": [],
        "predictions": [{"y": "a", "y_probability": 0.5}, {"y": "b,c", "y_probability": 1.0}],
    }


def test_predict_does_not_overwrite_its_table(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a\n1\n")
    (tmp_path / "link.csv").symlink_to(table)
    for output in (table, tmp_path / "link.csv"):
        assert main(["predict", "runs/a", str(table), "-o", str(output)]) == 2
        assert "would overwrite the table" in capsys.readouterr().err
    assert api.calls == []
    assert table.read_text() == "a\n1\n"


def test_demo(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "-o", "out", "--seed", "3", "--epochs", "2", "-q"]) == 0
    assert api.calls == [("demo", (Path("out"),), {"seed": 3, "epochs": 2, "progress": False})]
    assert capsys.readouterr().out.endswith("compared\n")


@given(st.dictionaries(st.text(min_size=1), st.sampled_from(["text", "image", "ignored"])))
def test_columns_may_have_any_name(columns: dict[str, str]) -> None:
    options = [f"{name}={kind}" for name, kind in columns.items()]
    assert parse_columns(options) == (columns or None)


@pytest.mark.parametrize("option", ["photo", "photo=", "=image", ""])
def test_a_column_option_needs_both_sides(option: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME=KIND"):
        parse_columns([option])


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("predict", "predict run t.csv"),
        ("evaluate", "evaluate run t.csv"),
        ("audit", "audit run t.csv"),
    ],
)
def test_a_named_device_is_where_the_model_is_loaded(api: FakeApi, command: str, line: str) -> None:
    assert main(line.split()) == 0
    assert main([*line.split(), "--device", "cpu"]) == 0
    (_, by_path, _), loaded, (_, by_model, _) = api.calls
    assert by_path == (Path("run"), Path("t.csv"))
    assert loaded == ("load", (Path("run"),), {"device": "cpu"})
    assert by_model == ("the loaded model", Path("t.csv"))
    assert [name for name, _, _ in api.calls] == [command, "load", command]
