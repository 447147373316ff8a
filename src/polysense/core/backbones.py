"""Backbones: the pretrained networks that a modality knows, and what it says of a folder that may hold another one.

A modality states well-known networks, the best first, as facts that a person can check (license, size, what for), and
judges a folder by its small files alone. Whether a library can load the folder is asked afterwards, and costs seconds;
the trade-off is that a folder with honest small files and broken weights is found out only then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Backbone", "BackboneFolder", "Backbones"]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A well-known pretrained network.

    Attributes:
        name: Of the hub.
        license: Its SPDX identifier.
        parameters: Millions, decoder included.
        megabytes: Of the files that are downloaded.
        purpose: What it is good for, as the end of "for".
        speed: On one core of a CPU, measured; "" where it was not.
    """

    name: str
    license: str
    parameters: float
    megabytes: int
    purpose: str
    speed: str = ""


@dataclass(frozen=True, kw_only=True)
class BackboneFolder:
    """A model's folder, by its small files.

    Attributes:
        path: The folder.
        name: What people call the model: its name of the hub where that is known, else the folder's.
        settings: What its config.json holds.
    """

    path: Path
    name: str
    settings: Mapping[str, object]

    def has(self, *names: str) -> bool:
        """Whether one of these files is there."""
        return any((self.path / name).is_file() for name in names)


def _every(folder: BackboneFolder) -> int:
    return 0


@dataclass(frozen=True, kw_only=True)
class Backbones:
    """Pretrained backbones that suit some cells.

    Attributes:
        known: Well-known ones, the best first; the first is the one that is downloaded where a download is allowed.
        kind: For a reason: "multilingual text".
        files: Of which a complete folder has one, beside its weights: tokenizers or processors.
        encoders: Types of the encoders that can load one; the first that takes a folder or name loads it. None of what
            is no encoder, a language model that generates.
        rank: What a folder is worth to these cells, the lower the better, or why it does not suit them.
    """

    known: tuple[Backbone, ...]
    kind: str
    files: tuple[str, ...]
    encoders: tuple[str, ...] = ("pretrained",)
    rank: Callable[[BackboneFolder], int | str] = _every

    @property
    def noun(self) -> str:
        """What one is called: a text backbone, a language model."""
        return f"{self.kind} backbone" if self.encoders else self.kind

    @property
    def names(self) -> tuple[str, ...]:
        """Of those that are well known."""
        return tuple(each.name for each in self.known)
