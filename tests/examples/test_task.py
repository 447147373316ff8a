"""A third party's task keeps every promise that polysense's own keep, and is missed by name where it is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import polysense
from polysense.errors import BundleError

Run = Callable[..., str]
_ROWS = """
import json, math, sys
from pathlib import Path
import polysense

folder = Path(sys.argv[1])
rows = [{"place": "abc"[i % 3], "heat": 0.5 * (i % 7), "visits": i % 5, "busy": "ny"[i % 2]} for i in range(48)]
rows[3]["visits"], rows[4]["visits"] = None, -1
"""
_TRAIN = """
run = polysense.fit(
    rows, target=["visits", "busy"], columns={"visits": "count"}, output=folder / "run", progress=False,
    overrides=["model.width=16", "training.epochs=1", "training.tensorboard=false", "evaluation.bootstrap=10"],
)
run.bundle.predict(rows).frame.write_parquet(folder / "predicted.parquet")
evaluation = polysense.evaluate(run.bundle, rows).evaluation
print(json.dumps({
    "losses": sorted(run.bundle.model.loss_weights),
    "counted": evaluation.num_counted("visits"),
    "metrics": {name: one.value for name, one in evaluation.metrics["visits"].items()},
    "reasons": [cell.reason for cell in evaluation.unreadable],
    "frame": run.bundle.predict(rows).frame["visits"].to_list(),
}))
"""
_PREDICT = """
import polars
bundle = polysense.load(folder / "run")
frame = bundle.predict(rows).frame
print(json.dumps({
    "again": frame.equals(polars.read_parquet(folder / "predicted.parquet")),
    "alone": [bundle.predict([row]).frame["visits"][0] for row in rows[:4]] == frame["visits"].to_list()[:4],
}))
"""


def test_it_trains_and_its_bundle_predicts_alike_in_another_process(run: Run, tmp_path: Path) -> None:
    trained = json.loads(run(_ROWS + _TRAIN, tmp_path).splitlines()[-1])
    assert "visits" in trained["losses"]
    assert trained["counted"] == 46
    assert any("expected a count" in reason for reason in trained["reasons"])
    known = [(rate, i % 5) for i, rate in enumerate(trained["frame"]) if i not in (3, 4)]
    deviance = [2 * ((y * math.log(y / rate) if y else 0) - y + rate) for rate, y in known]
    assert trained["metrics"]["deviance"] == pytest.approx(sum(deviance) / 46, rel=1e-5)
    assert trained["metrics"]["mae"] == pytest.approx(sum(abs(rate - y) for rate, y in known) / 46, rel=1e-5)
    promises = json.loads(run(_ROWS + _PREDICT, tmp_path).splitlines()[-1])
    assert promises == {"again": True, "alone": True}
    with pytest.raises(BundleError, match=r"needs polysense-example 0\.1\.0, which is not installed here"):
        polysense.load(tmp_path / "run")
