"""Every text of every script becomes tokens that say the same, or the cut is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from polysense.core.sample import SourceInfo
from polysense.data.column import ColumnProcessor
from polysense.errors import ColumnError, ConfigError, DecodeError, WeightsError
from polysense.modalities.text.column import TextColumnConfig, TextProcessor

Fit = Callable[..., TextProcessor]
TEXTS = ["the cat sat on the mat", "a dog barked at the cat", "the dog sat", "cats and dogs and mats"] * 10


def ids(processor: TextProcessor, cell: object) -> list[int]:
    items = processor.transform(cell, SourceInfo(table="t", row=7, column="c"), Path())
    assert all(item.dtype == np.int32 for item in items)
    return items[0].tolist() if items else []


@pytest.fixture(scope="module")
def fitted() -> TextProcessor:
    processor = TextColumnConfig().build("c")
    from polysense.core.schema import Requirements

    processor.fit(TEXTS, [SourceInfo(table="t", row=i, column="c") for i in range(len(TEXTS))], Path(), Requirements())
    return processor


@given(st.text())
def test_tokens_say_what_the_text_says(fitted: TextProcessor, text: str) -> None:
    import unicodedata

    found = ids(fitted, text)
    if not text.strip():
        assert found == []
        return
    assert max(found) < fitted.column.vocabulary_size
    assert fitted.column.padding_id not in found
    expected = unicodedata.normalize("NFC", text)
    spoken = fitted.tokenizer.decode(found, skip_special_tokens=False)
    assert spoken == (expected if expected[0] == " " else " " + expected)


def test_every_script_and_surrogates_are_readable(fitted: TextProcessor) -> None:
    for text in (
        "日本語のテキスト",
        "Привет, мир",
        "שלום",
        "👩‍👩‍👧 🏳️‍🌈",
        "\ud83d\ude00",
        "cut \ud83d here",
        "<pad> [SEP]",
    ):
        assert ids(fitted, text)
    assert ids(fitted, "\ud83d\ude00") == ids(fitted, "😀")
    assert ids(fitted, "e\u0301t\u00e9") == ids(fitted, "\u00e9te\u0301")
    assert 0 not in ids(fitted, "<pad>"), "a text can't spell the padding"


def test_other_cells_become_their_usual_spelling(fitted: TextProcessor) -> None:
    assert ids(fitted, 3) == ids(fitted, "3")
    assert ids(fitted, 2.5) == ids(fitted, "2.5")
    assert ids(fitted, True) == ids(fitted, "True")
    assert ids(fitted, "Zürich".encode()) == ids(fitted, "Zürich")
    for cell in (b"\xff\xfe\xfa", {"a": 1}):
        with pytest.raises(DecodeError):
            ids(fitted, cell)


def test_nothing_is_cut_where_null_says_so_and_cuts_are_counted(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    long = "the cat sat on the mat " * 500
    free = fit(TextColumnConfig(max_tokens=None), TEXTS)
    assert len(ids(free, long)) >= 3000
    assert free.num_truncated == 0
    cut = fit(TextColumnConfig(max_tokens=4), TEXTS)
    assert ids(cut, long) == ids(free, long)[:4]
    assert ids(cut, "the cat") == ids(free, "the cat")
    ids(cut, long)
    assert cut.num_truncated == 2
    assert [record.getMessage() for record in caplog.records].count(
        "t, row 7, column 'c': cut to max_tokens=4; further cuts are counted only"
    ) == 1
    assert cut.column.typical_length == 4


def test_a_text_that_is_much_longer_than_all_others_is_cut_and_told(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    long = "the cat sat on the mat " * 500
    processor = fit(TextColumnConfig(), [*TEXTS * 10, long])
    assert processor.max_tokens == 256
    assert len(ids(processor, long)) == 256
    (told,) = [record.getMessage() for record in caplog.records if "cut to max_tokens" in record.getMessage()]
    assert told == (
        "t, row 7, column 'c': cut to max_tokens=256 (4 times what 95% of the training cells have; "
        "data.columns.c.max_tokens sets it); further cuts are counted only"
    )
    assert processor.num_truncated == 1
    # Where most texts are long, so is the limit.
    assert fit(TextColumnConfig(), [long] * 20).max_tokens == 4 * len(
        ids(fit(TextColumnConfig(max_tokens=None), [long]), long)
    )


def test_the_vocabulary_grows_with_the_data(fit: Fit) -> None:
    few = fit(TextColumnConfig(), TEXTS).column
    assert 257 < few.vocabulary_size < 400  # no pair is left that occurs twice
    words = [" ".join(f"{a}{b}{c}" for b in "aeiou" for c in "bdfgklmnprst") for a in "bcdfghjklmnpqrstvwxyz"] * 30
    many = fit(TextColumnConfig(), words).column
    assert few.vocabulary_size < many.vocabulary_size <= 8000
    assert fit(TextColumnConfig(vocabulary_size=300), words).column.vocabulary_size == 300
    assert few.typical_length == 6


def test_lowercase_is_an_option(fit: Fit) -> None:
    processor = fit(TextColumnConfig(lowercase=True), TEXTS)
    assert ids(processor, "THE Cat") == ids(processor, "the cat")
    plain = fit(TextColumnConfig(), TEXTS)
    assert ids(plain, "THE Cat") != ids(plain, "the cat")


def test_training_is_the_same_in_every_process(tmp_path: Path) -> None:
    code = (
        "import hashlib, sys\nfrom pathlib import Path\n"
        "from polysense.modalities.text.column import TextColumnConfig\n"
        "from polysense.core.schema import Requirements\nfrom polysense.core.sample import SourceInfo\n"
        "texts = [f'{a} {b} {a}{b} {b}{a}'\n"
        "         for a in 'one two three four'.split() for b in 'five six seven'.split()] * 3\n"
        "p = TextColumnConfig().build('c')\n"
        "p.fit(texts, [SourceInfo(table='t', row=i, column='c') for i in range(len(texts))], Path(), Requirements())\n"
        "print(hashlib.sha256(p.tokenizer.to_str().encode()).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_saving_and_loading_changes_nothing(tmp_path: Path, fitted: TextProcessor, texts: list[str]) -> None:
    folder = tmp_path / "saved"
    state = json.loads(json.dumps(fitted.save(folder)))
    loaded = ColumnProcessor.load(state, folder)
    assert isinstance(loaded, TextProcessor)
    assert loaded.column == fitted.column
    assert [ids(loaded, text) for text in texts] == [ids(fitted, text) for text in texts]
    again = tmp_path / "again"
    assert json.loads(json.dumps(loaded.save(again))) == state
    assert (again / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A word tokenizer in the form of a published one, with [CLS] and [SEP] by its post-processor."""
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "cat", "sat"]
    tokenizer = Tokenizer(models.WordLevel({word: i * 2 for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 4)]
    )
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=9, pad_id=0)
    folder = tmp_path / "pretrained"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "[PAD]"}}))
    return folder


