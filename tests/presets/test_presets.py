"""From guesses to recipes."""

from __future__ import annotations

import pytest

from polysense.core.role import Role
from polysense.data.roles.profile import ColumnGuess
from polysense.data.split import ColumnSplitConfig, FractionSplitConfig, GroupSplitConfig
from polysense.errors import ColumnError, ConfigError
from polysense.modalities.audio.encoders.conformer import ConformerConfig
from polysense.nn.auto_encoder import AutoEncoderConfig
from polysense.nn.encoder import EncoderConfig
from polysense.presets import PRESETS, SMALL_TABLE, recipe_for
from polysense.recipe import Recipe
from polysense.tasks.generation.heads.ctc_attention import CTCAttentionHeadConfig
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.heads.generator import GeneratorHeadConfig
from polysense.tasks.generation.heads.recognizer import RecognizerHeadConfig
from polysense.tasks.generation.target import GenerationTargetConfig


def guess(name: str, role: Role, modality: str | None = None, task: str | None = None) -> ColumnGuess:
    return ColumnGuess(name=name, role=role, modality=modality, task=task, reason="because")


INPUTS = [
    guess("photo", Role.INPUT, "image"),
    guess("speech", Role.INPUT, "audio"),
    guess("note", Role.INPUT, "text"),
    guess("age", Role.INPUT, "number"),
    guess("shop", Role.INPUT, "category"),
    guess("day", Role.INPUT, "date"),
    guess("film", Role.IGNORED, "video"),
]
TARGETS = [guess("label", Role.TARGET, task="classification"), guess("price", Role.TARGET, task="regression")]


def from_scratch(recipe: Recipe, column: str) -> EncoderConfig:
    """The encoder of a column where no backbone is at hand."""
    encoder = recipe.model.encoders[column]
    assert isinstance(encoder, AutoEncoderConfig)
    assert encoder.scratch is not None
    return encoder.scratch


def test_columns_that_may_have_a_backbone_look_for_one() -> None:
    encoders = recipe_for([*INPUTS, *TARGETS], 100).model.encoders
    looking = {name for name, encoder in encoders.items() if isinstance(encoder, AutoEncoderConfig)}
    assert looking == {"photo", "speech", "note"}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("num_rows", [10, SMALL_TABLE, 1_000_000])
def test_every_preset_serves_every_modality_and_size(preset: str, num_rows: int) -> None:
    recipe = recipe_for([*INPUTS, *TARGETS], num_rows, preset=preset)
    assert set(recipe.model.encoders) == {"photo", "speech", "note", "age", "shop", "day"}
    assert set(recipe.model.heads) == {"label", "price"}
    length, training = PRESETS[preset].length, recipe.training
    assert training.epochs >= length.fewest_epochs
    assert training.early_stopping is not None


def test_rows_for_a_test_are_set_aside_where_there_are_rows_to_spare() -> None:
    small, large = (recipe_for([*INPUTS, *TARGETS], rows).data.split for rows in (SMALL_TABLE, SMALL_TABLE + 1))
    assert isinstance(small, FractionSplitConfig)
    assert isinstance(large, FractionSplitConfig)
    assert (small.validation, small.test) == (0.1, 0.0)
    assert (large.validation, large.test) == (0.1, 0.1)
    given = recipe_for([*INPUTS, *TARGETS], 100_000, validation="v.csv", test="t.csv").data.split
    assert isinstance(given, FractionSplitConfig)
    assert (given.validation, given.test) == (0.0, 0.0)


def test_a_split_column_is_used() -> None:
    split = recipe_for([*INPUTS, *TARGETS, guess("fold", Role.SPLIT)], 100).data.split
    assert isinstance(split, ColumnSplitConfig)
    assert split.column == "fold"


