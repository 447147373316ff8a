"""A recognizer's decoder: transformers' own numbers, the cache, padding, absence, control tokens, what learns."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from backbone_folders import save_bert, save_recognizer
from head_helpers import losses, num, of
from torch import Tensor

from polysense.core.tokens import Fused, FusedColumn, PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.decoding.beam import BeamSearchConfig
from polysense.nn.objectives.base import adapters_off
from polysense.tasks.generation.heads.pretrained_decoder import PretrainedDecoderHeadConfig
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

transformers: Any = importlib.import_module("transformers")
ROWS, FRAMES, STATES, WIDTH = 4, 9, 16, 8
AUDIO = AudioColumn(name="sound", modality="audio", sample_rate=16_000)
LEVEL = PyramidLevel(stride=(320,), width=STATES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recognizer")
    save_recognizer(path)
    return path


def head(folder: Path, max_length: int = 7, **settings: Any) -> Any:
    torch.manual_seed(1)
    config = PretrainedDecoderHeadConfig(path=str(folder), **settings)
    size = config.requirements("text").num_embeddings  # type: ignore[attr-defined]
    end = transformers.AutoTokenizer.from_pretrained(folder).eos_token_id
    target = GenerationTarget(
        name="text", columns=("text",), vocabulary_size=size + 2, padding_id=size, begin_id=size + 1, end_id=end,
        max_length=max_length,
    )  # fmt: skip
    made = config.create(target, WIDTH).eval()
    made.connect([AUDIO])
    made.connect_pyramids({"sound": (LEVEL,)})
    return made


def fused(values: Tensor | None = None, lengths: tuple[int, ...] = (9, 5, 7, 0)) -> Fused:
    """Recordings of several lengths; the last row has none."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(len(lengths), FRAMES, STATES, generator=generator) if values is None else values
    mask = torch.arange(states.shape[1]) < torch.tensor(lengths)[:, None]
    level = Tokens(states, mask, (states.shape[1],))
    tokens = Tokens(torch.zeros(*mask.shape, WIDTH), mask, level.grid, (level,)).cleared()
    column = FusedColumn(tokens, tokens.mean(), tokens.present, mask.sum(dim=1, keepdim=True))
    return Fused(torch.zeros(len(lengths), WIDTH), {"sound": column})


def texts(one: Any, lengths: tuple[int, ...] = (4, 7, 3, 5)) -> GenerationTruth:
    generator = torch.Generator().manual_seed(0)
    values = torch.full((len(lengths), max(lengths)), one.target.padding_id)
    for row, length in enumerate(lengths):
        values[row, :length] = torch.randint(3, 200, (length,), generator=generator)
        values[row, 0], values[row, length - 1] = one.target.begin_id, one.target.end_id
    counts = torch.tensor(lengths)
    return GenerationTruth(values=values, present=counts > 0, lengths=counts)


def test_logits_are_transformers_own(folder: Path) -> None:
    one, truth = head(folder), texts(head(folder))
    whole = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = one.read(fused(), of(fused()), truth).logits
        for row, length in ((0, 9), (1, 5), (2, 7)):  # each alone, without padding
            states = fused().columns["sound"].tokens.pyramid[0].values[row : row + 1, :length]
            ids = torch.cat([one.prefix, truth.values[row, 1 : truth.lengths[row] - 1]])[None]
            output = transformers.modeling_outputs.BaseModelOutput(last_hidden_state=states)
            expected = whole(encoder_outputs=output, decoder_input_ids=ids).logits[0, len(one.prefix) - 1 :]
            torch.testing.assert_close(logits[row, : len(expected)], expected, rtol=1e-4, atol=1e-5)
    assert one.prefix.tolist() == transformers.AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(
        ["<|startoftranscript|>", "<|notimestamps|>"]
    )


@pytest.mark.parametrize("beams", [1, 3])
def test_the_cache_changes_nothing_and_no_control_token_is_written(folder: Path, beams: int) -> None:
    one = head(folder, **({} if beams == 1 else {"decoding": BeamSearchConfig(beam_size=beams)}))
    fast, slow = one.write(fused(), of(fused())), one.write(fused(), of(fused()), use_cache=False)
    assert torch.equal(fast.ids, slow.ids)
    torch.testing.assert_close(fast.scores, slow.scores, rtol=1e-4, atol=1e-4)
    written = fast.ids[fast.ids != one.target.padding_id]
    assert len(written) > 0
    assert int(written.max()) <= one.target.end_id, "what follows the end are languages, tasks and times"


def test_a_row_depends_on_itself_alone(folder: Path) -> None:
    one = head(folder)
    plain = one.write(fused(), of(fused()))
    junk = fused().columns["sound"].tokens.pyramid[0].values.clone()
    junk[1, 5:], junk[3] = float("nan"), float("nan")
    spoiled = one.write(fused(junk), of(fused()))
    assert torch.equal(plain.ids, spoiled.ids)
    assert torch.equal(plain.scores, spoiled.scores)
    assert torch.isfinite(plain.scores).all(), "a row that has no recording is written from nothing"
    order = [2, 3, 0, 1]
    values = fused().columns["sound"].tokens.pyramid[0].values[order]
    mixed = one.write(fused(values, (7, 0, 9, 5)), of(fused()))
    assert torch.equal(mixed.scores, plain.scores[order])


