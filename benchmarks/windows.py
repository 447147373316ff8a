"""Masks of large pictures, read whole and by sliding windows.

    python benchmarks/windows.py [--rows 600] [--epochs 15] [--output FOLDER] [override ...]

A model learns the forms of shapes from pictures of 64 pixels, and is then asked for the masks of pictures of 256 pixels
in which things are as large in pixels as they were: shrunk to 64 as a whole, or window by window, with more and less
overlap. IoU is that of the large pictures' own pixels, over all test pictures together, with intervals over pictures.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import polysense
from made_pictures import draw_shape

__all__ = ["make_rows"]

_FORMS = ("circle", "triangle", "square")  # 1, 2, 3 of a mask; 0 is the rest
_WINDOW, _LARGE = 64, 256


def make_rows(folder: Path, num_rows: int, side: int, seed: int) -> list[dict[str, Any]]:
    """Pictures with a shape for each 32 x 32 pixels, cut at the picture's edges too, and masks."""
    draws = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(num_rows):
        image = Image.fromarray(draws.integers(190, 245, (side, side, 3), dtype=np.uint8))
        mask = Image.new("L", (side, side))
        for _ in range((side // 32) ** 2):
            form, size = int(draws.integers(3)), int(draws.integers(12, 26))
            left, top = (int(draws.integers(-size // 2, side - size // 2)) for _ in range(2))
            box, color = (left, top, left + size, top + size), tuple(draws.integers(0, 170, 3).tolist())
            draw_shape(ImageDraw.Draw(image), _FORMS[form], box, color)
            draw_shape(ImageDraw.Draw(mask), _FORMS[form], box, form + 1)
        row = {"photo": str(folder / f"{seed}_{index}.png"), "mask": str(folder / f"{seed}_{index}.mask.png")}
        image.save(row["photo"])
        mask.save(row["mask"])
        rows.append(row)
    return rows


def mean_iou(bundle: Any, rows: list[dict[str, Any]], settings: list[str]) -> str:
    """Of the forms and the rest, in the pictures' own pixels."""
    cells = bundle.predict([{"photo": row["photo"]} for row in rows], decoding=settings).frame["mask"]
    counts = np.zeros((len(rows), 4, 3))
    for index, (row, cell) in enumerate(zip(rows, cells, strict=True)):
        with Image.open(row["mask"]) as truth, Image.open(io.BytesIO(cell["bytes"])) as mask:
            true, own = np.array(truth), np.array(mask)
        for form in range(4):
            counts[index, form] = (true == form).sum(), (own == form).sum(), ((true == form) & (own == form)).sum()

    def score(chosen: np.ndarray) -> float:
        true, own, both = counts[chosen].sum(axis=0).T
        return float((both / (true + own - both)).mean())

    draws = np.random.default_rng(0).integers(len(rows), size=(1000, len(rows)))
    low, high = np.quantile([score(chosen) for chosen in draws], (0.025, 0.975))
    return f"{score(np.arange(len(rows))):.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--test-rows", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--output", type=Path, help="a new folder for pictures and run; else they are deleted")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.output or Path(temporary)).absolute()
        run = polysense.fit(
            make_rows(folder / "files", options.rows, _WINDOW, 0), target="mask", task="segmentation",
            validation=None, output=folder / "run", progress=False,
            overrides=[
                f"training.epochs={options.epochs}", "audit=off", "training.tensorboard=false",
                "evaluation.contribution=false", *options.overrides,
            ],
        )  # fmt: skip
        rows = make_rows(folder / "large", options.test_rows, _LARGE, 1)
        print("| how a picture of 256 px is read | mean IoU |\n| --- | --- |")
        print(f"| whole, shrunk to 64 px | {mean_iou(run.bundle, rows, [])} |")
        for overlap in (0.0, 0.25, 0.5):
            settings = [f"head.window=[{_WINDOW},{_WINDOW}]", f"head.overlap={overlap}"]
            print(f"| windows of 64 px, overlap {overlap:g} | {mean_iou(run.bundle, rows, settings)} |")
        small = make_rows(folder / "small", 16 * options.test_rows, _WINDOW, 2)
        print(f"| (other pictures of 64 px, whole) | {mean_iou(run.bundle, small, [])} |")


if __name__ == "__main__":
    main()
