"""A language model behind a prefix: cache, padding, absence, what learns, placeholders, contexts that are too long."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from head_helpers import Probe, Rows
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Requirements
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError, WeightsError
from polysense.nn.decoding.beam import BeamSearchConfig
from polysense.nn.objectives.base import adapters_off
from polysense.tasks.generation.heads.language_model import LanguageModelHeadConfig
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

WIDTH, ROWS, LENGTH, PROMPT = 16, 5, 8, 6

LanguageModel = Callable[[str], Path]


def head(
    path: Path, *, placeholders: tuple[str, ...] = (), start: bool = False, slots: int = 1, **settings: Any
) -> Probe:
    torch.manual_seed(1)
    config = LanguageModelHeadConfig(path=str(path), slots=slots, **settings)
    size = config.requirements("answer").num_embeddings
    assert size is not None
    target = GenerationTarget(
        name="answer",
        columns=("answer",),
        vocabulary_size=size + 2 + len(placeholders),
        padding_id=size,
        begin_id=size + 1,
        end_id=0,
        start_id=0 if start else None,
        typical_prompt=PROMPT,
        placeholders=placeholders,
        max_length=7,
    )
    return Probe(config.create(target, WIDTH).eval())


def fused(seed: int = 0, rows: int = ROWS) -> Rows:
    """A column of 2 x 2 tokens ("photo") and one of 4 ("note"); the last row has neither and no prompt."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(rows, LENGTH, dtype=torch.bool)
    mask[0, :4] = False
    mask[1, 4:] = False
    mask[2, 6:] = False
    mask[-1] = False
    values = torch.randn(rows, LENGTH, WIDTH, generator=generator)
    prompt = torch.randint(3, 200, (rows, 1, PROMPT), generator=generator)
    lengths = torch.tensor([[PROMPT], [2], [0], [4], [0]])[:rows]
    present = torch.ones(rows, 1, dtype=torch.int64)
    return Rows(
        Tokens(values, mask, (LENGTH,)),
        torch.randn(rows, WIDTH, generator=generator),
        {"photo": (0, 4), "note": (4, LENGTH)},
        {},
        rows=torch.arange(rows),
        lengths={"photo": present, "note": present},
        prompts={"answer": ColumnBatch(values=prompt.int(), lengths=lengths)},
        grids={"photo": (2, 2), "note": (4,)},
    )


def take(whole: Rows, rows: list[int]) -> Rows:
    """Some rows."""
    prompt = whole.prompts["answer"]
    return replace(
        whole,
        tokens=Tokens(whole.tokens.values[rows], whole.tokens.mask[rows], whole.tokens.grid),
        pooled=whole.pooled[rows],
        rows=torch.tensor(rows),
        lengths={name: found[rows] for name, found in whole.lengths.items()},
        prompts={"answer": ColumnBatch(values=prompt.values[rows], lengths=prompt.lengths[rows])},
    )


def texts(one: Probe, lengths: tuple[int, ...] = (4, 7, 3, 0, 5), seed: int = 0) -> GenerationTruth:
    generator = torch.Generator().manual_seed(seed)
    target = one.target
    values = torch.full((len(lengths), max(lengths)), target.padding_id)
    for row, length in enumerate(lengths):
        if length:
            values[row, :length] = torch.randint(3, 200, (length,), generator=generator)
            values[row, 0], values[row, length - 1] = target.begin_id, target.end_id
    counts = torch.tensor(lengths)
    return GenerationTruth(values=values, present=counts > 0, lengths=counts)


