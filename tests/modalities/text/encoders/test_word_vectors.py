"""Vectors are read from every usual form of the file, broken files are located, and bundles need no file."""

from __future__ import annotations

import dataclasses
import gzip
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from polysense.errors import BundleError, ConfigError, WeightsError
from polysense.modalities.text.encoders.word_vectors import WordVectorsConfig, read_vectors
from polysense.modalities.text.record import TextColumn

VOCABULARY = ("<pad>", "<unk>", "cat", "dog", "zürich", "new york", "gone")
COLUMN = TextColumn(
    name="note",
    vocabulary_size=7,
    vocabulary=VOCABULARY,
    document_frequencies=(0.0, 0.2, 0.8, 0.4, 0.2, 0.2, 0.2),
    num_documents=5,
)
LINES = ["the 9 9 9", "cat 1 2 3", "dog -4 5e-1 .25", "zürich 7 8 9", "new york 1 1 2"]
EXPECTED = np.array([[0, 0, 0], [0, 0, 0], [1, 2, 3], [-4, 0.5, 0.25], [7, 8, 9], [1, 1, 2], [0, 0, 0]])


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        (LINES, "\n"),
        (["5 3", *LINES], "\n"),
        (["5 3", *LINES], " \n"),  # word2vec and fastText leave a space behind the last number
        (LINES, "\r\n"),
        ([line[:-6] + line[-6:].replace(" ", "\t") for line in LINES[:2]] + LINES[2:], "\n"),
        (["\ufeff" + LINES[0], *LINES[1:]], "\n"),
        ([*LINES, "cat 0 0 0", "", "Cat 5 5 5"], "\n"),  # the first line of a word counts
        ([LINES[0], "Cat 5 5 5", *LINES[1:]], "\n"),  # the very spelling goes before another
    ],
    ids=["glove", "header", "trailing space", "crlf", "tabs", "bom", "repeated", "capital first"],
)
def test_every_usual_form_is_read(lines: list[str], end: str, tmp_path: Path) -> None:
    path = write(tmp_path / "vectors.txt", lines, end)
    packed = tmp_path / "vectors.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        vectors, known = read_vectors(file, VOCABULARY)
        np.testing.assert_array_equal(vectors, EXPECTED)
        assert known.tolist() == [False, False, True, True, True, True, False]


def test_another_spelling_is_better_than_none(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", ["Cat 1 2", "CAT 3 4", "dog 5 6", "ｄｏｇ 7 8"])
    vectors, known = read_vectors(path, ("cat", "DOG", "Dog", "dog"))
    assert vectors.tolist() == [[1, 2], [5, 6], [5, 6], [5, 6]]
    assert known.all()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["cat 1 2 3", "the 1 2"], r"v\.txt, line 2: found 3 fields .*expected a word and 3 numbers"),
        (["2 3", "cat 1 2"], r"v\.txt, line 2: found 3 fields"),
        (["cat 1 2 3", "dog 1 x 3"], r"v\.txt, line 2: found 'x' among .*expected 3 finite numbers"),
        (["cat 1 2 3", "dog 1 nan 3"], r"v\.txt, line 2: found 'nan'"),
        (["cat 1 2 3", "other 1 2 3 4 y"], r"v\.txt, line 2: found 'y'"),
        (["cat"], r"v\.txt, line 1: found 1 fields"),
        ([], r"v\.txt: holds no word vectors \(0 lines\)"),
        (["fish 1 2 3"], r"has none of the 5 words of column 'note', such as \['cat', 'dog'"),
    ],
)
def test_a_broken_file_is_located(lines: list[str], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", lines)
    with pytest.raises(WeightsError, match=message):
        WordVectorsConfig(path=str(path)).build(COLUMN, 4)


def test_other_files_are_a_clear_error(tmp_path: Path) -> None:
    def read(content: bytes) -> None:
        (tmp_path / "file").write_bytes(content)
        read_vectors(tmp_path / "file", VOCABULARY)

    with pytest.raises(WeightsError, match="can't be read"):
        read_vectors(tmp_path / "gone.txt", VOCABULARY)
    with pytest.raises(WeightsError, match="can't be read"):
        read_vectors(tmp_path, VOCABULARY)
    with pytest.raises(WeightsError, match="unpack it"):
        read(b"PK\x03\x04 and so on")
    with pytest.raises(WeightsError, match="can't be read"):
        read(gzip.compress("\n".join(LINES * 50).encode())[:-20])
    with pytest.raises(WeightsError, match=r"word2vec's \.bin has to be converted"):
        read(b"5 3\ncat \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0bdog \x00\x00")


def test_coverage_is_measured_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "v.txt", ["9 2", "cat 1 2", "dog 3 4", "<unk> 5 6"])
    with caplog.at_level(logging.INFO, logger="polysense"):
        encoder = WordVectorsConfig(path=str(path)).build(COLUMN, 4)
    assert encoder.coverage.vocabulary == pytest.approx(2 / 5)
    assert encoder.coverage.texts == pytest.approx((0.8 + 0.4) / 2.0), "the unknown word is not covered"
    assert "covers 40.0% of the 5 words of column 'note', and 60.0% of the words in its texts" in caplog.text
    assert "announces 9 vectors, it holds 3" in caplog.text
    assert encoder.vectors[1].tolist() == [5, 6], "the file's own unknown is used"


