"""FileSpec: a modality whose cells name files, or hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from polysense.core.modality_spec import Claim, ModalitySpec, Profile
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported

__all__ = ["Content", "FileSpec", "file_identity"]

_MAJORITY = 0.8  # of the items; the rest are unreadable, and are listed when they are read


class Content(NamedTuple):
    """Whose a file is by what it holds.

    Attributes:
        modality: None if it is no modality's.
        why: For a reason, where that is another than its name says: "it holds ...".
    """

    modality: str | None
    why: str = ""


class FileSpec(ModalitySpec):
    """Answers what is the same for all files; the columns that are claimed are those whose cells are mostly its files.

    A subclass states `extensions`, `recognizes` and what depends on what the files hold.
    """

    is_numeric, is_textual, is_discrete = False, False, False

    def claim(self, profile: Profile) -> Claim | None:
        return self.claim_files(profile)

    def claim_files(self, profile: Profile, *, besides: Sequence[str] = (), how: str = "") -> Claim | None:
        """The claim on a column most of whose cells name or hold files of the modality.

        Args:
            profile: Of the column.
            besides: Modalities whose files it reads too; its claim then goes before theirs.
            how: For the reason: what is made of a file.
        """
        share = sum(profile.file_shares.get(name, 0.0) for name in (self.name, *besides))
        if share < _MAJORITY:
            return None
        evidence = f"{how}; {profile.files(self.name)}" if how else profile.files(self.name)
        if profile.are_remote:
            listed = "lists of " if profile.are_lists else ""
            evidence = f"{listed}URLs of {self.name} files; download them and name the files, or set data.allow_urls"
        return Claim(
            confidence=1.0 if besides else 0.98,
            evidence=evidence,
            multiple=profile.are_lists,
            is_used=not profile.are_remote,
        )

    def padding(self, column: Column) -> int:
        return 0

    def identity(self, cell: object) -> str:
        return file_identity(cell)

    def content(self, item: object, root: Path) -> Content:
        """Whose a file is that is this modality's by its name or first bytes; for containers that don't tell by these.

        Args:
            item: An item of a cell.
            root: The folder that relative paths start from.
        """
        return Content(self.name)

    @property
    def estimate(self) -> Unsupported:
        return Unsupported("what a file holds is known only when it is opened")


def file_identity(cell: object) -> str:
    """A file by its path if it is known, else by its bytes; lists by their parts."""
    if isinstance(cell, list):
        return "\0".join(map(file_identity, cell))
    if isinstance(cell, dict):
        cell = cell.get("path") or cell.get("bytes") or repr(cell).encode()  # what a library has decoded already
    return hashlib.blake2b(cell, digest_size=16).hexdigest() if isinstance(cell, bytes) else str(cell)