def test_a_stated_group_or_weight_column_is_used() -> None:
    stated = [*INPUTS, *TARGETS, guess("patient", Role.GROUP), guess("trust", Role.WEIGHT)]
    data = recipe_for(stated, 100_000).data
    assert isinstance(data.split, GroupSplitConfig)
    assert (data.split.column, data.split.validation, data.split.test) == ("patient", 0.1, 0.1)
    assert data.weight == "trust"
    fixed = recipe_for([*stated, guess("fold", Role.SPLIT)], 100).data.split
    assert isinstance(fixed, ColumnSplitConfig)
    assert (fixed.column, fixed.group) == ("fold", "patient")
    assert recipe_for([*INPUTS, *TARGETS], 100).data.weight is None


def test_what_is_varied_can_be_given() -> None:
    plain = recipe_for([*INPUTS, *TARGETS], 100).data.transforms
    assert plain["photo"].flip is False  # type: ignore[attr-defined]
    assert set(plain) == {"photo", "speech", "note"}
    assert recipe_for([*INPUTS, *TARGETS], 100, transforms={}).data.transforms == {}


def test_what_can_not_be_served_is_said() -> None:
    with pytest.raises(ConfigError, match="there is no preset 'huge'; choose from: fast, balanced, best; or a time"):
        recipe_for([*INPUTS, *TARGETS], 10, preset="huge")
    with pytest.raises(ColumnError, match="no column can serve as an input:\n  film: because"):
        recipe_for([INPUTS[-1], *TARGETS], 10)


def test_a_recording_and_its_text_are_speech_recognition() -> None:
    speech, said = guess("speech", Role.INPUT, "audio"), guess("said", Role.TARGET, task="generation")
    speaker = guess("speaker", Role.INPUT, "category")
    for inputs in ([speech], [speech, speaker]):
        recipe = recipe_for([*inputs, said], 1000)
        head = recipe.model.heads["said"]
        assert isinstance(head, RecognizerHeadConfig), "a pretrained recognizer where one is at hand"
        assert isinstance(head.scratch, CTCAttentionHeadConfig)
        assert head.scratch.language_model == 5
        assert isinstance(from_scratch(recipe, "speech"), ConformerConfig)
        target = recipe.data.targets["said"]
        assert isinstance(target, GenerationTargetConfig)
        assert target.tokens == "characters"
    # A question about a recording, a caption of a film: nothing to align.
    for other in ("text", "image"):
        recipe = recipe_for([speech, guess("other", Role.INPUT, other), said], 1000)
        own = recipe.model.heads["said"]
        assert isinstance(own, GeneratorHeadConfig), "a language model where one is at hand"
        assert isinstance(own.scratch, GenerationHeadConfig)
        assert own.scratch.bag_weight > 0, "what an answer's words are is learned without the decoder too"
        assert set(recipe.model.objectives) == {"unimodal"}, "and by each column alone"
    assert from_scratch(recipe_for([speech, *TARGETS], 1000), "speech").type == "audio_cnn"


def test_a_caption_of_one_column_is_learned_by_its_decoder_alone() -> None:
    recipe = recipe_for([guess("photo", Role.INPUT, "image"), guess("said", Role.TARGET, task="generation")], 1000)
    own = recipe.model.heads["said"]
    assert isinstance(own, GeneratorHeadConfig)
    assert isinstance(own.scratch, GenerationHeadConfig)
    assert own.scratch.bag_weight == 0
    assert not recipe.model.objectives


def test_few_recordings_are_aligned_in_many_small_steps() -> None:
    guesses = [guess("speech", Role.INPUT, "audio"), guess("said", Role.TARGET, task="generation")]
    assert recipe_for(guesses, 400).training.batch_size == 8
    assert recipe_for(guesses, 2000).training.batch_size == 16
    assert recipe_for([guesses[0], *TARGETS], 400).training.batch_size == 16


def test_images_are_generated_by_averaged_weights_after_long_training() -> None:
    pictures = guess("picture", Role.TARGET, task="image_generation")
    recipe = recipe_for([guess("name", Role.INPUT, "text"), pictures], 1000)
    text = recipe_for([guess("name", Role.INPUT, "text"), guess("said", Role.TARGET, task="generation")], 1000)
    assert recipe.training.ema == 0.999
    assert recipe.training.epochs == 2 * text.training.epochs
    assert recipe.model.heads["picture"].type == "rectified_flow"
