"""Tell what a run was made with: date, command, version, commit, seed, device, the data's hash, time.

They are kept in environment.json when the model has been trained, since a report that is written again later has
another command and date.
"""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from polysense.core.duration import spell_duration
from polysense.core.json import json_text, read_json, write_json
from polysense.core.version import VERSION
from polysense.recipe import Recipe
from polysense.workflows.run import Run
from polysense.workflows.run_folder import RunFolder

__all__ = ["ENVIRONMENT", "environment_facts", "keep_environment", "present_facts", "roots"]

ENVIRONMENT = "environment.json"


def keep_environment(folder: Path, device: torch.device, seed: int) -> None:
    """Writes environment.json, once the model has been trained here."""
    facts = {**present_facts(device, seed), "data": _data_hash(folder)}
    write_json(folder / ENVIRONMENT, {name: fact for name, fact in facts.items() if fact})


def present_facts(device: torch.device, seed: int) -> dict[str, str]:
    """What this command is and runs on."""
    facts = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "version": f"polysense {VERSION}, torch {torch.__version__}, Python {platform.python_version()}",
        "commit": _commit(Path.cwd()),
        "seed": str(seed),
        "device": _device(device),
    }
    return {name: fact for name, fact in facts.items() if fact}


def environment_facts(run: Run) -> dict[str, str]:
    """What environment.json says, and how long the training took."""
    try:
        facts = {str(name): str(fact) for name, fact in read_json(run.folder / ENVIRONMENT, dict).items()}
    except (OSError, ValueError):
        facts = {}
    return {**facts, "training time": spell_duration(float(run.training.seconds))}


def roots(folder: Path, recipe: Recipe | None, *others: Path) -> tuple[str, ...]:
    """Folders of this machine that a page may not name."""
    places = {Path.cwd(), Path.home(), folder.absolute(), folder.absolute().parent, *others}
    if recipe is not None:
        places |= {Path(path).parent for path in _tables(recipe) if path}
        places |= {Path(recipe.data.root)} if recipe.data.root else set()
    return tuple(sorted(str(place) for place in places if place.is_absolute() and len(place.parts) > 1))


def _tables(recipe: Recipe) -> list[str | None]:
    data = recipe.data
    return [data.table, data.validation, data.test, *(join.table for join in data.tables.values())]


def _command() -> str:
    """The command line, its paths without the folders they lie in."""
    program = Path(sys.argv[0] or "python")
    if program.name not in ("polysense", "app.py") and program.parent.name != "polysense":
        return "a call from Python"
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["polysense", *words])


def _commit(folder: Path) -> str:
    """The commit that is checked out where the run was started; "" where that is no repository."""
    for place in (folder, *folder.parents):
        git = place / ".git"
        try:
            if git.is_file():  # of a worktree
                git = place / git.read_text(encoding="utf-8").partition("gitdir:")[2].strip()
            head = (git / "HEAD").read_text(encoding="utf-8").strip()
            if not head.startswith("ref: "):
                return head[:12]
            common = git / "commondir"
            shared = git / common.read_text(encoding="utf-8").strip() if common.is_file() else git
            ref = head.removeprefix("ref: ")
            if (shared / ref).is_file():
                return (shared / ref).read_text(encoding="utf-8").strip()[:12]
            packed = (shared / "packed-refs").read_text(encoding="utf-8").splitlines()
            return next((line.split()[0][:12] for line in packed if line.endswith(f" {ref}")), "")
        except (OSError, UnicodeDecodeError):
            continue
    return ""


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {torch.get_num_threads()} threads, {platform.machine()}"


def _data_hash(folder: Path) -> str:
    """Of the tables' fingerprints in run.json."""
    record = RunFolder(folder).record()
    if record is None:
        return ""
    return "sha256 " + hashlib.sha256(json_text(dict(record.tables)).encode("utf-8")).hexdigest()[:16]
