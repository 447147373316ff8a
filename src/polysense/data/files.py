"""What modalities whose cells are files have in common: how they claim a column, and when two cells are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from polysense.core.modality_spec import Claim, ModalitySpec, Profile

__all__ = ["claim_files", "file_identity"]

_MAJORITY = 0.8  # of the items; the rest are unreadable, and are listed when they are read


def claim_files(spec: ModalitySpec, profile: Profile, *, besides: Sequence[str] = (), how: str = "") -> Claim | None:
    """The claim on a column most of whose cells name or hold files of a modality.

    Args:
        spec: The modality.
        profile: Of the column.
        besides: Modalities whose files it reads too; its claim then goes before theirs.
        how: For the reason: what is made of a file.
    """
    share = sum(profile.file_shares.get(name, 0.0) for name in (spec.name, *besides))
    if share < _MAJORITY:
        return None
    listed = "lists of " if profile.are_lists else ""
    if profile.are_remote:
        return Claim(
            confidence=1.0 if besides else 0.98,
            evidence=f"{listed}URLs of {spec.name} files; download them and name the files",
            multiple=profile.are_lists,
            is_used=False,
        )
    return Claim(
        confidence=1.0 if besides else 0.98,
        evidence=f"{how}; {profile.files(spec.name)}" if how else profile.files(spec.name),
        multiple=profile.are_lists,
    )


def file_identity(cell: object) -> str:
    """A file by its path if it is known, else by its bytes; lists by their parts."""
    if isinstance(cell, list):
        return "\0".join(map(file_identity, cell))
    if isinstance(cell, dict):
        cell = cell.get("path") or cell.get("bytes")
    return hashlib.blake2b(cell, digest_size=16).hexdigest() if isinstance(cell, bytes) else str(cell)
