"""Other libraries' rankings of the parts that `benchmarks/ranking.py` wrote, for a comparison on the same choices.

    python benchmarks/ranking_peers.py WORK/peers RANKS.json [--models Pop ItemKNN BPR LightGCN] [--epochs 100]

It needs the package `recbole`, whose pins conflict with polysense's: an environment of its own. Models have RecBole's
settings, stop early by its validation, and rank all items without those of the training and validation rows. The rank
of each test choice is written; what that is worth is computed by `benchmarks/ranking.py --peers`, for all alike.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def _ranks(model: str, folder: Path, epochs: int, work: Path) -> dict[str, Any]:
    import numpy as np
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed
    from scipy import sparse

    if not hasattr(sparse.dok_matrix, "_update"):  # RecBole 1.2.1 calls what scipy 1.13 took away
        sparse.dok_matrix._update = lambda matrix, values: matrix._dict.update(values)
    settings = {
        "data_path": str(folder.parent), "benchmark_filename": ["train", "validation", "test"], "epochs": epochs,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "checkpoint_dir": str(work), "use_gpu": False,
        "eval_args": {"group_by": "user", "order": "RO", "mode": "full"}, "metrics": ["Recall", "NDCG"], "topk": [20],
        "valid_metric": "NDCG@20", "show_progress": False, "state": "WARNING", "train_batch_size": 2048,
        "save_dataset": False, "save_dataloaders": False,
    }  # fmt: skip
    config = Config(model=model, dataset=folder.name, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    network = get_model(config["model"])(config, train.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    begun = time.monotonic()
    trainer.fit(train, valid, saved=True, show_progress=False)
    trained = Path(trainer.saved_model_file)
    if trained.exists():
        network.load_state_dict(torch.load(trained, weights_only=False)["state_dict"])
    seconds = time.monotonic() - begun
    network.eval()
    parts = [part.dataset.inter_feat for part in (train, valid, test)]
    users, items = parts[2]["user_id"].numpy(), parts[2]["item_id"].numpy()
    seen: dict[int, list[int]] = {}
    for part in parts[:2]:
        for user, item in zip(part["user_id"].tolist(), part["item_id"].tolist(), strict=True):
            seen.setdefault(user, []).append(item)
    ranks, ties = np.zeros(len(users)), np.ones(len(users))
    with torch.no_grad():
        for user in np.unique(users).tolist():
            from recbole.data.interaction import Interaction

            scores = (
                network.full_sort_predict(Interaction({"user_id": torch.tensor([user])})).flatten().double().numpy()
            )
            among = np.ones(len(scores), dtype=bool)
            among[0] = False  # padding
            among[seen.get(user, [])] = False
            for row in np.flatnonzero(users == user):
                own = scores[items[row]]
                candidates = among.copy()
                candidates[items[row]] = True
                ties[row] = (scores[candidates] == own).sum()
                ranks[row] = (scores[candidates] > own).sum() + (ties[row] + 1) / 2
    names = dataset.id2token("user_id", users).tolist(), dataset.id2token("item_id", items).tolist()
    return {"users": names[0], "items": names[1], "ranks": ranks.tolist(), "ties": ties.tolist(), "seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains each model and writes its ranks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--models", nargs="*", default=["Pop", "ItemKNN", "BPR", "LightGCN"])
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args(arguments)
    results = {}
    for model in options.models:
        results[model] = _ranks(model, options.folder, options.epochs, options.output.parent / "saved")
        print(model, f"{results[model]['seconds']:.0f} s", flush=True)
        options.output.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
