"""Texts as targets: every script, several references, empty and too long ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.batches.collate import collate
from polysense.data.batches.loader import draw_references
from polysense.data.tables.sources import Table, read_table
from polysense.data.target import TargetProcessor
from polysense.data.training_cells import length_limit
from polysense.errors import BundleError, ColumnError, DecodeError
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.target import GenerationProcessor, GenerationTargetConfig
from polysense.tasks.generation.tokenizer import BEGIN, END, PADDING, OutputTokenizer, tidy

WORDS = ["a small dog", "two dogs run", "the dog sleeps", "a cat on a mat", "l'été, enfin!", "قطة صغيرة"]


def table(cells: list[Any]) -> Table:
    return read_table({"y": cells}, name="t")


def fitted(cells: list[Any], **settings: Any) -> GenerationProcessor:
    found = GenerationTargetConfig(**settings).build("y")
    found.fit(table(cells))
    return found


@pytest.fixture(scope="module")
def subwords() -> OutputTokenizer:
    return OutputTokenizer.train(WORDS * 5, "subwords", size=None, min_frequency=2, lowercase=False)


@given(text=st.text(max_size=60))
def test_subwords_spell_any_text(subwords: OutputTokenizer, text: str) -> None:
    ids = subwords.encode(text)
    assert not {PADDING, BEGIN, END} & set(ids)
    assert subwords.decode([BEGIN, *ids, END, 7, 8, PADDING]) == tidy(text)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("characters", "a  cat, dog", "a  cat, dog"),
        ("characters", "a 猫 ate", "a \ufffd ate"),
        ("words", " the   dog on a mat ", "the dog on a mat"),
        ("words", "the wolf", "the \ufffd"),
        ("subwords", "猫 und Щи — 😀 ﷽", "猫 und Щи — 😀 ﷽"),
        ("subwords", "</s> <pad> <end of text> <no token>", "</s> <pad> <end of text> <no token>"),
    ],
)
def test_kinds_of_tokens(kind: Any, text: str, expected: str) -> None:
    tokenizer = OutputTokenizer.train(WORDS * 5, kind, size=None, min_frequency=2, lowercase=False)
    assert tokenizer.decode(tokenizer.encode(text)) == expected


def test_what_the_head_learns_of_it() -> None:
    target = fitted([*WORDS, None, "", "  ", "a small dog"])
    found = target.target
    assert (found.task, found.num_rows, found.most_frequent) == ("generation", 7, "a small dog")
    assert (found.padding_id, found.begin_id, found.end_id) == (0, 1, 2)
    assert found.vocabulary_size > 256
    values = [target.transform(table(WORDS), i) for i in range(len(WORDS))]
    assert found.max_length == max(len(value) - 1 for value in values if value is not None)
    first = values[0]
    assert first is not None
    assert first.dtype == np.int32
    assert (first[0], first[-1]) == (BEGIN, END)
    assert target.render(first[1:]) == "a small dog"
    assert [target.transform(table([cell]), 0) for cell in (None, "", " \n ", [], [""])] == [None] * 5


def test_numbers_and_lists_and_what_is_no_text() -> None:
    target = fitted([*WORDS, ["one", "two", "", None]])
    assert target.references(table(WORDS), 0) == ["a small dog"]
    assert target.references(table([["one", " two ", ""], ["x"]]), 0) == ["one", "two"]
    assert target.references(table(['["one", "two"]']), 0) == ['["one", "two"]'], "a text is no list"
    assert target.references(table([12]), 0) == ["12"]
    with pytest.raises(DecodeError, match="expected a text or a list of texts"):
        target.transform(table([{"a": 1}]), 0)
    assert target.references(table([{"a": 1}]), 0) == []


def test_nothing_to_learn_from() -> None:
    with pytest.raises(ColumnError, match="no training row has a text"):
        fitted([None, "", " "])
    with pytest.raises(ColumnError, match="all 3 training texts are 'a dog'"):
        fitted(["a dog"] * 3)


def test_too_long() -> None:
    cells = ["a b c d e f", "a b", "a b c"]
    options: dict[str, Any] = {"tokens": "words", "min_frequency": 1, "max_tokens": 3}
    cut = fitted(cells, **options)
    (warning,) = cut.warnings
    assert warning == (
        "1 of 3 texts is longer than max_tokens=3, first t, row 0, column 'y' with 6 tokens, the longest 6; cut, and "
        "with it 27.27% of all tokens"
    )
    value = cut.transform(table(cells), 0)
    assert value is not None
    assert (len(value), END in value, cut.render(value)) == (4, False, "a b c"), "nobody learns to stop at a cut"
    assert cut.num_too_long == 1
    assert cut.references(table(cells), 0) == ["a b c d e f"], "it is compared with the whole text"
    retained = fitted(cells, **options, too_long="keep")
    assert retained.warnings[0].endswith("with 6 tokens; kept whole")
    value = retained.transform(table(cells), 0)
    assert value is not None
    assert retained.render(value) == "a b c d e f"
    with pytest.raises(ColumnError, match=r"1 of 3 texts is longer .* raise max_tokens"):
        fitted(cells, **options, too_long="refuse")
    refusing = fitted(cells[1:], **options, too_long="refuse")
    with pytest.raises(DecodeError, match="found a text of 6 tokens, expected at most max_tokens=3"):
        refusing.transform(table(cells), 0)


@given(st.lists(st.integers(1, 900), min_size=2, max_size=40, unique=True))
@settings(max_examples=20, deadline=None)
def test_the_longest_text_is_one_that_the_training_texts_make_likely(lengths: list[int]) -> None:
    cells = [" ".join("ab"[i % 2] for i in range(length)) for length in lengths]
    target = fitted(cells, tokens="words", min_frequency=1)
    assert target.max_tokens == length_limit(lengths, 256)
    num_cut = sum(length > target.max_tokens for length in lengths)
    assert len(target.warnings) == (num_cut > 0)
    for i, length in enumerate(lengths):
        value = target.transform(table(cells), i)
        assert value is not None
        assert len(value) == min(length + 2, target.max_tokens + 1)
    assert target.num_too_long == num_cut
    assert GenerationTarget.of(target.target).max_length == min(max(lengths), target.max_tokens) + 1


def test_a_text_that_is_much_longer_than_all_others_is_cut_and_told_of(tmp_path: Path) -> None:
    cells = ["a b c", "b a", "c", "a c b b"] * 10 + ["a b " * 5000]
    target = fitted(cells, tokens="words", min_frequency=1)
    assert target.max_tokens == 256
    (warning,) = target.warnings
    assert "1 of 41 texts is longer than max_tokens=256" in warning
    assert "the longest 10,000; cut, and with it 96" in warning
    loaded = TargetProcessor.load(target.save(tmp_path), tmp_path)
    assert isinstance(loaded, GenerationProcessor)
    assert (loaded.max_tokens, loaded.max_prompt_tokens) == (256, None)
    value = loaded.transform(table(cells), 40)
    assert value is not None
    assert len(value) == 257
    assert fitted(cells, tokens="words", min_frequency=1, max_tokens=None).warnings == ()


@pytest.mark.parametrize("kind", ["subwords", "words", "characters"])
def test_saved_and_loaded(kind: Any, tmp_path: Path) -> None:
    target = fitted([text.upper() for text in WORDS] * 2, tokens=kind, lowercase=True)
    loaded = TargetProcessor.load(target.save(tmp_path), tmp_path)
    assert isinstance(loaded, GenerationProcessor)
    assert loaded.target == target.target
    for i in range(len(WORDS)):
        before, after = target.transform(table(WORDS), i), loaded.transform(table(WORDS), i)
        assert before is not None
        assert after is not None
        assert before.tolist() == after.tolist()
        assert loaded.render(after) == WORDS[i].lower()
    state = target.save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        TargetProcessor.load(state, tmp_path)


def test_one_reference_is_drawn_for_each_row_and_epoch() -> None:
    cells = [["one dog", "two dogs run", "three"], "just one", [], *[["left", "right"]] * 60]
    target = fitted(cells, min_frequency=1)
    rows = table(cells)
    samples = [Sample(row=i) for i in range(len(cells))]
    for sample in samples:
        value = target.transform(rows, sample.row)
        if value is not None:
            sample.targets["y"] = value
    schema = Schema(columns=(), targets=(target.target,))

    def texts(epoch: int, chosen: list[int], seed: int = 0) -> list[str]:
        batch = collate([samples[i] for i in chosen], schema, all_references=True)
        drawn = draw_references(batch, seed, epoch).truths["y"]
        assert drawn.lengths is not None
        assert drawn.values.dim() == 2
        assert drawn.present.tolist() == [i != 2 for i in chosen]
        assert drawn.lengths.tolist() == [(row != PADDING).sum() for row in drawn.values]
        return [target.render(row) for row in drawn.values.numpy()]

    everyone = list(range(len(cells)))
    found = texts(0, everyone)
    assert found == texts(0, everyone)
    assert found[5:9] == texts(0, [5, 6, 7, 8]), "whoever the batch mates are"
    assert found != texts(0, everyone, seed=1)
    assert found[1:3] == ["just one", ""]
    by_epoch = [texts(epoch, everyone) for epoch in range(40)]
    assert {row[0] for row in by_epoch} == {"one dog", "two dogs run", "three"}
    counts = Counter(text for row in by_epoch for text in row[3:])
    assert abs(counts["left"] / counts.total() - 0.5) < 0.05
    # At prediction the first one, without a draw.
    first = collate(samples, schema).truths["y"]
    assert target.render(first.values[0].numpy()) == "one dog"
