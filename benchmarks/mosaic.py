"""Few images with boxes: what four of them put together (`training.mosaic`) are worth.

    python benchmarks/mosaic.py [--rows 80] [--epochs 60] [--seeds 3] [--output FOLDER]

Made pictures of two to five shapes of three forms, of any color and of 10 to 36 pixels on a noisy ground of 96; what a
model must tell is the form. Each seed has training pictures of its own; all are tested on the same 300. Without and
with mosaic a training takes the same epochs and steps.
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
from grounding import _draw

_SIDE, _FORMS = 96, ("circle", "triangle", "diamond")
_SMALLEST, _LARGEST, _TRIES = 10, 36, 100
_TEST_ROWS, _TEST_SEED = 300, 1_000


def make_rows(folder: Path, num_rows: int, seed: int) -> list[dict[str, Any]]:
    """Pictures in `folder`, and rows with the boxes of all shapes."""
    draws = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(num_rows):
        image = Image.fromarray(draws.integers(150, 250, (_SIDE, _SIDE, 3), dtype=np.uint8))
        draw, boxes = ImageDraw.Draw(image), list[tuple[int, int, int, int]]()
        cells = []
        for _ in range(int(draws.integers(2, 6))):
            box = _place(draws, boxes)
            if box is None:
                continue
            form = _FORMS[int(draws.integers(len(_FORMS)))]
            _draw(draw, form, (box[0], box[1], box[2] - 1, box[3] - 1), tuple(draws.integers(0, 256, 3).tolist()))
            boxes.append(box)
            cells.append({"label": form, "box": list(box)})
        path = folder / f"{seed}_{i}.png"
        image.save(path)
        rows.append({"picture": str(path), "things": json.dumps(cells)})
    return rows


def _place(draws: np.random.Generator, taken: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int] | None:
    """A square that touches no other."""
    for _ in range(_TRIES):
        size = int(draws.integers(_SMALLEST, _LARGEST))
        left, top = (int(each) for each in draws.integers(0, _SIDE - size, 2))
        right, bottom = left + size, top + size
        if all(right < a or left > c or bottom < b or top > d for a, b, c, d in taken):
            return left, top, right, bottom
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=80, help="training pictures; half as many validate")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    folder = options.output or Path(tempfile.mkdtemp(prefix="mosaic_"))
    test = make_rows(folder / "test", _TEST_ROWS, _TEST_SEED)
    print("| seed | mosaic | mAP50 | mAP 50:95 |\n| --- | --- | --- | --- |", flush=True)
    for seed in range(options.seeds):
        train = make_rows(folder / "train", options.rows, seed)
        validation = folder / f"validation_{seed}.jsonl"
        others = make_rows(folder / "validation", options.rows // 2, seed + 100)
        validation.write_text("\n".join(map(json.dumps, others)), encoding="utf-8")
        for mosaic in (0.0, 1.0):
            run = folder / f"run_{seed}_{mosaic:g}"
            polysense.fit(
                train, target="things", validation=validation, output=run,
                columns={"picture": "image", "things": "detection"},
                overrides=[
                    f"training.epochs={options.epochs}", f"training.mosaic={mosaic:g}", f"training.seed={seed}",
                    "training.early_stopping=null", "training.batch_size=8", "training.num_threads=1",
                    "training.tensorboard=false", "evaluation.contribution=false", "audit=off",
                    f"data.columns.picture.size=[{_SIDE},{_SIDE}]",
                ],
            )  # fmt: skip
            metrics = polysense.evaluate(run, test).evaluation.metrics["things"]
            shown = [
                f"{metrics[key].value:.3f} ({metrics[key].low:.3f} to {metrics[key].high:.3f})"
                for key in ("map_50", "map")
            ]
            print(f"| {seed} | {mosaic:g} | {shown[0]} | {shown[1]} |", flush=True)


if __name__ == "__main__":
    main()
