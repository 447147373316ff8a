"""The example package is found through its entry points alone: listed, trained, saved, loaded, used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., str]
PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"
_PROGRAM = """
import contextlib, io, json, random, sys
from pathlib import Path
import torch
import polysense
from polysense.cli.app import main

folder = Path(sys.argv[1])
draws = random.Random(0)
rows = [{"size": draws.lognormvariate(0, 4), "shop": draws.choice("ab"), "noise": draws.random()} for _ in range(64)]
for row in rows:
    row["label"] = "large" if row["size"] > 1 else "small"
shown = io.StringIO()
with contextlib.redirect_stdout(shown):
    assert main(["list", "fusions"]) == 0
    assert main(["list", "encoders", "order_of_magnitude"]) == 0
    assert main(["list", "heads", "--json"]) == 0
run = polysense.fit(
    rows, target="label", output=folder / "run", progress=False, columns={"shop": "category"},
    overrides=[
        "model.encoders.size.type=order_of_magnitude", "model.fusion.type=maximum", "model.heads={label: cosine}",
        "model.objectives={agreement: agreement}",
        "model.width=16", "training.epochs=1", "training.batch_size=32", "training.tensorboard=false",
        "evaluation.bootstrap=0", "evaluation.report=false",
    ],
)
again = polysense.load(run.folder)
losses = sorted(again.model.loss_weights)
named = {name: type(part).__name__ for name, part in (
    ("encoder", again.model.encoders[0]), ("fusion", again.model.fusion), ("head", again.model.heads[0]))}
frames = {}
for missing in ("nothing", "size", "shop", "noise"):
    frame = again.predict([{k: v for k, v in row.items() if k != missing} for row in rows]).frame
    frames[missing] = frame["label_probability"].is_finite().all() and len(frame) == len(rows)
same = again.predict(rows).frame.equals(run.bundle.predict(rows).frame)
print(json.dumps({"shown": shown.getvalue(), "named": named, "finite": frames, "same": same, "losses": losses,
                  "steps": run.training.steps}))
"""


def test_the_package_lists_trains_saves_loads_and_predicts(run: Run, tmp_path: Path) -> None:
    found = json.loads(run(_PROGRAM, tmp_path).splitlines()[-1])
    assert "[polysense-example]" in found["shown"]
    assert "order_of_magnitude: A number by its sign and the logarithm of its size." in found["shown"]
    heads = json.loads(found["shown"][found["shown"].index("[\n") :])
    cosine = next(head for head in heads if head["name"] == "cosine")
    assert cosine["package"] == "polysense-example"
    assert [parameter["name"] for parameter in cosine["parameters"]] == [
        "loss_weight", "hidden", "dropout", "scale", "separation",
    ]  # fmt: skip
    assert next(head for head in heads if head["name"] == "classification")["package"] is None
    assert found["named"] == {"encoder": "OrderOfMagnitude", "fusion": "MaximumFusion", "head": "CosineHead"}
    assert found["steps"] == 2
    assert found["losses"] == ["agreement/cosine", "label/cross_entropy", "label/separation"]
    assert found["finite"] == dict.fromkeys(("nothing", "size", "shop", "noise"), True)
    assert found["same"]


def test_the_documentations_catalogue_is_polysenses_own(run: Run) -> None:
    script = Path(__file__).parents[2] / "scripts" / "make_catalogue.py"
    listed = run(f"import runpy; print(runpy.run_path({str(script)!r})['markdown']())")
    assert "order_of_magnitude" not in listed
    assert "`number_mlp`" in listed


def test_the_fusion_leaves_out_what_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from polysense.core.tokens import Tokens

    monkeypatch.syspath_prepend(str(PLUGIN / "src"))
    from polysense_example.fusion import MaximumFusionConfig

    torch.manual_seed(0)
    fusion = MaximumFusionConfig().build(("a", "b"), 8).eval()
    values = {name: torch.randn(4, 3, 8) for name in "ab"}
    there, absent = torch.ones(4, 3, dtype=torch.bool), torch.zeros(4, 3, dtype=torch.bool)

    def pooled(b: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return fusion({"a": Tokens(values["a"], there, (3,)), "b": Tokens(b, mask, (3,))}).pooled

    alone = MaximumFusionConfig().build(("a",), 8).eval()
    alone.norms[0].load_state_dict(fusion.norms[0].state_dict())
    alone.transform[0].load_state_dict(fusion.transform[0].state_dict())
    expected = alone({"a": Tokens(values["a"], there, (3,))}).pooled
    torch.testing.assert_close(pooled(values["b"], absent), expected)
    assert torch.equal(pooled(values["b"] * 1e3, absent), pooled(values["b"], absent))
    assert not torch.equal(pooled(values["b"], there), expected)


_METRICS = """
import json
import numpy as np
from polysense.evaluation.evaluator import score
from polysense.evaluation.target_metrics import metrics_of
from polysense.tasks.classification.record import ClassificationTarget

def target(*classes):
    return ClassificationTarget(name="y", columns=("y",), classes=classes)

statistics = {
    "present": np.ones(4, dtype=bool),
    "truth": np.array([0, 1, 2, 2]),
    "predicted": np.array([0, 0, 0, 2]),
    "probabilities": np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], dtype=np.float32),
}
evaluation = score([target("a", "b", "c")], np.arange(4), {"y": statistics}, bootstrap=100)
own = evaluation.metrics["y"]["top_2_accuracy"]
print(json.dumps({"value": own.value, "bounds": own.has_bounds,
                  "of_two": [metric.name for metric in metrics_of(target("a", "b"))]}))
"""


def test_the_packages_metric_is_reported_like_the_tasks_own(run: Run) -> None:
    found = json.loads(run(_METRICS).splitlines()[-1])
    assert found["value"] == 0.75
    assert found["bounds"]
    assert "top_2_accuracy" not in found["of_two"]
