"""Categories: ids by frequency, 0 for what training did not hold.

One value may be spelled in several ways by the containers that a table comes in: 1, 1.0, "1" and "1.0" are the same
category, True, "True" and "true" too, and "yes", "Y" and 1 in a column of truth values. "007" is not 7, and "1.50" is
not 1.5: a code is not a number.

With very many categories (customers, articles, domains) a table of them all is larger than the model and useless for
tomorrow's values. The hashing trick (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML
2009) puts every value, seen or not, into one of a fixed number of buckets. Its price is that values share buckets, so
how many do is computed at fitting, said, and kept. Two hash functions (Svenstrup et al., "Hash Embeddings for Efficient
Word Representations", NeurIPS 2017) make it rare that two values share both. The hash is BLAKE2b of the key's UTF-8, so
it is the same in every process and on every machine.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.logs import get_logger
from polysense.core.modality_spec import parts
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.column import ColumnConfig, ColumnProcessor, TrainingCells
from polysense.data.media.media import short
from polysense.data.values.category_key import category_key, truth_keys, unified, unified_note
from polysense.errors import ColumnError, DecodeError
from polysense.modalities.category.record import CategoryColumn, CategoryRequirements

HASHED = "its categories are hashed, and a bucket can't be turned back into what it holds"

__all__ = ["HASHED", "CategoryColumnConfig", "CategoryProcessor", "hashed_ids"]

_log = get_logger("polysense.data.columns")

_MOST_NAMED = 5  # unknown categories in a warning
_MOST_HASHES = 8  # a BLAKE2b digest has 64 bytes, 8 for each hash


def hashed_ids(key: str, num_buckets: int, num_hashes: int = 1) -> tuple[int, ...]:
    """A category's bucket under each hash function, in [1, num_buckets]; the same everywhere and always."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8 * num_hashes).digest()
    parts = (digest[8 * i : 8 * i + 8] for i in range(num_hashes))
    # 2^64 buckets' worth of bits: the remainder favors no bucket by more than one part in 10^12.
    return tuple(1 + int.from_bytes(part, "little") % num_buckets for part in parts)


@dataclass(frozen=True, kw_only=True)
class CategoryColumnConfig(ColumnConfig):
    """A category out of a limited set, such as a country or a product code.

    Attributes:
        min_count: A category seen less often than this in training counts as unknown.
        hash_buckets: For very many categories: hash them into this many buckets instead of keeping a list, so that
            values that training never saw get an id too. null keeps a list, unless the encoder hashes.
        num_hashes: Hash functions, each with its own buckets; two values are confused only if they share all.
    """

    modality: ClassVar[str] = "category"
    type: Literal["category"] = "category"
    min_count: PositiveInt = 1
    hash_buckets: int | None = None
    num_hashes: PositiveInt = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hash_buckets is not None and self.hash_buckets < 2:
            raise ValueError("hash_buckets: expected at least 2, or null")
        if not 1 <= self.num_hashes <= _MOST_HASHES:
            raise ValueError(f"num_hashes: expected 1 to {_MOST_HASHES}")

    def build(self, name: str) -> CategoryProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return CategoryProcessor(name, self)


