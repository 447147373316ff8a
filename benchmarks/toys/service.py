"""A toy customer service: a picture of what arrived, a message, and a voice that says the order's number; a reply.

The reply follows rules that need all three: the picture tells the thing, its color and whether it is broken, the
message who writes and what she wants, the voice the two digits of the order. Of "Please send my money back. Ada", a
cracked red cup and "four seven" comes "Dear Ada, we are sorry about your broken red cup of order 4 7; your money is on
its way." Where the picture or the voice is missing, the right reply asks for it, so what is absent is told from what
was not understood.

The voices of the test split speak in no other, and its combinations of thing, color and wish are seen nowhere else.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

from polysense.core import random
from polysense.data.demo.assets import read_speech
from polysense.errors import UserError
from toys.spoken_numbers import say

__all__ = ["Case", "draw_thing", "make_service", "reply"]

SIZE = 48
"""Height and width of a picture, in pixels."""

_THINGS = ("cup", "lamp", "ball", "box")
_COLORS = {
    "red": (200, 40, 40),
    "blue": (50, 70, 200),
    "green": (40, 150, 60),
    "yellow": (220, 200, 50),
    "black": (40, 40, 40),
}
_NAMES = ("Ada", "Boris", "Chen", "Dana", "Elif", "Femi", "Gita", "Hugo", "Ines", "Jin", "Kofi", "Lea")
_GREETINGS = ("", "Hello,", "Good morning.", "To whom it may concern:")
_CLOSINGS = ("", "Thanks,", "Yours,", "Best wishes,")
# What is wanted, how it is asked for, and what a reply says to it.
_WISHES: dict[str, tuple[tuple[str, ...], str]] = {
    "money": (
        ("Please send my money back.", "I want a refund!", "I'd rather have what I paid returned."),
        "your money is on its way",
    ),
    "new": (
        ("Could you send another one?", "I need a new one, soon.", "Please replace it."),
        "a new one is on its way",
    ),
    "repair": (
        ("Can it be repaired?", "Would you mend it, please?", "I'd like you to fix it."),
        "send it to us and we will repair it",
    ),
}
_SHARE_BROKEN, _SHARE_MISSING = 0.7, 0.1
_SPLITS = ("train",) * 8 + ("validation",) + ("test",)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the three columns of a row tell.

    Attributes:
        name: Who writes.
        wish: "money", "new" or "repair".
        thing: What arrived.
        color: Its color.
        broken: Whether it is cracked.
        order: Two digits.
        has_photo: Whether there is a picture.
        has_voice: Whether there is a recording.
    """

    name: str
    wish: str
    thing: str
    color: str
    broken: bool
    order: str
    has_photo: bool = True
    has_voice: bool = True


def reply(case: Case) -> str:
    """What customer service answers; a function of what the row's present cells tell, and of nothing else."""
    requested = [
        *([] if case.has_photo else ["a picture of what arrived"]),
        *([] if case.has_voice else ["the number of your order"]),
    ]
    if requested:
        return f"Dear {case.name}, please send us {' and '.join(requested)}."
    what = f"{case.color} {case.thing} of order {' '.join(case.order)}"
    if not case.broken:
        return f"Dear {case.name}, we see no damage to your {what}; could you send another picture?"
    return f"Dear {case.name}, we are sorry about your broken {what}; {_WISHES[case.wish][1]}."


def draw_thing(case: Case, draws: np.random.Generator) -> Image.Image:
    """The picture: a drawn thing somewhere on a light ground, with a crack across if it is broken."""
    ground = tuple(int(value) for value in draws.integers(200, 256, 3))
    image = Image.new("RGB", (SIZE, SIZE), ground)
    pen, color = ImageDraw.Draw(image), _COLORS[case.color]
    side = int(draws.integers(24, 33))
    left, top = (int(value) for value in draws.integers(2, SIZE - side - 2, 2))
    right, bottom, middle = left + side, top + side, top + side // 2
    match case.thing:
        case "cup":
            pen.rectangle((left, top, right - side // 4, bottom), fill=color)
            pen.arc((right - side // 2, top + side // 4, right, bottom - side // 4), -90, 90, fill=color, width=3)
        case "lamp":
            pen.polygon([(left + side // 2, top), (left, middle), (right, middle)], fill=color)
            pen.rectangle((left + side // 2 - 2, middle, left + side // 2 + 2, bottom), fill=color)
        case "ball":
            pen.ellipse((left, top, right, bottom), fill=color)
        case _:
            pen.rectangle((left, top, right, bottom), fill=color)
    if case.broken:
        heights = middle + draws.integers(-5, 6, 6)
        across = np.linspace(left - 2, right + 2, len(heights)).astype(int)
        pen.line(list(zip(across.tolist(), heights.tolist(), strict=True)), fill=ground, width=4)
    return image


def make_service(folder: str | Path, *, seed: int = 0, num_rows: int = 2_000) -> Path:
    """Writes the table, its pictures and its recordings.

    Args:
        folder: Where to write; made if it is not there.
        seed: Which cases; the same seed and number of rows give the same bytes.
        num_rows: Rows of all splits together, 10 to 50,000: 80% train, 10% validation, 10% test.

    Returns:
        The path of service.csv, with the columns photo, voice, message, reply and split.

    Raises:
        UserError: `num_rows` is out of range, or the folder can't be written.
    """
    if not 10 <= num_rows <= 50_000:
        raise UserError(f"the customer service can have 10 to 50,000 rows, not {num_rows:,}: choose another num_rows")
    speech = read_speech()
    splits = np.array(_SPLITS)
    voice_splits = splits[random.permutation(len(speech.voices), seed, "service voices") % len(splits)]
    kinds = [(thing, color, wish) for thing in _THINGS for color in _COLORS for wish in _WISHES]
    kind_splits = splits[random.permutation(len(kinds), seed, "service kinds") % len(splits)]
    folder = Path(folder)
    rows = []
    try:
        for name in ("photo", "voice"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for row in range(num_rows):
            draws = random.generator(seed, "service row", row)
            split = _SPLITS[row % len(_SPLITS)]
            thing, color, wish = kinds[int(draws.choice(np.flatnonzero(kind_splits == split)))]
            voice = int(draws.choice(np.flatnonzero(voice_splits == split)))
            case = Case(
                name=str(draws.choice(_NAMES)),
                wish=wish,
                thing=thing,
                color=color,
                broken=bool(draws.random() < _SHARE_BROKEN),
                order=f"{draws.integers(100):02d}",
                has_photo=bool(draws.random() >= _SHARE_MISSING),
                has_voice=bool(draws.random() >= _SHARE_MISSING),
            )
            photo, clip = (f"photo/{row:05d}.png", f"voice/{row:05d}.wav")
            if case.has_photo:
                draw_thing(case, draws).save(folder / photo)
            if case.has_voice:
                wave = say(case.order, speech, voice, draws)
                soundfile.write(folder / clip, wave, speech.sample_rate, subtype="PCM_16")
            words = (draws.choice(choices) for choices in (_GREETINGS, _WISHES[wish][0], _CLOSINGS))
            message = " ".join(filter(None, [*map(str, words), case.name]))
            rows.append([photo if case.has_photo else "", clip if case.has_voice else "", message, reply(case), split])
        table = folder / "service.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["photo", "voice", "message", "reply", "split"])
            writer.writerows(rows)
    except OSError as error:
        raise UserError(
            f"the customer service can't be written to {folder}: {error}; name a folder that can be written"
        ) from error
    return table
