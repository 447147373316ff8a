"""Each expert's own best weights: those of its best epoch, as validated, and the same after a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polysense
from polysense.core.pytree import concatenate
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.ensemble_weights import scaled_losses
from polysense.nn.expert_parts import expert_parts, why_experts_share
from polysense.nn.held_out import HeldOut
from polysense.nn.model import MultimodalModel
from polysense.workflows.expert_weights import ExpertWeights

SETTINGS = [
    "model.width=16", "training.epochs=5", "training.batch_size=16", "training.optimizer.lr=0.02", "training.ema=0.8",
    "training.early_stopping=null", "training.tensorboard=false", "evaluation.bootstrap=0", "evaluation.report=false",
    "evaluation.contribution=false", "evaluation.simple_baselines=false", "data.split.validation=0.3",
    "data.num_workers=0", "model.heads.label.estimators={}", "model.heads.label.joint=false", "audit=off",
]  # fmt: skip


def fit(source: Any, folder: Path, **options: Any) -> polysense.Run:
    options = {"target": "label", "overrides": SETTINGS, "pretrained": "off"} | options
    return polysense.fit(source, output=folder, progress=False, **options)


def weights(run: polysense.Run) -> dict[str, Tensor]:
    return dict(run.bundle.model.state_dict())


def test_every_expert_is_that_of_its_best_epoch(
    rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[tuple[dict[str, float], dict[str, Tensor]]] = []
    original = ExpertWeights.update

    def update(self: ExpertWeights, model: MultimodalModel, held_out: HeldOut, epoch: int) -> None:
        head = model.head("label")
        assert isinstance(head, EnsembleHead)
        losses = scaled_losses(head, *concatenate(held_out.experts["label"]))
        validated.append((losses, {name: value.clone() for name, value in model.state_dict().items()}))
        original(self, model, held_out, epoch)

    monkeypatch.setattr(ExpertWeights, "update", update)
    run = fit(rows, tmp_path / "run")
    assert len(validated) == 5
    delivered, epochs = weights(run), run.bundle.info["expert_epochs"]
    parts = expert_parts(run.bundle.model)
    assert set(parts) == set(epochs) == {"x", "y"}
    assert not set(parts["x"]) & set(parts["y"])
    for column, names in parts.items():
        losses = [each[column] for each, _ in validated]
        best = losses.index(min(losses))
        assert epochs[column] == best + 1
        for name in names:
            if name.endswith(".temperature"):  # calibrated afterwards
                continue
            assert torch.equal(delivered[name], validated[best][1][name]), name
    # Nobody else reads them: an expert of another epoch gives what it gave then, whatever the others do.
    assert run.training.judged == "all experts at one epoch"
    end = json.loads((run.folder / "log.jsonl").read_text().splitlines()[-1])
    assert end["judged"] == "all experts at one epoch"


def test_a_run_that_was_killed_ends_with_the_same_bits(
    rows: list[dict[str, Any]],
    tmp_path: Path,
    stopped_after_an_epoch: Callable[[], AbstractContextManager[None]],
) -> None:
    whole = fit(rows, tmp_path / "whole")
    kept = Path("checkpoints") / "experts.safetensors"
    # Killed when a later epoch had kept its experts, and was not saved itself: it is repeated.
    for folder, ahead in ((tmp_path / "saved", False), (tmp_path / "ahead", True)):
        with stopped_after_an_epoch():
            fit(rows, folder)
        if ahead:
            shutil.copyfile(whole.folder / kept, folder / kept)
        again = fit(folder, folder, data=rows, resume=True, target=None, overrides=[], pretrained=None)
        assert again.bundle.info["expert_epochs"] == whole.bundle.info["expert_epochs"]
        assert all(map(torch.equal, weights(again).values(), weights(whole).values()))
        assert (folder / kept).read_bytes() == (whole.folder / kept).read_bytes()


def test_experts_that_share_weights_say_so(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    joint = fit(rows, tmp_path / "joint", overrides=[*SETTINGS, "model.heads.label.joint=true", "training.epochs=1"])
    assert why_experts_share(joint.bundle.model) == "the joint expert of 'label' reads the columns' encoders too"
    assert "expert_epochs" not in joint.bundle.info
    assert not (joint.folder / "checkpoints" / "experts.safetensors").exists()
    recipe = joint.recipe
    for override, reason in (
        ("model.heads.label={type: classification}", "is no ensemble whose weights are fitted"),
        ("model.heads.label.weights=learned", "is no ensemble whose weights are fitted"),
        ("model.objectives={adversary: {type: adversary}}", "the objective 'adversary' reads"),
    ):
        changed = recipe.with_overrides(["model.heads.label.joint=false", override])
        assert reason in str(why_experts_share(changed.model.build(joint.bundle.schema)))