class CategoryProcessor(ColumnProcessor):
    """Looks up or hashes categories; each item is int64 [1], or [hashes]."""

    config: CategoryColumnConfig

    @property
    def column(self) -> CategoryColumn:
        """See `ColumnProcessor`."""
        return CategoryColumn.of(super().column)

    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> CategoryColumn:
        requirements = CategoryRequirements.of(requirements)
        texts = Counter(value for value in cells.values() if isinstance(value, str))
        if texts and texts.total() == sum(1 for _ in cells.values()):  # each text once, and no cell can fail
            counts = _key_counts(texts)
        else:
            keys = cells.read(self.name, "categories", lambda cell, _: category_key(cell))
            counts = Counter(key for key in keys if key is not None)
        note = None if all(map(str.isascii, texts)) else unified_note(texts.elements())
        self.warnings = () if note is None else (note,)
        buckets, hashes = self._hashing(requirements)
        if buckets is not None:
            rate = self._collision_rate(counts, buckets, hashes)
            return CategoryColumn(name=self.name, num_categories=buckets + 1, num_hashes=hashes, collision_rate=rate)
        frequent = (key for key, count in counts.items() if count >= self.config.min_count)
        categories = sorted(frequent, key=lambda key: (-counts[key], key))
        spelled = _spellings(texts)
        return CategoryColumn(
            name=self.name,
            num_categories=1 + len(categories),
            categories=tuple(categories),
            spellings=tuple(spelled.get(key, key) for key in categories),
        )

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.column.categories, start=1)}

    @cached_property
    def _truths(self) -> Mapping[str, str]:
        return truth_keys(self.column.categories)

    def _id(self, key: str) -> int:
        """A category's id; 0 where training did not hold it."""
        position = self._ids.get(key, 0)
        return position or self._ids.get(self._truths.get(key.casefold(), ""), 0)

    @property
    def _why_unwritten(self) -> str | None:
        return HASHED if self.column.is_hashed else None

    def _hashing(self, requirements: CategoryRequirements) -> tuple[int | None, int]:
        """Buckets and hash functions, by the config or as the encoder asks; None, 1 for a list of categories."""
        config = self.config
        requested = requirements.hash_buckets
        if config.hash_buckets is None:
            buckets, hashes = requested, requirements.num_hashes or 1
        elif requested is None:
            buckets, hashes = config.hash_buckets, config.num_hashes
        elif (requested, requirements.num_hashes or 1) == (config.hash_buckets, config.num_hashes):
            buckets, hashes = requested, config.num_hashes
        else:
            raise ColumnError(
                f"column {self.name!r}: its encoder hashes into {requested} buckets with "
                f"{requirements.num_hashes or 1} function(s), "
                f"data.columns says {config.hash_buckets} with {config.num_hashes}; set it in one place"
            )
        if buckets is not None and config.min_count > 1:
            raise ColumnError(
                f"column {self.name!r}: min_count is {config.min_count}, but hashed categories are not counted; set it "
                f"to 1, or don't hash"
            )
        return buckets, hashes

    def _collision_rate(self, keys: Iterable[str], buckets: int, hashes: int) -> float:
        """The share of the distinct values that share all their buckets with another one."""
        taken = Counter(hashed_ids(key, buckets, hashes) for key in keys)
        distinct = sum(taken.values())
        rate = 1 - sum(count == 1 for count in taken.values()) / max(distinct, 1)
        expected = 1 - (1 - float(buckets) ** -hashes) ** max(distinct - 1, 0)
        _log.info(
            "column %r: %d distinct categories hashed into %d buckets by %d function(s): %.2f%% of them can't be told "
            "from another one (expected %.2f%%)",
            self.name, distinct, buckets, hashes, 100 * rate, 100 * expected,
        )  # fmt: skip
        return rate

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray | None:
        key = category_key(value)
        if key is None:
            return None
        column = self.column
        if column.is_hashed:
            return np.array(hashed_ids(key, column.num_categories - 1, column.num_hashes), dtype=np.int64)
        return np.array([self._id(key)], dtype=np.int64)

    def _cell_of(self, value: np.ndarray, spelled: bool) -> object:
        names = self.column.spellings if spelled else self.column.categories
        return names[int(value) - 1] if value else None

    def unfamiliar(self, cells: Iterable[object]) -> str | None:
        if self.column.is_hashed:
            return None
        total, unknown = 0, Counter[str]()
        for cell in cells:
            for part in parts(cell):
                try:
                    key = category_key(part)
                except DecodeError:
                    continue  # listed when its row is read
                total += key is not None
                if key is not None and not self._id(key):
                    unknown[key] += 1
        if not unknown:
            return None
        listed = ", ".join(short(key, 40) for key, _ in unknown.most_common(_MOST_NAMED))
        more = ", ..." if len(unknown) > _MOST_NAMED else ""
        share = f"all {total:,}" if unknown.total() == total else f"{unknown.total():,} of {total:,}"
        known = {category.casefold() for category in self.column.categories}
        hint = "; they differ in capitals alone" if all(key.casefold() in known for key in unknown) else ""
        return f"{share} cells hold categories that training did not know ({listed}{more}){hint}"

    def shift(self, items: Sequence[np.ndarray]) -> str | None:
        unknown = 0.0 if self.column.is_hashed else float(np.mean(np.stack(list(items)) == 0))
        if unknown <= 0.5:
            return None
        return f"{unknown:.0%} of its cells hold a category that its encoder does not know: they all look the same"


def _key_counts(texts: Mapping[str, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text, count in texts.items():
        key = category_key(text)
        if key is not None:
            counts[key] += count
    return counts


def _spellings(texts: Mapping[str, int]) -> dict[str, str]:
    """Per category that the training table mostly spells otherwise than its key ("True" for true), how."""
    counts: Counter[tuple[str, str]] = Counter()
    for text, count in texts.items():
        key = category_key(text)
        if key is not None:
            counts[key, unified(text)] += count
    usual: dict[str, str] = {}
    for (key, text), _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        usual.setdefault(key, text)
    return {key: text for key, text in usual.items() if text != key}
