"""Two processes balance columns as one does: what they decide by is summed over them, or decided by one for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from balance_toys import BALANCES, make_model, make_trainer
from safetensors.torch import load_file

from polysense.training.optimizers import SGDConfig

SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
import torch
torch.set_num_threads(1)
from balance_toys import BALANCES, make_model, make_trainer
from safetensors.torch import save_file
from polysense.training.distributed import Distributed
from polysense.training.optimizers import SGDConfig

folder, peers = Path({folder!r}), Distributed.from_environment()
assert peers.world_size == 2
for name, balance in BALANCES.items():
    model = make_model(seed=peers.rank, dropout=0.0)  # the first process's weights count
    trainer = make_trainer(folder / name, model, balance, distributed=peers, optimizer=SGDConfig(lr=0.05))
    result = trainer.fit()
    save_file(model.state_dict(), folder / f"{{name}}-{{peers.rank}}.safetensors")
    history = [record["balance"] for record in result.history]
    (folder / f"{{name}}-{{peers.rank}}.json").write_text(json.dumps(history))
peers.close()
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    script = folder / "train.py"
    helpers = str(Path(__file__).parent / "helpers")
    script.write_text(SCRIPT.format(helpers=helpers, folder=str(folder)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        launch, capture_output=True, text=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[:5000]
    return folder


@pytest.mark.parametrize("name", BALANCES)
def test_two_processes_equal_one_and_each_other(two: Path, tmp_path: Path, name: str) -> None:
    model = make_model(dropout=0.0)
    result = make_trainer(tmp_path, model, BALANCES[name], optimizer=SGDConfig(lr=0.05)).fit()
    first, second = (load_file(two / f"{name}-{rank}.safetensors") for rank in (0, 1))
    for key, value in model.state_dict().items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], value, rtol=1e-4, atol=2e-5)
    history = json.loads((two / f"{name}-0.json").read_text())
    assert history == json.loads((two / f"{name}-1.json").read_text())
    for ours, theirs in zip(result.history, history, strict=True):
        assert ours["balance"].keys() == theirs.keys()
        for key, value in ours["balance"].items():
            assert theirs[key] == (value if key == "trained" else pytest.approx(value, abs=1e-3))
