"""What every text encoder promises, and that texts of every script reach it from a table's cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from polysense.core.batch import ColumnBatch
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.data.column import ColumnProcessor
from polysense.modalities.text.column import TextColumnConfig
from polysense.modalities.text.encoders.bag_of_words import BagOfWordsConfig
from polysense.modalities.text.encoders.cnn import TextCNNConfig
from polysense.modalities.text.encoders.embedding_bag import EmbeddingBagConfig
from polysense.modalities.text.encoders.rnn import TextRNNConfig
from polysense.modalities.text.encoders.word_vectors import WordVectorsConfig
from polysense.modalities.text.record import TextColumn
from polysense.nn.encoder import Encoder, EncoderConfig

WORDS = ("<pad>", "<unk>", *(f"w{i}" for i in range(28)))
COLUMN = TextColumn(
    name="note",
    vocabulary_size=30,
    vocabulary=WORDS,
    document_frequencies=(0.0, 0.5, *(1 / (i + 1) for i in range(28))),
    num_documents=40,
)
CONFIGS: list[EncoderConfig] = [
    BagOfWordsConfig(weighting="counts"),
    BagOfWordsConfig(weighting="binary", ngrams=2, num_buckets=50),
    BagOfWordsConfig(weighting="tfidf", ngrams=2, num_buckets=50),
    BagOfWordsConfig(weighting="tfidf", log_counts=True),
    EmbeddingBagConfig(pooling="mean", dropout=0.1),
    EmbeddingBagConfig(pooling="sum", ngrams=2, num_buckets=50),
    EmbeddingBagConfig(pooling="max", ngrams=2, num_buckets=50),
    TextRNNConfig(cell="lstm", embedding_size=12, hidden_size=10),
    TextRNNConfig(cell="gru", num_layers=2, embedding_size=12, hidden_size=10, output="last"),
    TextRNNConfig(cell="gru", bidirectional=False, embedding_size=12, hidden_size=10, output="last"),
    TextCNNConfig(num_filters=6, embedding_size=12),
    TextCNNConfig(num_filters=6, embedding_size=12, output="positions"),
    WordVectorsConfig(path="vectors.txt"),
    WordVectorsConfig(path="vectors.txt", tune="full", output="words", missing="random", dropout=0.1),
]


def name_of(config: EncoderConfig) -> str:
    return "-".join(str(value) for value in vars(config).values() if isinstance(value, str))


@pytest.fixture(params=CONFIGS, ids=name_of)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> EncoderConfig:
    found: EncoderConfig = request.param
    if isinstance(found, WordVectorsConfig):
        path = tmp_path / "vectors.txt"
        numbers = np.random.default_rng(0).normal(size=(25, 7)).round(3)
        path.write_text("".join(f"w{i} {' '.join(map(str, row))}\n" for i, row in enumerate(numbers)))
        found = replace(found, path=str(path))
    return found


def build(config: EncoderConfig, column: Column = COLUMN) -> Encoder:
    torch.manual_seed(0)
    return config.create(column, 8)


def batch(rows: Sequence[Sequence[int]], length: int, junk: int = 0) -> ColumnBatch:
    values = torch.full((len(rows), 1, length), junk, dtype=torch.int32)
    for i, row in enumerate(rows):
        values[i, 0, : len(row)] = torch.tensor(row, dtype=torch.int32)
    return ColumnBatch(values=values, lengths=torch.tensor([[len(row)] for row in rows]))


ROWS = [[3, 4, 3, 5, 9, 3], [7], [], [2, 29, 1, 1], [8, 8]]


def test_neither_padding_nor_batch_mates_change_a_row(config: EncoderConfig) -> None:
    encoder = build(config).eval()
    together = encoder(batch(ROWS, 6))
    # What lies beyond a text may be anything, even no token at all.
    for other in (batch(ROWS, 11, junk=7), batch(ROWS, 6, junk=10_000)):
        padded = encoder(other)
        for i, row in enumerate(ROWS):
            torch.testing.assert_close(
                padded.values[i][padded.mask[i]], together.values[i][together.mask[i]], atol=1e-5, rtol=1e-5
            )
            assert padded.present[i] == together.present[i] == bool(row)
    for i, row in enumerate(ROWS):
        alone = encoder(batch([row], max(len(row), 1)))
        torch.testing.assert_close(
            alone.values[0][alone.mask[0]], together.values[i][together.mask[i]], atol=1e-5, rtol=1e-5
        )


def test_an_absent_text_is_masked_and_finite_and_every_parameter_learns(config: EncoderConfig) -> None:
    encoder = build(config).train()
    for rows in ([[], []], ROWS):
        encoder.zero_grad()
        tokens = encoder(batch(rows, 6, junk=4))
        assert tokens.mask.shape == tokens.values.shape[:2]
        assert tokens.present.tolist() == [bool(row) for row in rows]
        assert tokens.values.isfinite().all()
        (tokens.values * tokens.mask[..., None]).square().sum().backward()
        for name, parameter in encoder.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if rows is ROWS:
                assert parameter.grad.any(), name
            elif name in ("weight", "vectors", "embedding.weight"):
                assert not parameter.grad.any(), f"{name}: padding teaches nothing"


def test_dropout_is_off_outside_training(config: EncoderConfig) -> None:
    encoder = build(config).eval()
    inputs = batch(ROWS, 6)
    assert torch.equal(encoder(inputs).values, encoder(inputs).values)


def test_texts_of_a_dialogue_keep_their_positions(config: EncoderConfig) -> None:
    encoder = build(config, dataclasses.replace(COLUMN, multiple=True, max_items=3)).eval()
    values = torch.zeros(2, 3, 4, dtype=torch.int32)
    values[0, 0, :3] = torch.tensor([3, 4, 5])
    values[0, 1, :2] = torch.tensor([6, 7])
    values[1, 1, :3] = torch.tensor([3, 4, 5])
    values[1, 0, :2] = torch.tensor([6, 7])
    lengths = torch.tensor([[3, 2, 0], [2, 3, 0]])
    tokens = encoder(ColumnBatch(values=values, lengths=lengths))
    assert tokens.grid[0] == 3
    per_item = tokens.values.view(2, 3, -1, 8)
    mask = tokens.mask.view(2, 3, -1)
    assert mask.any(dim=2).tolist() == [[True, True, False]] * 2
    # The same two texts in the other order: what changes is their positions' vectors alone, and they do.
    shift = per_item[0, 0, 0] - per_item[1, 1, 0]
    assert shift.abs().max() > 0.1
    torch.testing.assert_close(per_item[1, 0, 0] - per_item[0, 1, 0], shift, atol=1e-5, rtol=1e-5)


TEXTS = {
    "arabic": ["القط على السجادة", "الكلب في الحديقة"],
    "hebrew": ["החתול על השטיח", "הכלב בגינה"],
    "chinese": ["猫坐在垫子上", "狗在花园里"],
    "hindi": ["बिल्ली चटाई पर है", "कुत्ता बगीचे में है"],
    "thai": ["แมวนั่งบนเสื่อ", "หมาอยู่ในสวน"],
    "emoji": ["🐈 🛋️ 👍🏽", "🐕 🌳 👩‍👩‍👧"],
}
KNOWN = ["القط", "הכלב", "猫", "狗", "है", "में", "🐈", "👩‍👩‍👧", "แ"]


def test_every_script_reaches_the_tokens(config: EncoderConfig, tmp_path: Path) -> None:
    if isinstance(config, WordVectorsConfig):
        lines = [f"{word} {i}.5 -{i}.25\n" for i, word in enumerate(KNOWN)]
        (tmp_path / "scripts.vec").write_text(f"{len(lines)} 2\n" + "".join(lines), encoding="utf-8")
        config = replace(config, path=str(tmp_path / "scripts.vec"))
    cells = [text for texts in TEXTS.values() for text in texts] * 2
    processor = TextColumnConfig().build("note")
    sources = [SourceInfo(table="t", row=i, column="note") for i in range(len(cells))]
    column = processor.fit(cells, sources, tmp_path, config.requirements("note", "text"))
    state = processor.save(tmp_path / "saved")
    loaded = ColumnProcessor.load(state, tmp_path / "saved")
    assert loaded.column == column
    encoder = build(config, column).eval()
    for script, texts in TEXTS.items():
        ids = [loaded.transform(text, sources[0], tmp_path)[0].tolist() for text in texts]
        tokens = encoder(batch(ids, max(map(len, ids))))
        assert tokens.present.all()
        assert tokens.values.isfinite().all()
        assert not torch.allclose(tokens.mean()[0], tokens.mean()[1], atol=1e-7), script
