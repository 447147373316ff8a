"""transformers backbones of texts, tiny and random: cut at their own limits, whatever says these."""

from __future__ import annotations

import importlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from polysense.core.sample import Sample, SourceInfo
from polysense.core.schema import Schema
from polysense.data.batches.collate import collate
from polysense.data.batches.length_buckets import LengthBucket
from polysense.errors import ConfigError
from polysense.modalities.text.column import TextColumnConfig
from polysense.modalities.text.record import TextColumn, TextRequirements
from polysense.nn.pretrained import PretrainedConfig

transformers: Any = importlib.import_module("transformers")

_WIDTH = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_SMALL = _WIDTH | {"vocab_size": 40}
KINDS: dict[str, tuple[dict[str, Any], int | None]] = {
    # name: settings, tokens that it has positions for
    "Bert": (_SMALL | {"max_position_embeddings": 77}, 77),
    "Roberta": (_SMALL | {"max_position_embeddings": 79, "pad_token_id": 1}, 77),
    "XLMRobertaXL": (_SMALL | {"max_position_embeddings": 79, "pad_token_id": 1}, 77),
    "Data2VecText": (_SMALL | {"max_position_embeddings": 79, "pad_token_id": 1}, 77),
    "MPNet": (_SMALL | {"max_position_embeddings": 79}, 77),
    "DistilBert": (
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "vocab_size": 40, "max_position_embeddings": 77},
        77,
    ),
    "CLIPText": (_SMALL | {"max_position_embeddings": 77}, 77),
    "Bart": (
        {
            "vocab_size": 40,
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_position_embeddings": 77,
        },
        77,
    ),
    "GPT2": ({"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40, "n_positions": 77}, 77),
    "T5": ({"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 40}, None),
    "ModernBert": (_SMALL | {"max_position_embeddings": 77, "pad_token_id": 0}, 77),
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def save(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    settings = getattr(transformers, f"{kind}Config")(**KINDS[kind][0])
    transformers.AutoModel.from_config(settings).save_pretrained(folder)
    words = {"[PAD]": 0, "[UNK]": 1} | {f"w{i}": i for i in range(2, 40)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def limit(folder: Path) -> int | None:
    return TextRequirements.of(PretrainedConfig(path=str(folder)).requirements("note", "text")).max_tokens


def write(folder: Path, name: str, **settings: Any) -> None:
    (folder / name).write_text(json.dumps(settings))


@pytest.mark.parametrize("kind", list(KINDS))
def test_texts_of_any_length_are_run(kind: str, tmp_path: Path, fit: Any, source: SourceInfo, caplog: Any) -> None:
    path = save(kind, tmp_path)
    config, most = PretrainedConfig(path=str(path)), KINDS[kind][1]
    assert limit(path) == most
    texts = [" ".join(f"w{2 + i % 38}" for i in range(length)) for length in (500, 60, 3)]
    with caplog.at_level(logging.WARNING):
        processor = fit(TextColumnConfig(), texts, **vars(config.requirements("note", "text")))
        items = [processor.transform(text, source, tmp_path)[0] for text in texts]
    column = TextColumn.of(processor.column)
    assert [len(item) for item in items] == [500 if most is None else most, 60, 3]
    if most is not None:
        assert processor.num_truncated >= 1
        assert "cut to max_tokens=77, the most that its pretrained encoder takes; further cuts" in caplog.text
    encoder = config.build(column, 8).eval()
    schema = Schema(columns=(column,), targets=())
    samples = [Sample(row=row, values={column.name: [item]}) for row, item in enumerate(items)]
    batch = collate(samples, schema).columns[column.name]
    tokens = encoder(batch)
    assert tokens.values.isfinite().all()
    assert tokens.mask.sum(dim=1).tolist() == [len(item) for item in items]
    for row, each in enumerate(samples):  # as at prediction
        alone = encoder(collate([each], schema, shape=LengthBucket.of(each, schema).shape(schema)).columns[column.name])
        expected, result = tokens.values[row][tokens.mask[row]], alone.values[0][alone.mask[0]]
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)


def test_a_sentence_encoders_own_limit_counts_and_else_the_tokenizers(tmp_path: Path) -> None:
    bert, t5 = save("Bert", tmp_path / "bert"), save("T5", tmp_path / "t5")
    write(bert, "tokenizer_config.json", model_max_length=50)
    assert limit(bert) == 77
    write(bert, "sentence_bert_config.json", max_seq_length=32, do_lower_case=False)
    assert limit(bert) == 32
    write(bert, "sentence_bert_config.json", max_seq_length=None)
    assert limit(bert) == 77
    write(bert, "sentence_bert_config.json", max_seq_length=128)
    assert limit(bert) == 77
    write(t5, "tokenizer_config.json", model_max_length=50)
    assert limit(t5) == 50
    write(t5, "tokenizer_config.json", model_max_length=10**30)
    assert limit(t5) is None


def test_a_model_of_images_is_refused(tmp_path: Path) -> None:
    transformers.ViTConfig(**_WIDTH).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="a model of the type vit, which takes no texts"):
        limit(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["Bert", "T5", "GPT2"])
def test_a_file_of_half_the_bits_is_run_in_float32(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    half, whole = save(kind, tmp_path / "half"), save(kind, tmp_path / "whole")
    model = transformers.AutoModel.from_pretrained(str(half)).to(dtype)
    model.save_pretrained(half)
    model.float().save_pretrained(whole)
    column = TextColumn(name="note", vocabulary_size=40)
    samples = [Sample(row=0, values={"note": [torch.arange(2, 12, dtype=torch.int32).numpy()]})]
    batch = collate(samples, Schema(columns=(column,), targets=())).columns["note"]
    results = []
    for folder in (half, whole):
        torch.manual_seed(0)
        results.append(PretrainedConfig(path=str(folder)).build(column, 8).eval()(batch).values)
    assert torch.equal(*results)