@pytest.mark.parametrize("way", ["folder", "file", "required"])
def test_a_given_tokenizer_is_used_with_its_special_tokens(way: str, pretrained: Path, fit: Fit) -> None:
    if way == "required":
        processor = fit(TextColumnConfig(), TEXTS, tokenizer=str(pretrained))
    else:
        name = pretrained if way == "folder" else pretrained / "tokenizer.json"
        processor = fit(TextColumnConfig(tokenizer=str(name)), TEXTS)
    assert ids(processor, "the cat sat") == [2, 8, 10, 12, 4]
    assert len(ids(processor, "the " * 40)) == 42, "its own limit and padding are switched off"
    assert processor.column.vocabulary_size == 13, "the largest id counts, not how many there are"
    assert processor.column.padding_id == 0
    assert ids(processor, "[SEP]")[1:-1] != [4], "a text can't spell a control token"


def test_the_encoders_limit_keeps_the_special_tokens(pretrained: Path, fit: Fit) -> None:
    processor = fit(TextColumnConfig(max_tokens=9), TEXTS, tokenizer=str(pretrained), max_tokens=4)
    assert ids(processor, "the cat sat the cat") == [2, 8, 10, 4]
    assert processor.num_truncated == 1
    with pytest.raises(ColumnError, match="adds 2 special tokens"):
        fit(TextColumnConfig(max_tokens=2), TEXTS, tokenizer=str(pretrained))
    with pytest.raises(ColumnError, match="set tokenizer: null"):
        fit(TextColumnConfig(tokenizer="other"), TEXTS, tokenizer=str(pretrained))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": {"type": "NoSuch"}}'])
