from __future__ import annotations

import logging
from collections.abc import Mapping

import polars as pl
import pytest

from polysense.config.base import members
from polysense.data.augmentation.base import TransformConfig
from polysense.data.augmentation.properties import PROPERTIES, spoken_words
from polysense.data.augmentation.safety import conflicts, spared
from polysense.data.roles.infer import infer
from polysense.data.tables.sources import Table, read_table
from polysense.modalities.audio.augment import AudioTransformConfig
from polysense.modalities.image.augment import ImageTransformConfig
from polysense.modalities.image.policy import PolicyConfig
from polysense.modalities.series.augment import SeriesTransformConfig
from polysense.modalities.text.augment import TextTransformConfig
from polysense.modalities.video.augment import VideoTransformConfig
from polysense.workflows.augmentation_safety import safe_transforms

STRONG: Mapping[str, TransformConfig] = {
    "image": ImageTransformConfig(
        flip=True,
        rotate_degrees=180.0,
        hue_degrees=90.0,
        saturation=2.0,
        gray_probability=0.5,
        brightness=0.5,
        scale=1.0,
        crop_area=(0.1, 0.4),
        policy=PolicyConfig(),
    ),
    "audio": AudioTransformConfig(
        gain_db=12.0, pitch_semitones=4.0, speed=0.3, noise_probability=0.5, reverb_probability=0.5
    ),
    "text": TextTransformConfig(swap=0.3),
    "series": SeriesTransformConfig(time_warp=0.9),
    "video": VideoTransformConfig(frames=ImageTransformConfig(flip=True, hue_degrees=90.0)),
}


def table(**columns: list[object]) -> Table:
    return read_table(pl.DataFrame(columns))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("left and right", "The cat on the left sleeps."),
        ("left and right", "RIGHT lung"),
        ("left and right", "turnLeft"),
        ("left and right", "lung_left"),
        ("left and right", "die Katze links im Bild"),
        ("left and right", "Fraktur des rechten Handgelenks"),
        ("left and right", "le chat à gauche"),
        ("left and right", "poumon droit et main droite"),
        ("left and right", "el pulmón derecho"),
        ("left and right", "a la izquierda"),
        ("the direction of a turn", "turn it counter-clockwise"),
        ("the direction of a turn", "im Uhrzeigersinn drehen"),
        ("the direction of a turn", "dans le sens des aiguilles d'une montre"),
        ("the direction of a turn", "en sentido horario"),
        ("colors", "a Red car"),
        ("colors", "ein grünes Auto"),
        ("colors", "une voiture bleue"),
        ("colors", "un coche amarillo"),
        ("up and down", "the lower shelf"),
        ("up and down", "oberhalb der Linie"),
        ("loud and quiet", "speaking quietly, then whispering"),
        ("loud and quiet", "sehr leise"),
        ("loud and quiet", "muy ruidoso"),
        ("fast and slow", "he walks slowly"),
        ("pitch", "a female voice"),
        ("light and dark", "zu dunkel"),
        ("large and small", "une petite maison"),
        ("noise", "lots of noise"),
        ("echo", "starker Nachhall"),
        ("the order of words", "order"),
    ],
)
def test_a_text_speaks_of_a_property_in_several_languages(name: str, text: str) -> None:
    assert list(spoken_words(name, text)), text
    if text != "turnLeft":  # words stand together in names alone
        assert list(spoken_words(name, f"{'Words that say nothing of it. ' * 4}{text}")), text


@pytest.mark.parametrize("text", ["bright copyright leftover", "Rechtsanwalt", "Credit covered", "", "1.5", "x" * 9000])
def test_parts_of_other_words_are_none(text: str) -> None:
    for name in ("left and right", "colors", "up and down"):
        assert not list(spoken_words(name, text)), (name, text)


def test_every_transform_that_disturbs_something_says_how_not_to() -> None:
    """Of known properties; and what is spared disturbs it no more."""
    assert set(STRONG) == set(members("transform"))
    for transform in STRONG.values():
        assert transform.disturbs
        assert set(transform.disturbs) <= set(PROPERTIES)
        for name in transform.disturbs:
            assert name not in spared(transform, [name]).disturbs, (transform.type, name)
        assert spared(transform, PROPERTIES).disturbs == {}


@pytest.mark.parametrize("kind", sorted(STRONG))
def test_defaults_disturb_little(kind: str) -> None:
    default = type(STRONG[kind])()
    assert set(default.disturbs) <= {"loud and quiet", "noise"}


def test_a_conflict_names_settings_words_and_rows() -> None:
    captions: list[object] = ["a dog", "a cat on the left", None, *["a bird"] * 47, "the right one, left of it"]
    given = table(photo=["x.png"] * 51, caption=captions)
    (each,) = conflicts({"photo": ImageTransformConfig(flip=True)}, given, {"caption": False}, {"photo": "photo"})
    text = each.warning()
    for part in (
        "data.transforms.photo: flip changes left and right",
        "'caption'",
        "'left'",
        "2 of 50 rows",
        "rows 1, 50",
        "flip: false",
    ):
        assert part in text, text
    assert spared(ImageTransformConfig(flip=True), [each.name]) == ImageTransformConfig()


def test_a_word_in_a_few_texts_is_nothing_and_in_a_label_is() -> None:
    given = table(caption=["left", *["nothing"] * 300], side=[*["nothing"] * 300, "left"], photo=["x"] * 301)
    transforms = {"photo": ImageTransformConfig(flip=True)}
    (each,) = conflicts(transforms, given, {"caption": False, "side": True}, {})
    assert each.mention.column == "side"
    assert each.mention.rows == (300,)


def test_files_lists_records_and_missing_cells_are_read_or_left_alone() -> None:
    given = table(
        mask=["masks/left_3.png"] * 4,
        labels=[["cat", "left"], [], None, ["dog"]],
        turns=[[{"role": "user", "content": "on the right"}]] * 4,
        empty=[None] * 4,
        number=[1, 2, 3, 4],
    )
    found = conflicts({"photo": ImageTransformConfig(flip=True)}, given, dict.fromkeys(given.names, True), {})
    assert {each.mention.column for each in found} == {"labels", "turns"}


def test_a_text_may_speak_of_the_order_of_its_own_words() -> None:
    given = table(note=["first this, then that"] * 4, label=["before", "after"] * 2)
    found = conflicts({"note": TextTransformConfig(swap=0.2)}, given, {"note": False, "label": True}, {"note": "note"})
    assert [each.mention.column for each in found] == ["label"]


def test_presets_leave_out_what_contradicts_the_table(caplog: pytest.LogCaptureFixture) -> None:
    rows = 40
    given = table(
        photo=[f"{i}.png" for i in range(rows)],
        caption=[f"the cat number {i} lies to the {'left' if i % 2 else 'right'} of the dog" for i in range(rows)],
        sound=[f"{i}.wav" for i in range(rows)],
        level=["loud", "quiet"] * (rows // 2),
    )
    guesses = infer(given, ["level"], overrides={"photo": "image", "sound": "audio", "caption": "text"})
    chosen = {"photo": ImageTransformConfig(flip=True), "sound": AudioTransformConfig(noise_probability=0.0)}
    with caplog.at_level(logging.INFO):
        safe = safe_transforms(chosen, given, guesses)
    assert safe == {"photo": ImageTransformConfig(), "sound": AudioTransformConfig(noise_probability=0.0, gain_db=0.0)}
    assert "photo: no flip in training, which changes left and right: column 'caption' has 'right'" in caplog.text
    assert "sound: no gain_db in training" in caplog.text
