"""A stand-in for polysense.api that notes how it was called: these tests are about the command line alone."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

import polysense
from polysense.core.sample import SourceInfo, Unreadable
from polysense.data.tables.shard_writer import FileWritten, ShardsWritten
from polysense.workflows.convert import Converted


class FakeApi(ModuleType):
    """Every function notes its arguments, prints something (as careless libraries do), and raises `error` if set."""

    def __init__(self) -> None:
        super().__init__("polysense.api")
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.error: BaseException | None = None
        self.ok = True
        self.num_unreadable = 1

    def _note(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        print("a library prints this")
        self.calls.append((name, arguments, options))
        if self.error is not None:
            raise self.error

    def fit(self, *arguments: Any, **options: Any) -> Any:
        self._note("fit", arguments, options)
        metrics = {"test": {"y": {"accuracy": {"value": np.float64(0.5), "low": float("nan")}}}}
        return SimpleNamespace(
            summary=lambda: "trained",
            report=None,
            as_json=lambda: {"folder": Path("runs/a"), "metrics": metrics},
        )

    def load(self, *arguments: Any, **options: Any) -> str:
        self._note("load", arguments, options)
        return "the loaded model"

    def new(self, *arguments: Any, **options: Any) -> str:
        self._note("new", arguments, options)
        return "data:\n  table: übung.csv\n"

    def check(self, *arguments: Any, **options: Any) -> Any:
        self._note("check", arguments, options)
        return SimpleNamespace(ok=self.ok, text=lambda: "columns", as_json=lambda: {"ok": self.ok})

    def prepare(self, *arguments: Any, **options: Any) -> Any:
        self._note("prepare", arguments, options)
        return SimpleNamespace(text=lambda: "prepared", as_json=lambda: {"rows": 3})

    def write_shards(self, *arguments: Any, **options: Any) -> Any:
        self._note("write_shards", arguments, options)
        return ShardsWritten(
            folder=Path("out"), shards=(FileWritten("shard-000000.tar", 3, 10_240),), num_new=1, columns=("photo",),
            unreadable=(),
        )  # fmt: skip

    def convert(self, *arguments: Any, **options: Any) -> Any:
        self._note("convert", arguments, options)
        return Converted(
            output=Path("t.jsonl"),
            format="coco",
            num_rows=2,
            columns=("image", "objects"),
            missing=("a: b is not there",),
        )  # fmt: skip

    def compare(self, *arguments: Any, **options: Any) -> Any:
        self._note("compare", arguments, options)
        return SimpleNamespace(summary=lambda: "ranked", as_json=lambda: {"rows": [{"mean": float("nan")}]})

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        self._note("evaluate", arguments, options)
        return SimpleNamespace(text=lambda: "measured", as_json=lambda: {"accuracy": 1.0})

    def audit(self, *arguments: Any, **options: Any) -> Any:
        self._note("audit", arguments, options)
        return SimpleNamespace(text=lambda: "audited", as_json=lambda: {"level": "quick"})

    def predict(self, *arguments: Any, **options: Any) -> Any:
        self._note("predict", arguments, options)
        frame = pl.DataFrame({"y": ["a", "b,c"], "y_probability": [0.5, 1.0]})
        source = SourceInfo(table="t.csv", row=1, column="photo", file="x.png")
        return SimpleNamespace(
            frame=frame,
            unreadable=[Unreadable(source=source, reason="cut in half")] * self.num_unreadable,
            write=lambda path, csv_safe: frame.write_csv(path),
            with_files=lambda: frame,
            warnings=(),
        )

    def demo(self, *arguments: Any, **options: Any) -> Any:
        self._note("demo", arguments, options)

        class Summary(dict[str, Any]):
            text = "compared"
            report = None

        return Summary(test_accuracy={"fused": 0.9})


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    monkeypatch.setitem(sys.modules, "polysense.api", fake)
    monkeypatch.setattr(polysense, "api", fake, raising=False)
    return fake
