"""`torch.distributed.checkpoint` reads and writes the optimizer's state, whatever the number of processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sharded_toys import CONFIGS, STEPS, Training

KINDS = ("ddp", "fsdp")
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
import torch
import torch.distributed as dist
torch.set_num_threads(1)
from safetensors.torch import save_file
from sharded_toys import CONFIGS, STEPS, Training

dist.init_process_group("gloo")
folder = Path({folder!r})

def write(name, training):
    tensors = training.tensors()
    if dist.get_rank() == 0:
        save_file(tensors, folder / f"{{name}}.safetensors")

for optimizer in CONFIGS:
    for kind in {kinds!r}:
        name = f"{{optimizer}}-{{kind}}"
        training = Training(optimizer, kind)
        training.train(range(STEPS))
        training.save(folder / f"{{name}}-saved")
        write(f"{{name}}-trained", training)
        loaded = Training(optimizer, kind)
        before = loaded.settings()
        loaded.load(folder / f"{{optimizer}}-one")
        assert loaded.settings() == before
        write(f"{{name}}-loaded", loaded)
        loaded.train(range(STEPS, STEPS + 2))
        write(f"{{name}}-resumed", loaded)
dist.destroy_process_group()
"""


def one(optimizer: str, steps: int) -> Training:
    training = Training(optimizer)
    training.train(range(steps))
    return training


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process saved, and what two saved and made of it."""
    folder = tmp_path_factory.mktemp("two")
    for optimizer in CONFIGS:
        one(optimizer, STEPS).save(folder / f"{optimizer}-one")
    script = folder / "train.py"
    script.write_text(SCRIPT.format(helpers=str(Path(__file__).parent / "helpers"), folder=str(folder), kinds=KINDS))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        launch, capture_output=True, text=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], atol: float = 0.0) -> None:
    assert found.keys() == expected.keys()
    assert any(name.startswith("optimizer/") for name in expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", CONFIGS)
def test_two_processes_load_what_one_saved(two: Path, optimizer: str, kind: str) -> None:
    close(load_file(two / f"{optimizer}-{kind}-loaded.safetensors"), one(optimizer, STEPS).tensors())
    resumed = load_file(two / f"{optimizer}-{kind}-resumed.safetensors")
    close(resumed, one(optimizer, STEPS + 2).tensors(), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", CONFIGS)
def test_one_process_loads_what_two_saved(two: Path, optimizer: str, kind: str) -> None:
    loaded = Training(optimizer)
    before = loaded.settings()
    loaded.load(two / f"{optimizer}-{kind}-saved")
    assert loaded.settings() == before
    close(loaded.tensors(), load_file(two / f"{optimizer}-{kind}-trained.safetensors"))
    loaded.train(range(STEPS, STEPS + 2))
    close(loaded.tensors(), one(optimizer, STEPS + 2).tensors(), atol=1e-6)
