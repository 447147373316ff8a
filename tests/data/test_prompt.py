"""Prompts: templates, what is missing in them, and that they reach a batch."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polysense.core.schema import Requirements
from polysense.data.batches.collate import collate
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.length_buckets import LengthBucket
from polysense.data.batches.loader import PredictLoader
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.prompt import PromptTemplate
from polysense.data.tables.sources import read_table
from polysense.errors import ColumnError, ConfigError, WeightsError
from polysense.modalities.text.column import TextColumnConfig
from polysense.tasks.generation.record import GenerationRequirements
from polysense.tasks.generation.target import GenerationTargetConfig
from polysense.tasks.generation.tokenizer import tidy

LanguageModel = Callable[[str], Path]

ROWS: list[dict[str, Any]] = [
    {"note": "a b", "question": "what is it?", "answer": "a cat"},
    {"note": "c", "question": None, "answer": "a dog"},
    {"note": "d e f", "question": "and how many of them are there in all of the picture?", "answer": "two"},
    {"note": None, "question": 7, "answer": ["three", "3"]},
]
TEMPLATE = "Question: {question}\nAnswer:"


def processor(
    rows: list[dict[str, Any]] = ROWS, requirements: Requirements | None = None, **settings: Any
) -> Processor:
    config = DataConfig(
        columns={"note": TextColumnConfig()},
        targets={"answer": GenerationTargetConfig(**{"prompt": TEMPLATE, "min_frequency": 1, **settings})},
    )
    return Processor.fit(read_table(rows), config, {}, {"answer": requirements or Requirements()})


def spelled(made: Processor, row: int, table: Any = None) -> str:
    sample = made.transform(table or read_table(ROWS), row, with_targets=False)
    return made.targets["answer"].decode(sample.prompts["answer"].tolist())  # type: ignore[attr-defined, no-any-return]


def test_a_template_is_filled_row_by_row() -> None:
    made = processor()
    assert spelled(made, 0) == "Question: what is it?\nAnswer:"
    assert spelled(made, 1) == "Question: \nAnswer:", "a missing cell is put in as nothing"
    assert spelled(made, 3) == "Question: 7\nAnswer:"


def test_a_table_without_the_column_is_as_one_with_empty_cells(caplog: pytest.LogCaptureFixture) -> None:
    made = processor()
    with caplog.at_level(logging.WARNING):
        assert spelled(made, 0, read_table([{"note": "x"}])) == "Question: \nAnswer:"
    assert "has no column 'question'" in caplog.text


def test_braces_and_wrong_templates() -> None:
    assert PromptTemplate.parse("{{a}} {b}{b} }}", "t").columns == ("b",)
    source = read_table([{"b": "x"}])
    assert PromptTemplate.parse("{{a}} {b}{b} }}", "t").pieces(source, 0, {}, tidy) == ["{a} xx }"]
    for wrong, found in (("a { b", "'{' at character 2"), ("a}", "'}' at character 1"), ("{}", "'{}' at character 0")):
        with pytest.raises(ConfigError, match=f"data.targets.t.prompt: found {found}; expected"):
            PromptTemplate.parse(wrong, "t")


def test_a_prompt_can_name_neither_the_answer_nor_what_is_not_there() -> None:
    with pytest.raises(
        ColumnError, match=r"names \{topic\}, but .* has no such column \(it has note, question, answer\)"
    ):
        processor(prompt="{topic}?")
    with pytest.raises(ConfigError, match="the target's own column"):
        processor(prompt="{answer}")


def test_the_name_of_a_media_column_is_a_place() -> None:
    target = GenerationTargetConfig(prompt="See {photo}: {question}").build("answer")
    source = read_table([{**row, "photo": "x.png"} for row in ROWS])
    target.fit(source, None, {"photo": "image", "note": "text"})
    assert target.target.placeholders == ("photo",)
    prompt = target.prompt(source, 0)
    assert prompt is not None
    (place,) = np.flatnonzero(prompt.ids == target.target.first_placeholder)
    assert target.decode(prompt.ids[:place].tolist()) == "See"
    assert target.decode(prompt.ids[place + 1 :].tolist()) == ": what is it?"


def test_a_prompt_that_is_too_long_loses_its_beginning() -> None:
    made = processor(max_prompt_tokens=4)
    sample = made.transform(read_table(ROWS), 2, with_targets=True)
    assert len(sample.prompts["answer"]) == 4
    assert spelled(processor(max_prompt_tokens=None), 2).endswith(spelled(made, 2).strip())
    assert made.schema.target("answer").typical_prompt == 4


def test_the_longest_prompt_is_one_that_the_training_rows_make_likely() -> None:
    rows = [{**ROWS[i % len(ROWS)]} for i in range(40)]
    rows[7] = {**rows[7], "question": "what is it " * 3000}
    target = GenerationTargetConfig(prompt="See {question}").build("answer")
    target.fit(read_table(rows), None, {"note": "text"})
    assert target.max_prompt_tokens == 512
    assert any("of the prompts 1 of the 40 training items" in warning for warning in target.warnings)
    prompt = target.prompt(read_table(rows), 7)
    assert prompt is not None
    assert len(prompt.ids) == 512


def test_prompts_reach_batches_with_and_without_targets() -> None:
    made = processor()
    source = read_table(ROWS)
    samples = [made.transform(source, i, with_targets=True) for i in range(4)]
    batch = collate(samples, made.schema)
    prompt = batch.prompts["answer"]
    for i, sample in enumerate(samples):
        length = int(prompt.lengths[i, 0])
        assert prompt.values[i, 0, :length].tolist() == sample.prompts["answer"].tolist()
        assert (prompt.values[i, 0, length:] == made.schema.target("answer").padding_id).all()
    bare = collate([made.transform(source, i, with_targets=False) for i in range(4)], made.schema, with_targets=False)
    assert bare.prompts["answer"].values.tolist() == prompt.values.tolist()
    assert not bare.truths


def test_a_prompts_padding_is_its_own_rows_affair() -> None:
    made = processor()
    source = read_table(ROWS)
    found: dict[int, list[int]] = {}
    for chosen in ([0, 1, 2, 3], [2], [0, 3], [1]):
        part = source.select(np.array(chosen))
        for batch in PredictLoader(TableDataset(part, made, with_targets=False), made.schema, 4):
            for index, row in enumerate(batch.rows.tolist()):
                if row >= 0:
                    ids = batch.prompts["answer"].values[index, 0].tolist()
                    assert found.setdefault(chosen[row], ids) == ids
    lengths = {len(ids) for ids in found.values()}
    assert len(lengths) > 1, "there are levels"
    sample = made.transform(source, 2, with_targets=False)
    assert LengthBucket.of(sample, made.schema).prompts(made.schema)["answer"] >= len(sample.prompts["answer"])


def test_a_cached_row_keeps_its_prompt() -> None:
    made = processor()
    dataset = TableDataset(read_table(ROWS), made, cache_bytes=2**20)
    first, second = dataset[0].prompts["answer"], dataset[0].prompts["answer"]
    assert dataset.cached_bytes > 0
    assert first.tolist() == second.tolist()


def required(path: Path) -> Requirements:
    return GenerationRequirements(
        tokenizer=str(path), num_embeddings=json.loads((path / "config.json").read_text())["vocab_size"]
    )


def test_a_language_models_tokens_and_its_special_ones(language_model: LanguageModel, tmp_path: Path) -> None:
    for kind, end, start in (("gpt2", "<|endoftext|>", None), ("llama", "</s>", "<s>"), ("qwen2", "<|im_end|>", None)):
        made = processor(requirements=required(language_model(kind)))
        target = made.schema.target("answer")
        vocabulary = json.loads((language_model(kind) / "tokenizer.json").read_text())["added_tokens"]
        ids = {token["content"]: token["id"] for token in vocabulary}
        assert target.end_id == ids[end]
        assert target.start_id == (None if start is None else ids[start])
        assert target.padding_id not in ids.values(), "a padding that is also the end would be counted out of the loss"
        source = read_table(ROWS)
        sample = made.transform(source, 0, with_targets=True)
        value = sample.targets["answer"].tolist()
        tokenizer = made.targets["answer"]._tokenizer.tokenizer  # type: ignore[attr-defined]
        assert tokenizer.decode(value[1:-1]) == " a cat", "after 'Answer:' a word is another token than at a beginning"
        assert made.targets["answer"].render(value) == "a cat"
        evil = made.transform(read_table([{"question": end}]), 0, with_targets=False).prompts["answer"]
        assert target.end_id not in evil, "no text can spell a control token"
        # Saved and loaded, away from the language model's folder.
        made.save(tmp_path / kind)
        again = Processor.load(tmp_path / kind)
        assert again.schema == made.schema
        assert again.transform(source, 0, with_targets=True).targets["answer"].tolist() == value
        assert spelled(again, 0) == spelled(made, 0)


def test_folders_whose_tokenizer_can_not_serve(language_model: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no tokenizer; expected tokenizer\.json"):
        processor(requirements=GenerationRequirements(tokenizer=str(tmp_path), num_embeddings=400))
    path = str(language_model("gpt2"))
    with pytest.raises(ColumnError, match=r"ids up to \d+, the language model knows 300; they don't belong together"):
        processor(requirements=GenerationRequirements(tokenizer=path, num_embeddings=300))
    import transformers

    wrapper = transformers.AutoTokenizer.from_pretrained(path)
    wrapper.eos_token = None
    wrapper.save_pretrained(tmp_path)
    with pytest.raises(ColumnError, match="has no token that ends a text; set its eos_token"):
        processor(requirements=GenerationRequirements(tokenizer=str(tmp_path), num_embeddings=400))
