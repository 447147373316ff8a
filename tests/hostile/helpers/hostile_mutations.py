"""Files with something wrong in them, drawn from a seed: values of other types, sizes beyond all bounds, cut bytes."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Iterator
from typing import Any

__all__ = ["nested", "with_other_bytes", "with_other_header", "with_other_values"]

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2, 10**9, 10**30, 1.5, float("nan"), float("inf"), "", "x", "../../../etc/passwd",
    "/etc/passwd", "hf-hub:a/b", "http://localhost:1/x", "\x1b[2J\n", [], {}, [[]], {"a": {}}, ["a"],
    {"type": "auto"}, "a" * 100_000, [1] * 1000, {"modality": "text"}, "text", "image", "bert-base-uncased",
)  # fmt: skip
KEYS = ("type", "extra", "path", "auto_map", "weights", "_name_or_path", "backbone", "url")


def nested(depth: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def with_other_values(plain: Any, draws: random.Random) -> Any:
    """JSON with some of its values deleted, replaced, exchanged, multiplied or nested."""
    plain = copy.deepcopy(plain)
    for _ in range(draws.choice([1, 1, 1, 2, 3])):
        places = [place for place in _places(plain) if place]
        place = draws.choice(places)
        here = _at(plain, place[:-1])
        key, kind = place[-1], draws.random()
        if kind < 0.2:
            del here[key]
        elif kind < 0.25:
            here[key] = nested(draws.choice([150, 190, 500]))
        elif kind < 0.3 and isinstance(here, dict):
            here[draws.choice(KEYS)] = draws.choice(VALUES)
        elif kind < 0.4:
            here[key] = copy.deepcopy(_at(plain, draws.choice(places)))
        elif kind < 0.5 and isinstance(here[key], (int, float)) and not isinstance(here[key], bool):
            here[key] *= draws.choice([-1, 0, 2, 10, 1000, 10**6])
        else:
            here[key] = draws.choice(VALUES)
        if not [place for place in _places(plain) if place]:
            break
    return plain


def with_other_bytes(content: bytes, draws: random.Random) -> bytes:
    """A file that is cut, flipped, emptied, doubled, or another."""
    match draws.choice(["cut", "flip", "flip", "empty", "noise", "mark", "twice"]):
        case "cut":
            return content[: draws.randrange(len(content) + 1)]
        case "flip":
            changed = bytearray(content)
            for _ in range(draws.choice([1, 3, 20])):
                changed[draws.randrange(min(len(changed), draws.choice([50, 2000, 10**9])))] = draws.randrange(256)
            return bytes(changed)
        case "empty":
            return b""
        case "noise":
            return draws.randbytes(1000)
        case "mark":
            return b"\xff\xfe" + content
    return content * 2


def with_other_header(content: bytes, draws: random.Random) -> bytes:
    """A safetensors file whose header says something else."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.dumps(with_other_values(json.loads(content[8 : 8 + size]), draws)).encode()
    stated = len(header) if draws.random() < 0.8 else draws.choice([0, 2**63, 2**32, 10**9])
    return struct.pack("<Q", stated) + header + content[8 + size :]


def _places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Without recursion: what was mutated before may be nested a thousand levels deep."""
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(value, ())]
    while waiting:
        value, place = waiting.pop()
        yield place
        if isinstance(value, dict):
            waiting += [(value[key], (*place, key)) for key in reversed(value)]
        elif isinstance(value, list):
            waiting += [(value[index], (*place, index)) for index in reversed(range(min(len(value), 5)))]


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value
