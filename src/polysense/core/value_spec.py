"""ValueSpec: a modality whose cells are single values, such as a number, a date or a position of chess.

Most questions of `ModalitySpec` are about files, lengths and networks for large inputs. A value is no file, its array
has one shape whatever it is, and it counts as one token; with this base a modality answers what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from polysense.core.corruption import Corruption
from polysense.core.descriptor import Descriptor
from polysense.core.display import CellDisplay
from polysense.core.modality_spec import FittedColumn, ModalitySpec, Preview, parts
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported

__all__ = ["ValueSpec"]


class ValueSpec(ModalitySpec):
    """Answers what is the same for all values.

    Left to a subclass: `claim`, `default_encoder`, `item_shape`, `summary`, `decoder` and the class attributes. Two
    cells are the same if their text is, values are never varied in training, and audits damage them in no way; override
    what should be otherwise.
    """

    extensions: ClassVar[frozenset[str]] = frozenset()
    is_numeric, is_textual, is_discrete = False, False, False
    length_multiple: ClassVar[int | None] = None

    def recognizes(self, head: bytes) -> bool:
        return False

    def default_augmentation(self, cells: Sequence[object], root: Path) -> Mapping[str, object] | None:
        return None

    def padding(self, column: Column) -> int:
        return 0

    def cost(self, column: Column, length: float | int) -> float:
        return float(length)

    def measure(self, fitted: FittedColumn, cell: object, source: SourceInfo, root: Path) -> list[int]:
        return [1 for _ in parts(cell)]

    def preview(
        self, column: Column, cell: object, items: Sequence[np.ndarray], *, most: int, side: int, playable: bool
    ) -> Preview:
        return Preview.of_texts(parts(cell)[:most])

    def display(self, cell: object, root: Path) -> CellDisplay:
        return CellDisplay(texts=Preview.of_texts(parts(cell)).texts)

    def identity(self, cell: object) -> str:
        return str(cell).strip()

    @property
    def corruptions(self) -> Sequence[Corruption] | Unsupported:
        return Unsupported(f"nobody has said what damages {self.nouns[1]}")

    @property
    def estimate(self) -> Unsupported:
        return Unsupported(f"{self.nouns[0]} counts as one token")

    @property
    def aligner(self) -> Unsupported:
        return Unsupported(f"{self.nouns[0]} has no parts")

    @property
    def descriptors(self) -> Sequence[Descriptor] | Unsupported:
        return Unsupported(f"no number describes {self.nouns[0]}")

    @property
    def likeness(self) -> Unsupported:
        return Unsupported(f"{self.nouns[1]} are the same only where they are equal")

    @property
    def cell_parts(self) -> Unsupported:
        return Unsupported(f"{self.nouns[0]} has no parts")

    def backbones(self, cells: Sequence[object]) -> Unsupported:
        return Unsupported(f"there are no pretrained backbones for {self.nouns[1]}")

    @property
    def pretrained(self) -> Unsupported:
        return Unsupported(f"there are no pretrained backbones for {self.nouns[1]}")

    @property
    def onnx(self) -> Unsupported:
        return Unsupported(f"there are no networks in ONNX format for {self.nouns[1]}")