def test_a_broken_tokenizer_is_a_clear_error(content: str, tmp_path: Path, fit: Fit) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ColumnError, match=r"tokenizer\.json: is not a tokenizer\.json"):
        fit(TextColumnConfig(tokenizer=str(tmp_path)), TEXTS)
    with pytest.raises(ColumnError, match="no such tokenizer file"):
        fit(TextColumnConfig(tokenizer="./gone.json"), TEXTS)


@pytest.mark.slow
def test_a_hub_name_without_network_says_what_to_do(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="local folder"):
        fit(TextColumnConfig(tokenizer="nobody/nothing-of-this-name"), TEXTS)


@pytest.mark.parametrize("bad", [{"vocabulary_size": 10}, {"max_tokens": 0}])
def test_senseless_settings_are_refused(bad: dict[str, int]) -> None:
    from polysense.config.codec import from_dict

    with pytest.raises(ConfigError, match="at least"):
        from_dict(TextColumnConfig, {"type": "text", **bad})


def words(processor: TextProcessor, text: str) -> list[str]:
    return [processor.tokenizer.id_to_token(i) for i in ids(processor, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World! (don’t)", ["hello", ",", "world", "!", "(", "don't", ")"]),
        ("3.14 or 1,000.5. x_y e.g.", ["3.14", "or", "1,000.5", ".", "x_y", "e", ".", "g", "."]),
        ("'quoted' rock 'n' roll", ["'", "quoted", "'", "rock", "'", "n", "'", "roll"]),
        ("ＦＵＬＬ　ｗｉｄｔｈ ﬁne", ["full", "width", "fine"]),
        ("我爱北京2024年", ["我", "爱", "北", "京", "2024", "年"]),
        ("日本語のﾃｷｽﾄ", ["日", "本", "語", "の", "テ", "キ", "ス", "ト"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ('שלום, עולם צה"ל', ["שלום", ",", "עולם", 'צה"ל']),
        ("مرحبا بالعالم، كِتَاب", ["مرحبا", "بالعالم", "،", "كِتَاب"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया", "।"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("👩‍👩‍👧🏳️‍🌈👍🏽😀😀🇩🇪🇫🇷", ["👩‍👩‍👧", "🏳️‍🌈", "👍🏽", "😀", "😀", "🇩🇪", "🇫🇷"]),
        ("\u200fa\u202bb\u00adc\ufeff d\u200be\x00f", ["abc", "d", "e", "f"]),
        ("<pad> <unk>", ["<", "pad", ">", "<", "unk", ">"]),
    ],
)
def test_words_end_where_their_scripts_end_them(text: str, expected: list[str], fit: Fit) -> None:
    processor = fit(TextColumnConfig(tokens="words", min_frequency=1), [text])
    assert words(processor, text) == expected
    assert processor.column.vocabulary_size == len(set(expected)) + 2


@pytest.fixture(scope="module")
def fitted_words() -> TextProcessor:
    processor = TextColumnConfig(tokens="words").build("c")
    from polysense.core.schema import Requirements

    processor.fit(TEXTS, [SourceInfo(table="t", row=0, column="c")] * len(TEXTS), Path(), Requirements())
    return processor


@given(st.text())
def test_any_text_gives_words_within_the_vocabulary(fitted_words: TextProcessor, text: str) -> None:
    found = ids(fitted_words, text)
    assert all(1 <= i < (fitted_words.column.vocabulary_size or 0) for i in found), "no text spells the padding"
    assert not found or text.strip()
    assert bool(found) or not any(character.isalnum() for character in text)


def test_rare_and_new_words_are_one_unknown(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="polysense"):
        processor = fit(TextColumnConfig(tokens="words"), ["the cat sat", "the dog", "the cat"])
    assert words(processor, "the cat") == ["the", "cat"]
    assert words(processor, "the dog flew") == ["the", "<unk>", "<unk>"]
    assert "2 words have an id of their own; 28.6% of the words in the training texts have none" in caplog.text
    every = fit(TextColumnConfig(tokens="words", min_frequency=1), ["the cat sat", "the dog", "the cat"])
    assert words(every, "the dog flew") == ["the", "dog", "<unk>"]
    few = fit(TextColumnConfig(tokens="words", vocabulary_size=3), ["the cat sat", "the dog", "the cat"])
    assert words(few, "the cat") == ["the", "<unk>"]
    assert few.column.vocabulary_size == 3


def test_a_column_of_unknown_words_alone_is_a_warning(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    processor = fit(TextColumnConfig(tokens="words"), ["one two", "three four"])
    assert words(processor, "one") == ["<unk>"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_words_are_lower_case_unless_told_otherwise(fit: Fit) -> None:
    texts = ["The Cat", "the cat"] * 3
    assert words(fit(TextColumnConfig(tokens="words"), texts), "THE cat") == ["the", "cat"]
    cased = fit(TextColumnConfig(tokens="words", lowercase=False), texts)
    assert words(cased, "The cat") == ["The", "cat"]


def test_the_encoder_chooses_what_the_recipe_leaves_open(fit: Fit, pretrained: Path) -> None:
    subwords = fit(TextColumnConfig(), TEXTS).tokenizer.to_str()
    assert fit(TextColumnConfig(), TEXTS, tokenization="subwords").tokenizer.to_str() == subwords
    assert fit(TextColumnConfig(tokens="subwords"), TEXTS, tokenization="words").tokenizer.to_str() == subwords
    requested = fit(TextColumnConfig(), TEXTS, tokenization="words")
    assert words(requested, "the cat") == ["the", "cat"]
    assert requested.tokenizer.to_str() == fit(TextColumnConfig(tokens="words"), TEXTS).tokenizer.to_str()
    given = fit(TextColumnConfig(tokenizer=str(pretrained)), TEXTS, tokenization="words")
    assert ids(given, "the cat sat") == [2, 8, 10, 12, 4]
    with pytest.raises(ColumnError, match="set tokens: auto"):
        fit(TextColumnConfig(tokens="words"), TEXTS, tokenizer=str(pretrained))


def test_the_vocabulary_and_its_frequencies_are_kept_where_asked_for(fit: Fit, pretrained: Path) -> None:
    cells: list[object] = ["the cat the", None, "the dog", "  ", ["the cat", "a the"], b"\xff\xfe\xfa"]
    bare = fit(TextColumnConfig(tokens="words"), cells).column
    assert (bare.vocabulary, bare.document_frequencies, bare.num_documents) == (None, None, 0)
    column = fit(TextColumnConfig(tokens="words"), cells, vocabulary=True, token_frequencies=True).column
    assert column.vocabulary == ("<pad>", "<unk>", "the", "cat")
    assert column.num_documents == 4, "blank and unreadable cells are no texts"
    assert column.document_frequencies == (0.0, 0.5, 1.0, 0.5)
    holes = fit(TextColumnConfig(tokenizer=str(pretrained)), TEXTS, vocabulary=True, token_frequencies=True).column
    assert holes.vocabulary is not None
    assert holes.vocabulary[:6] == ("[PAD]", "", "[CLS]", "", "[SEP]", "")
    assert len(holes.vocabulary) == len(holes.document_frequencies or ()) == holes.vocabulary_size
    assert holes.document_frequencies is not None
    assert holes.document_frequencies[2] == 1.0


def test_saved_words_are_the_same_words(fit: Fit, tmp_path: Path) -> None:
    processor = fit(TextColumnConfig(tokens="words"), TEXTS, vocabulary=True, token_frequencies=True)
    state = json.loads(json.dumps(processor.save(tmp_path / "saved")))
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["tokenizer.json"]
    loaded = ColumnProcessor.load(state, tmp_path / "saved")
    assert loaded.column == processor.column
    text = "The cat, the ÜBER-cat 猫 می‌خواهم <unk>"
    assert ids(loaded, text) == ids(processor, text)


@pytest.mark.parametrize(
    "bad", [{"tokens": "words", "vocabulary_size": 2}, {"min_frequency": 0}, {"tokens": "words", "tokenizer": "x"}]
)
def test_senseless_word_settings_are_refused(bad: dict[str, object]) -> None:
    from polysense.config.codec import from_dict

    with pytest.raises(ConfigError, match=r"expected|must be at least 1"):
        from_dict(TextColumnConfig, {"type": "text", **bad})
