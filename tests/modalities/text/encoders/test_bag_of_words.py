"""The weighted counts are scikit-learn's, and the sparse sum is the linear map of them."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.text.column import TextColumnConfig
from polysense.modalities.text.encoders.bag_of_words import BagOfWords, BagOfWordsConfig, hashed_pairs
from polysense.modalities.text.record import TextColumn

sklearn_text: Any = importlib.import_module("sklearn.feature_extraction.text")

SIZE = 20


@pytest.fixture(scope="module")
def ids() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 30, (60,), generator=generator)
    # Squared uniforms: some words are frequent, so that counts above 1 are common; id 0 is the padding.
    values = (torch.rand(60, 30, generator=generator).square() * (SIZE - 1) + 1).int()
    return values, lengths


def dense(values: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
    rows = [np.bincount(row[:n], minlength=SIZE) for row, n in zip(values.tolist(), lengths.tolist(), strict=True)]
    return np.stack(rows)


def column(counts: np.ndarray) -> Column:
    shares = tuple(((counts > 0).sum(axis=0) / len(counts)).tolist())
    return TextColumn(
        name="note",
        vocabulary_size=SIZE,
        document_frequencies=shares,
        num_documents=len(counts),
    )


def vectors(config: BagOfWordsConfig, fitted: Column, values: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
    """The features themselves: an encoder whose linear map is the identity."""
    encoder = config.build(fitted, SIZE)
    with torch.no_grad():
        encoder.weight.copy_(torch.eye(len(encoder.weight), SIZE))
        encoder.bias.zero_()
        return encoder.encode_items(values, lengths, None).values[:, 0].numpy()


@pytest.mark.parametrize("log_counts", [False, True])
@pytest.mark.parametrize("weighting", ["counts", "binary", "tfidf"])
def test_the_vector_is_scikit_learns(
    weighting: Literal["counts", "binary", "tfidf"], log_counts: bool, ids: tuple[torch.Tensor, torch.Tensor]
) -> None:
    values, lengths = ids
    counts = dense(values, lengths)
    train, test = counts[:40], counts[40:]
    config = BagOfWordsConfig(weighting=weighting, log_counts=log_counts)
    found = vectors(config, column(train), values[40:], lengths[40:])
    if weighting == "binary":
        expected = (test > 0).astype(float)
    else:
        options = {"norm": "l2", "use_idf": True} if weighting == "tfidf" else {"norm": None, "use_idf": False}
        transformer = sklearn_text.TfidfTransformer(sublinear_tf=log_counts, **options).fit(train)
        expected = transformer.transform(test).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert counts.max() > 3, "else counts would not be told from presence"


def test_from_texts_it_is_the_tfidf_vectorizer(tmp_path: Path) -> None:
    texts = ["the cat sat on the mat", "a dog sat", "the dog and the cat", "mat and dog and mat"]
    processor = TextColumnConfig(min_frequency=1).build("note")
    sources = [SourceInfo(table="t", row=i, column="note") for i in range(len(texts))]
    config = BagOfWordsConfig()
    fitted = processor.fit(texts, sources, tmp_path, config.requirements("note", "text"))
    vectorizer = sklearn_text.TfidfVectorizer(token_pattern=r"\w+").fit(texts)
    for text in [*texts, "cat cat dog"]:
        row = torch.from_numpy(processor.transform(text, sources[0], tmp_path)[0])[None]
        encoder = config.build(fitted, 4)
        features, weights = encoder.weighted_features(row, torch.tensor([row.shape[1]]))
        found: dict[str, float] = {}
        for feature, weight in zip(features[0].tolist(), weights[0].tolist(), strict=True):
            word = processor.tokenizer.id_to_token(feature)
            found[word] = found.get(word, 0.0) + weight
        requested = vectorizer.transform([text]).toarray()[0]
        names = vectorizer.get_feature_names_out()
        assert found == pytest.approx({word: value for word, value in zip(names, requested, strict=True) if value})


def test_a_text_with_little_to_say_stays_near_neutral_after_normalizing() -> None:
    """Without a constant beside it, a layer norm would blow one word's evidence up to that of fifty."""
    torch.manual_seed(0)
    encoder = BagOfWordsConfig(weighting="counts").build(column(np.ones((1, SIZE), dtype=np.int64)), SIZE)
    with torch.no_grad():
        encoder.weight.copy_(torch.full_like(encoder.weight, 0.01) * torch.randn(SIZE))
    values = (torch.arange(50, dtype=torch.int32) % (SIZE - 2) + 2)[None].repeat(3, 1)
    tokens = encoder.encode_items(values, torch.tensor([1, 50, 10]), None).values[:, 0]
    neutral, one, fifty, ten = torch.nn.functional.layer_norm(
        torch.stack([encoder.bias, *tokens]), (tokens.shape[1],)
    ).detach()
    little, some, much = ((found - neutral).norm() for found in (one, ten, fifty))
    assert little < some / 5 < much / 5


