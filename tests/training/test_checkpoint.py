"""A checkpoint comes back bit for bit, or says what is wrong with it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from polysense.errors import CheckpointError
from polysense.training.checkpoint import load_checkpoint, load_model, pack, save_checkpoint, unpack

TENSORS = {
    "model/a": torch.randn(3, 4),
    "model/scalar": torch.tensor(2.5),
    "model/count": torch.tensor(7),
    "model/flags": torch.tensor([True, False]),
    "model/half": torch.randn(5).bfloat16(),
    "model/empty": torch.zeros(0, 3),
}
STATE = {"epoch": 3, "best": -math.inf, "loss": 0.1 + 0.2, "nan": math.nan, "names": ["é", None]}


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "last.safetensors"
    save_checkpoint(path, TENSORS, STATE)
    tensors, state = load_checkpoint(path)
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert math.isnan(state.pop("nan"))
    assert state == {key: value for key, value in STATE.items() if key != "nan"}
    assert [entry.name for entry in path.parent.iterdir()] == ["last.safetensors"]


def test_tied_and_strided_tensors_can_be_saved(tmp_path: Path) -> None:
    weight = torch.randn(4, 6)
    save_checkpoint(tmp_path / "c", {"a": weight, "b": weight, "turned": weight.T, "row": weight[2]}, {})
    tensors, _ = load_checkpoint(tmp_path / "c")
    for name, expected in {"a": weight, "b": weight, "turned": weight.T, "row": weight[2]}.items():
        assert torch.equal(tensors[name], expected)


def test_others_may_read_it(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save_checkpoint(tmp_path / "c", TENSORS, STATE)
    assert (tmp_path / "c").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_save_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, TENSORS, {"epoch": 1})

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(path, TENSORS, {"epoch": 2})
    assert load_checkpoint(path)[1] == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_one_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_checkpoint(tmp_path / "last.safetensors")


@pytest.mark.parametrize("retained", [0, 7, 300, -1])
def test_a_cut_one_is_refused(tmp_path: Path, retained: int) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, TENSORS, STATE)
    path.write_bytes(path.read_bytes()[:retained])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, TENSORS, STATE)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged.*SHA-256"):
        load_checkpoint(path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(2)}, foreign)
    with pytest.raises(CheckpointError, match="no checkpoint of a polysense run"):
        load_checkpoint(foreign)
    save_file({"a": torch.zeros(2)}, foreign, metadata={"polysense_checkpoint": json.dumps({"version": 99})})
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(foreign)
    foreign.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(foreign)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_checkpoint(tmp_path)


def test_another_model_is_named(tmp_path: Path) -> None:
    saved = {f"model/{name}": tensor for name, tensor in nn.Linear(3, 4).state_dict().items()}
    with pytest.raises(CheckpointError, match=r"weight is of shape 5x3 and was of 4x3"):
        load_model(nn.Linear(3, 5), saved, tmp_path)
    with pytest.raises(CheckpointError, match="bias is gone"):
        load_model(nn.Linear(3, 4, bias=False), saved, tmp_path)
    with pytest.raises(CheckpointError, match=r"0\.weight is new"):
        load_model(nn.Sequential(nn.Linear(3, 4)), saved, tmp_path)


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just("TENSOR")
trees = st.recursive(
    leaves, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text() | st.integers(), below, max_size=3)
)


@given(tree=trees)
def test_any_state_survives_packing(tree: Any) -> None:
    tensor = torch.arange(3)

    def with_tensors(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: with_tensors(below) for key, below in value.items()}
        if isinstance(value, list):
            return [with_tensors(below) for below in value]
        return tensor if value == "TENSOR" else value

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(below) for key, below in value.items()}
        if isinstance(value, list):
            return [without(below) for below in value]
        return "TENSOR" if isinstance(value, Tensor) else value

    tensors: dict[str, Tensor] = {}
    skeleton = json.loads(json.dumps(pack(with_tensors(tree), "x", tensors)))
    assert without(unpack(skeleton, tensors)) == tree