def test_the_score_is_what_teacher_forcing_says_of_the_text(folder: Path) -> None:
    one = head(folder)
    generated = one.write(fused(), of(fused()))
    values = torch.cat([torch.full((ROWS, 1), one.target.begin_id), generated.ids[:, 0]], dim=1)
    known = GenerationTruth(
        values=values, present=torch.ones(ROWS, dtype=torch.bool), lengths=(values != one.target.padding_id).sum(dim=1)
    )
    with torch.no_grad():
        found = one.read(fused(), of(fused()), known).logits.argmax(dim=-1)
    told = values[:, 1:] != one.target.padding_id
    # Greedy: each token is the likeliest of those that may be written.
    logits = one.read(fused(), of(fused()), known).logits + one.never[: found.max() + 1].new_zeros(1)
    allowed = torch.nn.functional.pad(logits, (0, 2), value=-torch.inf) + one.never
    assert torch.equal(allowed.argmax(dim=-1)[told], values[:, 1:][told])


@pytest.mark.parametrize(
    ("tune", "expected"), [("frozen", set()), ("lora", {"lora_A", "lora_B"}), ("full", {"weight"})]
)
def test_what_learns(folder: Path, tune: str, expected: set[str]) -> None:
    one = head(folder, tune=tune).train()
    truth = texts(one)
    output = one.read(fused(), of(fused()), truth)
    if expected:
        losses(one, output, truth).sum().backward()
    learned = {name for name, parameter in one.named_parameters() if parameter.grad is not None}
    for part in expected:
        assert any(part in name for name in learned)
    assert len(learned) == sum(parameter.requires_grad for parameter in one.parameters())
    assert {id(p) for p in one.pretrained_parameters()} == (
        {id(p) for p in one.model.parameters()} if tune == "full" else set()
    )
    assert num(one, truth).tolist() == [3, 6, 2, 4]


def test_adapters_can_be_taken_off(folder: Path) -> None:
    one = head(folder, tune="lora")
    plain = head(folder, tune="frozen").read(fused(), of(fused()), texts(one)).logits
    with torch.no_grad():
        for name, parameter in one.named_parameters():
            if "lora" in name:
                parameter.normal_()
        assert not torch.allclose(one.read(fused(), of(fused()), texts(one)).logits, plain)
        with adapters_off([one]):
            torch.testing.assert_close(one.read(fused(), of(fused()), texts(one)).logits, plain)


def test_it_is_built_again_from_what_it_saved(folder: Path, tmp_path: Path) -> None:
    one = head(folder)
    one.save_resources(tmp_path)
    other = one.config.create(one.target, WIDTH, tmp_path).eval()
    other.load_state_dict(one.state_dict())
    other.connect([AUDIO])
    other.connect_pyramids({"sound": (LEVEL,)})
    again = other.write(fused(), of(fused()))
    assert torch.equal(again.scores, one.write(fused(), of(fused())).scores)
    (tmp_path / "prefix.json").write_text('{"prefix": [-1]}')
    with pytest.raises(Exception, match=r"found the prefix \[-1\]"):
        one.config.create(one.target, WIDTH, tmp_path)


def test_a_recognizer_of_several_languages_is_told_one(tmp_path: Path) -> None:
    save_recognizer(tmp_path, languages=("en", "de"))
    with pytest.raises(ConfigError, match="several languages, and the recipe names none; expected one of de, en"):
        head(tmp_path)
    with pytest.raises(ConfigError, match="has 'fr'; expected one of de, en"):
        head(tmp_path, language="fr")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    spelled = tokenizer.convert_ids_to_tokens(head(tmp_path, language="de").prefix.tolist())
    assert spelled == ["<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"]


def test_what_can_not_be_read_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="knows English alone, found 'de'"):
        head(folder, language="de")
    save_bert(tmp_path)
    with pytest.raises(ConfigError, match="holds a model of the type 'bert', expected a speech recognizer"):
        head(tmp_path)
    with pytest.raises(ConfigError, match=r"writes 100 tokens, but the longest text needs 102"):
        head(folder, max_length=100)
    one = head(folder)
    with pytest.raises(ConfigError, match=r"last states have width 24, the decoder of .* reads 16"):
        one.connect_pyramids({"sound": (PyramidLevel(stride=(320,), width=24),)})
    with pytest.raises(ConfigError, match="auto is the only audio column, found 2"):
        one.connect([AUDIO, AudioColumn(name="other", modality="audio", sample_rate=16_000)])
    with pytest.raises(ConfigError, match="'voice' is no input column; there are sound"):
        head(folder, column="voice")
    with pytest.raises(ConfigError, match="leave it at 0"):
        PretrainedDecoderHeadConfig(path=str(folder), hidden=3)