def test_frozen_vectors_stay_and_tuned_ones_learn(tmp_path: Path) -> None:
    path = str(write(tmp_path / "v.txt", LINES))
    ids, lengths = torch.tensor([[2, 3, 6]], dtype=torch.int32), torch.tensor([3])
    frozen = WordVectorsConfig(path=path).build(COLUMN, 4)
    assert "vectors" not in dict(frozen.named_parameters())
    assert list(frozen.pretrained_parameters()) == []
    np.testing.assert_array_equal(frozen.vectors.numpy(), EXPECTED)
    mean = torch.tensor(EXPECTED[[2, 3, 6]].mean(axis=0), dtype=torch.float32)
    torch.testing.assert_close(frozen.encode_items(ids, lengths, None).values[0, 0], frozen.projection(mean))
    tuned = WordVectorsConfig(path=path, tune="full", output="words").build(COLUMN, 4)
    tokens = tuned.encode_items(ids, lengths, None)
    torch.testing.assert_close(tokens.values[0], tuned.projection(tuned.vectors[[2, 3, 6]]))
    tokens.values.sum().backward()
    (parameter,) = tuned.pretrained_parameters()
    assert parameter.grad is not None
    assert parameter.grad.any(dim=1).tolist() == [False, False, True, True, False, False, True]


def test_random_vectors_have_the_spread_of_the_known_ones(tmp_path: Path) -> None:
    torch.manual_seed(0)
    words = tuple(f"w{i}" for i in range(200))
    column = dataclasses.replace(
        COLUMN, vocabulary_size=202, vocabulary=("<pad>", "<unk>", *words), document_frequencies=(0.1,) * 202
    )
    path = tmp_path / "v.txt"
    numbers = np.random.default_rng(0).normal(scale=3.0, size=(100, 20))
    write(path, [f"w{i} {' '.join(map(str, row))}" for i, row in enumerate(numbers)])
    vectors = WordVectorsConfig(path=str(path), missing="random").build(column, 4).vectors
    assert vectors[102:].std().item() == pytest.approx(3.0, rel=0.1)
    assert vectors[1].any()
    assert not vectors[0].any(), "padding stays zero"


def test_a_bundle_needs_no_file(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", LINES)
    config = WordVectorsConfig(path=str(path))
    encoder = config.build(COLUMN, 4)
    encoder.save_resources(tmp_path / "resources")
    path.unlink()
    loaded = config.build(COLUMN, 4, tmp_path / "resources")
    loaded.load_state_dict(encoder.state_dict())
    assert loaded.coverage == encoder.coverage
    ids, lengths = torch.tensor([[2, 3, 6]], dtype=torch.int32), torch.tensor([3])
    assert torch.equal(loaded.encode_items(ids, lengths, None).values, encoder.encode_items(ids, lengths, None).values)
    with pytest.raises(WeightsError, match="can't be read"):
        config.build(COLUMN, 4)
    (tmp_path / "resources" / "word_vectors.json").write_text("{}")
    with pytest.raises(BundleError, match="save the model again"):
        config.build(COLUMN, 4, tmp_path / "resources")


def test_it_asks_for_the_words() -> None:
    requested = WordVectorsConfig(path="v.txt").requirements("note", "text")
    assert (requested.tokenization, requested.vocabulary, requested.token_frequencies) == ("words", True, True)
    bare = TextColumn(name="note", vocabulary_size=7)
    with pytest.raises(ConfigError, match="fit it again"):
        WordVectorsConfig(path="v.txt").build(bare, 4)
