"""Referring expressions: which of several shapes a sentence means, found as a box, or as its pixels: with
`--masks` as a class of theirs, with `--instances` as a thing.

    python benchmarks/grounding.py [--masks | --instances] [--rows 4000] [--epochs 40] [--output FOLDER]

Every picture holds a gray square and four shapes. Two of size, color, form and side of the square take two values each,
in all four combinations; the other two are the same for all. So in a sentence like "the small red circle left of the
square" two words matter, which ones differs from picture to picture, and each of the four shapes is as likely to be the
one that is meant: neither the picture nor the sentence alone knows the place. The test pictures are scored with their
sentences, without, and with another row's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import polysense
from made_pictures import draw_shape, print_scores, write_parts

__all__ = ["make_rows"]

_SIDE = 96
_COLORS = {"red": (220, 50, 40), "green": (40, 170, 70), "blue": (50, 90, 220), "yellow": (230, 200, 40)}
_FORMS = ("circle", "triangle", "diamond")
_SIZES = {"small": 12, "large": 22}
_SIDES = ("left of", "right of")
_TRIES = 200


def make_rows(folder: Path, num_rows: int, seed: int) -> list[dict[str, Any]]:
    """Pictures in `folder`, and rows with a sentence and the one box that it means."""
    draws = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    while len(rows) < num_rows:
        row = _row(draws, folder / f"{seed}_{len(rows)}.png")
        if row is not None:
            rows.append(row)
    return rows


def _row(draws: np.random.Generator, path: Path) -> dict[str, Any] | None:
    """A picture and a sentence that means one of its shapes; None where there was no room."""
    options = [tuple(_SIZES), tuple(_COLORS), _FORMS, _SIDES]
    values = [draws.permutation(len(each))[:2] for each in options]
    first, second = draws.permutation(4)[:2].tolist()
    shapes = []
    for one, two in ((0, 0), (0, 1), (1, 0), (1, 1)):
        which = [{first: one, second: two}.get(word, 0) for word in range(4)]
        shapes.append(tuple(options[word][values[word][which[word]]] for word in range(4)))
    meant = int(draws.integers(4))
    anchor = int(draws.integers(38, _SIDE - 54))
    taken = [(anchor, int(draws.integers(10, _SIDE - 26)), 16)]
    for size, _, _, side in shapes:
        place = _place(draws, taken, _SIZES[size], side)
        if place is None:
            return None
        taken.append((*place, _SIZES[size]))
    image = Image.fromarray(draws.integers(225, 245, (_SIDE, _SIDE, 3), dtype=np.uint8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((taken[0][0], taken[0][1], taken[0][0] + 15, taken[0][1] + 15), fill=(110, 110, 110))
    for (_, color, form, _), (left, top, side) in zip(shapes, taken[1:], strict=True):
        draw_shape(draw, form, (left, top, left + side - 1, top + side - 1), _COLORS[color])
    image.save(path)
    size, color, form, where = shapes[meant]
    left, top, side = taken[1 + meant]
    mask = Image.new("L", (_SIDE, _SIDE))
    draw_shape(ImageDraw.Draw(mask), form, (left, top, left + side - 1, top + side - 1), 1)
    mask.save(path.with_suffix(".mask.png"))
    return {
        "picture": str(path),
        "sentence": f"the {size} {color} {form} {where} the square",
        "thing": json.dumps([{"label": "meant", "box": [left, top, left + side, top + side]}]),
        "pixels": str(path.with_suffix(".mask.png")),
        "instance": json.dumps([{"label": "meant", "mask": str(path.with_suffix(".mask.png"))}]),
    }


def _place(
    draws: np.random.Generator, taken: list[tuple[int, int, int]], size: int, side: str
) -> tuple[int, int] | None:
    """Where a shape touches no other one, on its side of the anchor."""
    anchor = taken[0][0]
    low, high = (1, anchor - size - 1) if side == "left of" else (anchor + 18, _SIDE - size - 1)
    if high <= low:
        return None
    for _ in range(_TRIES):
        left, top = int(draws.integers(low, high)), int(draws.integers(1, _SIDE - size - 1))
        if all(
            left + size < x - 1 or x + other < left - 1 or top + size < y - 1 or y + other < top - 1
            for x, y, other in taken
        ):
            return left, top
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--test-rows", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--masks", action="store_true", help="pixels in place of boxes")
    parser.add_argument("--instances", action="store_true", help="things with masks in place of boxes")
    parser.add_argument("--output", type=Path, help="a new folder for pictures and run; else they are deleted")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.output or Path(temporary)).absolute()
        tables = write_parts(folder, make_rows, options.rows, options.test_rows)
        target = "pixels" if options.masks else "instance" if options.instances else "thing"
        others = {name: "ignored" for name in ("thing", "pixels", "instance") if name != target}
        run = polysense.fit(
            tables["train"], target=target, validation=tables["validation"], output=folder / "run",
            columns={"sentence": "text", "picture": "image", **others}, progress=True,
            overrides=[
                f"training.epochs={options.epochs}", "data.transforms={}", "audit=off", "training.tensorboard=false",
                "evaluation.contribution=false", *options.overrides,
            ],
        )  # fmt: skip
        shown = {"iou/1": "IoU of the shape", "mean_iou": "mean IoU", "pixel_accuracy": "pixels that are right"}
        if not options.masks:
            quality = "mask_quality" if options.instances else "box_quality"
            shown = {"map_50": "mAP50", "map": "mAP", quality: "score times IoU"}
        print_scores(run.bundle, tables["test"], target, "sentence", shown)


if __name__ == "__main__":
    main()
