"""Runs in processes of their own, and their files without the times."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tiny_run import TINY

from polysense.core.checksum import is_own_checksum
from polysense.core.json import json_text, read_json
from polysense.training.checkpoint import load_checkpoint

__all__ = ["run_process", "timeless"]


def run_process(table: Path, folder: Path, settings: list[str], *, heard: bool = False) -> subprocess.Popen[bytes]:
    """The same command for a start and for every resumption; `heard` keeps what it says for the caller."""
    overrides = [
        setting for setting in TINY if setting.partition("=")[0] not in {s.partition("=")[0] for s in settings}
    ]
    command = ["train", str(table), "--target", "label", "-o", str(folder), "--preset", "fast", "--resume", "-q"]
    return subprocess.Popen(
        [sys.executable, "-m", "polysense", *command, *overrides, *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if heard else None,
        start_new_session=True,
    )


_TIMES = re.compile(
    r"\d{4}-\d\d-\d\d[T ][\d:,+]+|\"(time|(wall_)?seconds|samples_per_second|\w+_tokens_per_second)\": [^,}\n]+"
    r"|[\d,.]+ s\b|[\d,.]+ samples/s|\"command\": [^\n]+|<dt>command</dt><dd>[^<]*|^command: [^\n]*",
    re.MULTILINE,
)


def timeless(folder: Path) -> dict[str, object]:
    """Every file's content without the times; a checkpoint's tensors."""
    results: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.parent.name == "checkpoints":
            results[name] = {key: value.tolist() for key, value in load_checkpoint(path)[0].items()}
        elif path.suffix in (".safetensors", ".npz"):
            results[name] = path.read_bytes()
        elif name.endswith("bundle/bundle.json"):  # its own checksum is of its times too
            manifest = read_json(path, dict)
            assert is_own_checksum(manifest)
            results[name] = _TIMES.sub("", json_text({**manifest, "own_sha256": None}))
        else:
            results[name] = _TIMES.sub("", path.read_text(encoding="utf-8"))
    return results