def test_the_order_counts_only_with_pairs() -> None:
    fitted = TextColumn(name="note", vocabulary_size=SIZE)
    values = torch.tensor([[3, 4, 5], [5, 4, 3]], dtype=torch.int32)
    lengths = torch.tensor([3, 3])
    for ngrams, same in ((1, True), (2, False)):
        torch.manual_seed(0)
        encoder = BagOfWordsConfig(weighting="counts", ngrams=ngrams, num_buckets=1000).build(fitted, 6)
        tokens = encoder.encode_items(values, lengths, None).values
        assert torch.allclose(tokens[0], tokens[1], atol=1e-6) is same


def test_a_pair_is_as_rare_as_its_rarer_word() -> None:
    fitted = TextColumn(
        name="note",
        vocabulary_size=4,
        document_frequencies=(0.0, 1.0, 0.5, 0.1),
        num_documents=10,
    )
    encoder = BagOfWordsConfig(ngrams=2, num_buckets=500).build(fitted, 4)
    _, weights = encoder.weighted_features(torch.tensor([[1, 2, 3]], dtype=torch.int32), torch.tensor([3]))
    one, two, three, pair, other = weights[0].tolist()
    assert one < two < three
    assert (pair, other) == pytest.approx((two, three))
    assert weights.square().sum().item() == pytest.approx(1)


def test_pairs_collide_as_often_as_said() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = torch.unique(torch.randint(0, 8000, (10_000, 2), generator=generator, dtype=torch.int32), dim=0)
    buckets, _ = hashed_pairs(pairs, torch.ones_like(pairs, dtype=torch.bool), 50_000)
    assert int(buckets.min()) >= 0
    assert int(buckets.max()) < 50_000
    sizes = torch.bincount(buckets.flatten(), minlength=50_000)
    shared = float(sizes[buckets.flatten()].gt(1).float().mean())
    assert shared == pytest.approx(1 - np.exp(-0.2), abs=0.02)
    # Neighboring ids, as frequent words have them, spread as well; and the order of a pair counts.
    grid = torch.cartesian_prod(torch.arange(100), torch.arange(100)).int()
    near, _ = hashed_pairs(grid, torch.ones_like(grid, dtype=torch.bool), 50_000)
    assert float(torch.bincount(near.flatten())[near.flatten()].gt(1).float().mean()) < 0.25
    swapped, _ = hashed_pairs(grid.flip(1), torch.ones_like(grid, dtype=torch.bool), 50_000)
    assert float((near == swapped).float().mean()) < 0.02


def test_it_asks_for_what_it_needs_and_says_what_is_missing() -> None:
    config = BagOfWordsConfig()
    assert config.requirements("note", "text").tokenization == "words"
    assert config.requirements("note", "text").token_frequencies
    assert not replace(config, weighting="counts").requirements("note", "text").token_frequencies
    bare = TextColumn(name="note", vocabulary_size=SIZE)
    with pytest.raises(ConfigError, match="document frequencies"):
        config.build(bare, 4)
    assert isinstance(replace(config, weighting="binary").build(bare, 4), BagOfWords)
    with pytest.raises(ConfigError, match="num_buckets"):
        BagOfWordsConfig(num_buckets=0)