KINDS = ["gpt2", "llama", "qwen2"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 3])
def test_the_cache_changes_nothing(language_model: LanguageModel, kind: str, beams: int) -> None:
    decoding = {} if beams == 1 else {"decoding": BeamSearchConfig(beam_size=beams)}
    one = head(language_model(kind), start=kind == "llama", **decoding)
    fast, slow = one.write(fused()), one.write(fused(), use_cache=False)
    assert torch.equal(fast.ids, slow.ids)
    torch.testing.assert_close(fast.scores, slow.scores, rtol=1e-4, atol=1e-4)
    assert len({tuple(row) for row in fast.ids[:, 0].tolist()}) > 1, "one text for all rows would show little"
    assert not (fast.ids >= one.target.begin_id).any(), "nobody writes a reserved token"


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_what_teacher_forcing_says_of_the_text(language_model: LanguageModel, kind: str) -> None:
    one = head(language_model(kind))
    generated = one.write(fused())
    ids = generated.ids[:, 0]
    values = torch.cat([torch.full((ROWS, 1), one.target.begin_id), ids], dim=1)
    lengths = (values != one.target.padding_id).sum(dim=1)
    known = GenerationTruth(values=values, present=torch.ones(ROWS, dtype=torch.bool), lengths=lengths)
    with torch.no_grad():
        likelihood = one.likelihood(fused(), known)
    torch.testing.assert_close(likelihood[:, 0], generated.scores[:, 0], rtol=1e-4, atol=1e-4)
    assert torch.equal(likelihood[:, 1], likelihood[:, 2]), "greedy: each token is the likeliest"


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_language_models_own(language_model: LanguageModel, kind: str) -> None:
    """A row by itself, without any padding, straight into transformers."""
    one = head(language_model(kind), start=kind == "llama")
    source, target = fused(), texts(one)
    with torch.no_grad():
        found = one(source, target)
        row = 1  # the picture, two tokens of prompt
        pieces = [one.summary(source.pooled[row][None])[0][0]]
        if kind == "llama":
            pieces.insert(0, one.model.get_input_embeddings()(torch.tensor([0])))
        from polysense.nn.layers.transformer import sinusoidal

        own = one.norm(source.tokens.values[row, :4]) + one.position_scale * sinusoidal(torch.arange(4), WIDTH)
        pieces.append(one.connector.layers(own))  # type: ignore[operator, union-attr]
        pieces.append(one.model.get_input_embeddings()(source.prompts["answer"].values[row, 0, :2].long()))
        pieces.append(one.model.get_input_embeddings()(target.values[row, 1:-1]))
        embeddings = torch.cat(pieces)[None]
        expected = one.model(inputs_embeds=embeddings).logits[0, -6:]
    torch.testing.assert_close(found.logits[row], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("connector", ["mlp", "pixel_shuffle", "perceiver"])
def test_a_row_depends_on_itself_alone(language_model: LanguageModel, kind: str, connector: str) -> None:
    one = head(language_model(kind), connector=connector, latents=3)
    whole = fused()
    generated = one.write(whole)
    # Bit for bit among other rows of the same shape.
    order = [3, 0, 4, 1, 2]
    mixed = one.write(take(whole, order))
    length = min(generated.ids.shape[2], mixed.ids.shape[2])
    assert torch.equal(mixed.ids[..., :length], generated.ids[order][..., :length])
    assert torch.equal(mixed.scores, generated.scores[order])
    # What is absent may hold anything.
    junk = torch.where(whole.tokens.mask[:, :, None], whole.tokens.values, torch.tensor(float("nan")))
    prompt = whole.prompts["answer"]
    there = torch.arange(PROMPT) < prompt.lengths[:, :, None]
    other = replace(
        whole,
        tokens=Tokens(junk, whole.tokens.mask, whole.tokens.grid),
        prompts={"answer": replace(prompt, values=torch.where(there, prompt.values, 7))},
    )
    assert torch.equal(one.write(other).ids, generated.ids)
    assert torch.equal(one.write(other).scores, generated.scores)


@pytest.mark.parametrize("kind", KINDS)
def test_an_absent_column_and_padding_are_as_if_they_were_not_there(language_model: LanguageModel, kind: str) -> None:
    one = head(language_model(kind))
    whole, target = fused(), texts(one)
    with torch.no_grad():
        found = one.row_losses(one(whole, target), target)
        # Row 1 has no note; a model that never had the column, and prompts that are not padded.
        prompt = whole.prompts["answer"]
        alone = replace(
            whole,
            tokens=Tokens(whole.tokens.values[:, :4], whole.tokens.mask[:, :4], (4,)),
            spans={"photo": (0, 4)},
            grids={"photo": (2, 2)},
            prompts={"answer": ColumnBatch(values=prompt.values[:, :, :2], lengths=prompt.lengths.clamp(max=2))},
        )
        short = one.row_losses(one(alone, target), target)
    torch.testing.assert_close(short[1], found[1], rtol=1e-4, atol=1e-4)
    assert not torch.isclose(short[0], found[0], rtol=1e-3), "a row that has the note does change"


def test_losses_are_of_the_answer_alone(language_model: LanguageModel) -> None:
    one = head(language_model("gpt2"), bag_weight=0.0)
    target = texts(one)
    assert one.row_counts(target).tolist() == [3, 6, 2, 0, 4]
    with torch.no_grad():
        outputs = one(fused(), target)
        losses = one.row_losses(outputs, target)
    expected = F.cross_entropy(outputs.logits[1, :6], target.values[1, 1:7], reduction="sum")
    torch.testing.assert_close(losses[1], expected)
    assert losses[3] == 0


def test_earlier_answers_of_a_chat_are_trained_on_where_they_are_marked(language_model: LanguageModel) -> None:
    """The loss of a marked token of the prompt is that of the same token as an answer to what is before it."""
    one = head(language_model("llama"), bag_weight=0.0)
    source, target = fused(), texts(one)
    earlier = torch.full((ROWS, PROMPT), one.target.padding_id)
    ids = source.prompts["answer"].values[:, 0].long()
    earlier[0, 2:4] = ids[0, 2:4]
    both = replace(target, earlier=earlier)
    with torch.no_grad():
        plain = one.row_losses(one(source, target), target)
        found = one.row_losses(one(source, both), both)
        prompt = source.prompts["answer"]
        before = replace(
            source, prompts={"answer": ColumnBatch(values=prompt.values, lengths=prompt.lengths.clamp(max=2))}
        )
        answer = torch.full((ROWS, 4), one.target.padding_id)
        answer[0] = torch.tensor([one.target.begin_id, *ids[0, 2:4], one.target.padding_id])
        known = GenerationTruth(values=answer, present=target.present, lengths=torch.tensor([3, 0, 0, 0, 0]))
        apart = one.row_losses(one(before, known), known)
    torch.testing.assert_close(found[0] - plain[0], apart[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1:], plain[1:], rtol=1e-4, atol=1e-4)
    assert (one.row_counts(both) - one.row_counts(target)).tolist() == [2, 0, 0, 0, 0]


def gradients(one: Probe) -> tuple[set[str], set[str]]:
    """The names of what got a gradient that is not 0, and of what got none, after a training step's backward."""
    target = texts(one)
    one.train()
    one.zero_grad()
    one.row_losses(one(fused(), target), target).sum().backward()
    some = {name for name, p in one.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    return some, {name for name, p in one.named_parameters() if p.grad is None}


@pytest.mark.parametrize("kind", KINDS)
def test_what_learns(language_model: LanguageModel, kind: str) -> None:
    frozen = head(language_model(kind))
    some, none = gradients(frozen)
    assert all(name.startswith("model.") for name in none)
    assert not any(name.startswith("model.") for name in some)
    assert {"connector.layers.1.weight", "summary.layers.1.weight", "norm.weight"} <= some
    full = head(language_model(kind), tune="full")
    some, none = gradients(full)
    assert not none, "every parameter is touched in every step"
    assert {id(p) for p in full.pretrained_parameters()} == {id(p) for p in full.model.parameters()}
    assert full.learning_rate_scale == 0.1
    lora = head(language_model(kind), tune="lora")
    some, none = gradients(lora)
    learning = {name for name, p in lora.named_parameters() if p.requires_grad}
    assert not none & learning
    assert {name for name in learning if name.startswith("model.")} == {
        name for name, _ in lora.named_parameters() if "lora_" in name
    }
    assert not list(lora.pretrained_parameters()), "adapters are new: they learn at the full rate"


@pytest.mark.parametrize("kind", KINDS)
def test_lora_starts_as_nothing_and_can_be_merged(language_model: LanguageModel, kind: str) -> None:
    frozen, lora = head(language_model(kind)), head(language_model(kind), tune="lora", lora_rank=4)
    lora.load_state_dict({n: v for n, v in frozen.state_dict().items() if not n.startswith("model.")}, strict=False)
    target = texts(frozen)
    with torch.no_grad():
        assert torch.equal(lora(fused(), target).logits, frozen(fused(), target).logits)
        for name, parameter in lora.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        adapted = lora(fused(), target).logits
        assert not torch.allclose(adapted, frozen(fused(), target).logits, atol=1e-2)
        for module in lora.model.modules():
            if type(module).__name__ in ("Linear", "Conv1D") and type(module).__module__.startswith("peft"):
                module.merge()
        torch.testing.assert_close(lora(fused(), target).logits, adapted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_without_its_adapters_it_is_the_model_that_they_were_added_to(language_model: LanguageModel, kind: str) -> None:
    frozen, lora = head(language_model(kind)), head(language_model(kind), tune="lora", lora_rank=4)
    lora.load_state_dict({n: v for n, v in frozen.state_dict().items() if not n.startswith("model.")}, strict=False)
    target = texts(frozen)
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        adapted, reference = lora(fused(), target).logits, frozen(fused(), target).logits
        assert not torch.allclose(adapted, reference, atol=1e-3)
        with adapters_off([lora.module]):
            assert torch.equal(lora(fused(), target).logits, reference)
            with adapters_off([lora.module]):
                pass
            assert torch.equal(lora(fused(), target).logits, reference)
        assert torch.equal(lora(fused(), target).logits, adapted)
        with pytest.raises(KeyError), adapters_off([lora.module]):
            raise KeyError
        assert torch.equal(lora(fused(), target).logits, adapted), "an error leaves them as they were"
    assert all(parameter.requires_grad == ("lora_" in name) for name, parameter in lora.model.named_parameters())


def test_lora_takes_named_layers_only(language_model: LanguageModel) -> None:
    one = head(language_model("llama"), tune="lora", lora_modules=("q_proj", "v_proj"))
    assert len([name for name, _ in one.named_parameters() if "lora_A" in name]) == 4
    with pytest.raises(ConfigError, match=r"no linear layer is named query; there are down_proj, .*q_proj"):
        head(language_model("llama"), tune="lora", lora_modules=("query",))


@pytest.mark.parametrize("tune", ["frozen", "full"])
def test_gradient_checkpointing_changes_no_gradient(language_model: LanguageModel, tune: str) -> None:
    found: list[dict[str, Tensor]] = []
    for checkpointing in (False, True):
        one = head(language_model("llama"), tune=tune, gradient_checkpointing=checkpointing)
        gradients(one)
        found.append({name: p.grad for name, p in one.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5)


def orders(one: Probe, source: Rows) -> Iterator[list[str]]:
    """What each row reads, by name."""
    marks = torch.arange(1.0, 1 + LENGTH)[None, :, None].expand(ROWS, -1, WIDTH)

    def name(value: float) -> str:
        return (
            "pppp nnnn".replace(" ", "")[round(value) - 1] + str(round(value)) if value < 100 else f"#{value - 100:.0f}"
        )

    class Marks(torch.nn.Module):
        def forward(self, values: Tensor, mask: Tensor, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
            return values[:, :, :1].expand(-1, -1, 32), mask

    class Ids(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.zeros(400, 32)

        def forward(self, ids: Tensor) -> Tensor:
            return (ids + 100.0)[:, :, None].expand(-1, -1, 32)

    one.module.connector = Marks()
    one.module.norm = torch.nn.Identity()
    torch.nn.init.zeros_(one.position_scale)
    one.model.set_input_embeddings(Ids())
    marked = replace(source, tokens=Tokens(marks.clone(), source.tokens.mask, source.tokens.grid))
    with torch.no_grad():
        prefix = one._prefix(marked.fused(), marked.context(), 1)
    for values, mask in zip(prefix.values[:, :, 0], prefix.mask, strict=True):
        yield [name(value) for value in values[mask].tolist()[1:]]


def test_media_stand_where_the_prompt_says(language_model: LanguageModel) -> None:
    one = head(language_model("llama"), placeholders=("photo",))
    mark = one.target.first_placeholder
    source = fused()
    ids = torch.tensor(
        [
            [5, mark, 6, 0, 0, 0],
            [5, mark, 6, 0, 0, 0],
            [5, 6, 0, 0, 0, 0],
            [mark, mark, 5, 0, 0, 0],
            [mark, 5, 0, 0, 0, 0],
        ]
    )
    lengths = torch.tensor([[3], [3], [2], [3], [2]])
    prompts = {"answer": ColumnBatch(values=ids[:, None].int(), lengths=lengths)}
    assert list(orders(one, replace(source, prompts=prompts))) == [
        ["n5", "n6", "n7", "n8", "#5", "#6"],  # no photo: its placeholder is dropped
        ["#5", "p1", "p2", "p3", "p4", "#6"],
        ["p1", "p2", "p3", "p4", "n5", "n6", "#5", "#6"],  # no placeholder: in front
        ["n5", "n6", "n7", "n8", "p1", "p2", "p3", "p4", "#5"],  # a second placeholder has no second photo
        ["#5"],
    ]


def test_the_nth_placeholder_is_the_nth_item(language_model: LanguageModel) -> None:
    one = head(language_model("llama"), placeholders=("note", "photo"))
    first = one.target.first_placeholder
    source = replace(
        fused(),
        grids={"photo": (2, 2), "note": (4,)},
        lengths={"photo": torch.ones(ROWS, 2).long(), "note": torch.ones(ROWS, 1).long()},
    )
    ids = torch.tensor([[first + 1, 5, first + 1, 6, first, 7]] * ROWS)
    prompts = {"answer": ColumnBatch(values=ids[:, None].int(), lengths=torch.full((ROWS, 1), 6))}
    found = list(orders(one, replace(source, prompts=prompts)))
    assert found[3] == ["p1", "p2", "#5", "p3", "p4", "#6", "n5", "n6", "n7", "n8", "#7"]
    assert found[0] == ["#5", "#6", "n5", "n6", "n7", "n8", "#7"]


def test_a_prompt_that_does_not_fit_loses_its_beginning(
    language_model: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    one = head(language_model("gpt2"))
    source = fused()
    long = torch.randint(3, 200, (ROWS, 1, 100)).int()
    lengths = torch.tensor([[100], [60], [2], [0], [90]])
    with caplog.at_level(logging.WARNING):
        generated = one.write(replace(source, prompts={"answer": ColumnBatch(values=long, lengths=lengths)}))
    assert "of their first tokens are left out" in caplog.text
    # Row 0: 96 positions less summary, 4 tokens of the note and 7 to write leave the last 84 of the prompt.
    retained = long.clone()
    retained[0, :, :84] = long[0, :, 16:]
    same = one.write(
        replace(
            source,
            prompts={
                "answer": ColumnBatch(
                    values=retained[:, :, :90], lengths=lengths.clamp(max=90).where(lengths < 100, torch.tensor(84))
                )
            },
        )
    )
    assert torch.equal(generated.ids[:4], same.ids[:4])
    one.train()
    known = texts(one)
    with pytest.raises(ConfigError, match=r"takes 96 tokens, but a row has 1\d\d: .*lower max_prompt_tokens"):
        one(replace(source, prompts={"answer": ColumnBatch(values=long, lengths=lengths)}), known)


def test_a_text_that_never_fits_is_an_error_at_once(language_model: LanguageModel) -> None:
    one = head(language_model("gpt2"))
    with pytest.raises(ConfigError, match="takes 96 tokens, but a typical prompt has 90 and the longest text 7"):
        one.config.create(replace(one.target, typical_prompt=90), WIDTH)


def test_a_random_language_model_needs_only_a_config(language_model: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((language_model("llama") / "config.json").read_text())
    config = LanguageModelHeadConfig(path=str(tmp_path), weights="random", tune="full")
    assert config.requirements("answer") == Requirements()
    target = GenerationTarget(
        name="answer", columns=("a",), vocabulary_size=50, padding_id=0, begin_id=1, end_id=2,
        max_length=5,
    )  # fmt: skip
    one = Probe(config.create(target, WIDTH).eval())
    generated = one.write(replace(fused(), prompts={}))
    assert generated.ids.shape[2] <= 5
    assert not ((generated.ids == 1).any())
    assert not list(one.pretrained_parameters())


def test_resources_are_enough_to_build_it_again(language_model: LanguageModel, tmp_path: Path) -> None:
    for tune in ("frozen", "lora"):
        one = head(language_model("qwen2"), tune=tune)
        one.save_resources(tmp_path / tune)
        assert not list((tmp_path / tune).glob("*.safetensors")), "weights are the bundle's"
        again = replace(one.config, path="/nowhere").create(one.target, WIDTH, tmp_path / tune).eval()
        again.load_state_dict(one.state_dict())
        assert torch.equal(Probe(again).write(fused()).ids, one.write(fused()).ids)


def test_errors_say_what_to_do(language_model: LanguageModel, tmp_path: Path) -> None:
    import transformers

    with pytest.raises(WeightsError, match="no such folder"):
        LanguageModelHeadConfig(path=str(tmp_path / "none")).requirements("answer")
    with pytest.raises(WeightsError, match="check that the folder holds what save_pretrained writes"):
        LanguageModelHeadConfig(path=str(tmp_path)).requirements("answer")
    vision = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    vision.save_pretrained(tmp_path / "vit")
    with pytest.raises(ConfigError, match="type 'vit', expected a causal language model"):
        LanguageModelHeadConfig(path=str(tmp_path / "vit")).requirements("answer")
    bert = transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    bert.architectures = ["BertForMaskedLM"]
    bert.save_pretrained(tmp_path / "bert")
    with pytest.raises(ConfigError, match="BertForMaskedLM, expected a causal language model"):
        LanguageModelHeadConfig(path=str(tmp_path / "bert")).requirements("answer")
    with pytest.raises(ConfigError, match="tune: full"):
        LanguageModelHeadConfig(path="x", weights="random")
    with pytest.raises(ConfigError, match=r"latents\b.*found"):
        LanguageModelHeadConfig(path="x", latents=0)


def test_slots_are_as_long_as_the_models_own_embeddings_and_stand_in_front(language_model: LanguageModel) -> None:
    one = head(language_model("llama"), start=True, slots=3, connector="none")
    source = fused()
    with torch.no_grad():
        tokens, directions = one.summary(source.pooled)
        prefix = one._prefix(source.fused(), source.context(), 1)
    own = one.model.get_input_embeddings().weight.square().mean().sqrt()
    torch.testing.assert_close(tokens.square().mean(dim=2).sqrt(), own.expand(ROWS, 3), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(directions.square().mean(dim=2), torch.ones(ROWS, 3), rtol=1e-3, atol=1e-3)
    # The start, three slots, the prompt; none of the columns' tokens.
    assert prefix.mask.sum(dim=1).tolist() == [4 + PROMPT, 4 + 2, 4, 4 + 4, 4]
    assert torch.equal(prefix.values[4][prefix.mask[4]][1:], tokens[4])


def test_without_a_connector_nothing_is_there_that_does_not_learn(language_model: LanguageModel) -> None:
    one = head(language_model("gpt2"), slots=2, connector="none")
    some, none = gradients(one)
    assert all(name.startswith("model.") for name in none)
    assert {"summary.layers.1.weight", "summary.scale", "bag_scale"} <= some
    assert not any(name.startswith(("connector", "norm", "position")) for name, _ in one.named_parameters())


def test_the_warm_up_teaches_the_summary_and_runs_no_language_model(language_model: LanguageModel) -> None:
    one = head(language_model("gpt2"), slots=2, tune="lora")
    source, target = fused(), texts(one)

    def refuse(*_: object) -> None:
        raise AssertionError("the language model ran")

    one.model.register_forward_pre_hook(refuse)
    loss = one.module.warm_up_loss(source.fused(), source.context(), target)  # type: ignore[operator]
    loss.total.sum().backward()
    learning = {name for name, p in one.named_parameters() if p.grad is not None}
    assert "summary.layers.3.weight" in learning
    assert not any(name.startswith(("model.", "connector")) for name in learning)
    assert one.warm_up_epochs == 10
    assert head(language_model("gpt2"), bag_weight=0.0).warm_up_epochs == 0
    assert torch.equal(loss.count, one.module.count(target)["bag"])  # type: ignore[operator]
    assert loss.count[3] == 0, "a row without a text"


def test_the_bags_loss_tells_texts_apart_by_the_summary_alone(language_model: LanguageModel) -> None:
    one = head(language_model("qwen2"), slots=2, connector="none")
    source, target = fused(), texts(one)
    one.module.fit_texts([values[values != one.target.padding_id].tolist() for values in target.values])  # type: ignore[operator]
    optimizer = torch.optim.Adam([p for n, p in one.named_parameters() if n.startswith(("summary", "bag"))], lr=0.01)
    for _ in range(60):
        loss = one.module.warm_up_loss(source.fused(), source.context(), target).total.sum()  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        own = one.module.warm_up_loss(source.fused(), source.context(), target).total  # type: ignore[operator]
        shuffled = replace(source, pooled=source.pooled.roll(1, dims=0))
        others = one.module.warm_up_loss(shuffled.fused(), source.context(), target).total  # type: ignore[operator]
    present = target.present
    assert (own < others)[present].all()
