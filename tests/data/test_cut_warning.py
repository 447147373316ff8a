from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.training_cells import cut_warning, length_limit
from polysense.modalities.text import column as module
from polysense.modalities.text.column import TextColumnConfig


@given(st.lists(st.integers(1, 10_000), max_size=50), st.none() | st.integers(1, 10_000))
def test_a_cut_is_told_of_if_and_only_if_there_is_one(lengths: list[int], limit: int | None) -> None:
    warnings = cut_warning(lengths, limit, "max_tokens", "tokens")
    assert bool(warnings) == (limit is not None and max(lengths, default=0) > limit)


def test_a_warning_says_how_many_and_how_much() -> None:
    lengths = [100] * 98 + [300, 1000]
    (warning,) = cut_warning(lengths, 200, "max_seconds", "seconds", per_unit=10)
    assert warning == (
        "2 of the 100 training items are cut to 20 seconds (max_seconds), the longest of 100; with them 8.11% of all "
        "seconds"
    )
    (warning,) = cut_warning(lengths, 200, "max_seconds", "seconds", is_sample=True)
    assert warning.startswith("2 of the 100 training items that were looked at are cut to 200 seconds")
    assert length_limit(lengths, 1) == 400


def fitted_warnings(texts: list[str], config: TextColumnConfig) -> tuple[str, ...]:
    processor = config.build("note")
    sources = [SourceInfo(table="t", row=i, column="note") for i in range(len(texts))]
    for _ in range(2):  # fitting anew forgets what was said before
        processor.fit(texts, sources, Path(), Requirements())
    return processor.warnings


@pytest.mark.parametrize("limit", ["auto", 50])
def test_a_column_tells_of_its_long_cell(limit: int | str) -> None:
    texts = [f"a short note number {i}" for i in range(60)]
    config = TextColumnConfig(max_tokens=limit)  # type: ignore[arg-type]
    assert fitted_warnings(texts, config) == ()
    (warning,) = fitted_warnings([*texts, "word after word " * 1000], config)
    assert warning.startswith("1 of the 61 training items is cut to")
    assert f"cut to {256 if limit == 'auto' else 50} tokens" in warning
    assert fitted_warnings([*texts, "word after word " * 1000], TextColumnConfig(max_tokens=None)) == ()


@pytest.mark.parametrize("limit", ["auto", 256])
def test_a_long_cell_is_told_of_wherever_it_lies(limit: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"a short note number {i}, ü" for i in range(900)]
    config = TextColumnConfig(max_tokens=limit, vocabulary_size=300)  # type: ignore[arg-type]
    for place in (0, 333, 900):
        (warning,) = fitted_warnings([*texts[:place], "word " * 400, *texts[place:]], config)
        assert warning.startswith("1 of the 901 training items is cut to 256 tokens")
    with monkeypatch.context() as patch:  # where many may be long a sample is looked at, and said to be one
        patch.setattr(module, "_MOST_LONG", 0)
        (warning,) = fitted_warnings(["word " * 400] * 20 + texts, config)
        assert "of the 500 training items that were looked at are cut to 256 tokens" in warning
    (warning,) = fitted_warnings(["word " * 400] * 20 + texts, config)
    assert warning.startswith("20 of the 920 training items are cut to 256 tokens")
