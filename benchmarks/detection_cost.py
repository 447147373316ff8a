"""Milliseconds per prediction and images per second in training of the dense detection head, beside torchvision's FCOS.

    python benchmarks/detection_cost.py [--size 224] [--rounds 7] [--threads 1] [--memory 200 800 2400] [--json FILE]

Both have the same backbone (transformers' MobileNetV2, random weights, all of it learns), the same pictures, classes,
candidates and overlap; torchvision's reads the levels of 8, 16 and 32 pixels and one more. FCOS has 256 channels and
four convolutions for classes and for boxes each, as published (Tian et al., 2019); `--channels`, `--blocks` give ours
others than its defaults. A prediction is one picture, non-maximum suppression included; a training step is forward,
losses, backward and AdamW. Both take turns, the clock is the process's own CPU time, and the median ratio is printed.

With `--memory` a small model is evaluated on so many pictures, each number in a process of its own, of which the
system tells the peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor, nn

from polysense.core.batch import Batch, ColumnBatch
from polysense.core.schema import Schema
from polysense.modalities.image.record import ImageColumn
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.pretrained import PretrainedConfig
from polysense.tasks.detection.heads.dense import DenseDetectionHeadConfig
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.truth import BoxTruth

CLASSES = 80
BOXES = 7  # of a picture, as in COCO
SCORE, OVERLAP, CANDIDATES, DETECTIONS = 0.001, 0.6, 1000, 100


def polysense_model(folder: Path, size: int, settings: dict[str, int]) -> MultimodalModel:
    """A model of one image column and boxes in it; the folder has the backbone's config."""
    column = ImageColumn(
        name="photo", image_size=(size, size), num_channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    target = DetectionTarget(
        name="boxes", columns=("boxes",), num_rows=100, classes=tuple(f"class {i}" for i in range(CLASSES)),
        class_counts=(100,) * CLASSES, over="photo", size=(size, size),
    )  # fmt: skip
    config = ModelConfig(
        width=96,
        encoders={"photo": PretrainedConfig(path=str(folder), weights="random", tune="full")},
        fusion=ConcatFusionConfig(),
        heads={
            "boxes": DenseDetectionHeadConfig(
                min_score=SCORE,
                max_overlap=OVERLAP,
                max_detections=DETECTIONS,
                **settings,  # type: ignore[arg-type]
            )
        },
    )
    return config.build(Schema(columns=(column,), targets=(target,)))


class Backbone(nn.Module):
    """The same network's maps of 8, 16 and 32 pixels through a feature pyramid, as torchvision's detectors take it."""

    def __init__(self, folder: Path, size: int) -> None:
        super().__init__()
        import transformers
        from torchvision.ops import FeaturePyramidNetwork
        from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

        self.network: Any = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(folder))
        with torch.no_grad():
            widths = [each.shape[1] for each in self._maps(torch.zeros(1, 3, size, size))]
        self.pyramid = FeaturePyramidNetwork(widths, 256, extra_blocks=LastLevelMaxPool())
        self.out_channels = 256

    def _maps(self, x: Tensor) -> list[Tensor]:
        states = self.network(x, output_hidden_states=True).hidden_states
        return [*{each.shape[2:]: each for each in states}.values()][-3:]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = self.pyramid(OrderedDict((str(i), each) for i, each in enumerate(self._maps(x))))
        return maps


def torchvision_model(folder: Path, size: int) -> nn.Module:
    """FCOS at the same size."""
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    model: nn.Module = FCOS(
        Backbone(folder, size), CLASSES, min_size=size, max_size=size, score_thresh=SCORE, nms_thresh=OVERLAP,
        detections_per_img=DETECTIONS, topk_candidates=CANDIDATES,
        anchor_generator=AnchorGenerator(sizes=((8,), (16,), (32,), (64,)), aspect_ratios=((1.0,),) * 4),
    )  # fmt: skip
    return model


def made_pictures(num: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, boxes and labels."""
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num, 3, size, size), generator=draws, dtype=torch.uint8)
    corners = torch.rand(num, BOXES, 2, generator=draws) * size * 0.6
    sides = (0.05 + 0.35 * torch.rand(num, BOXES, 2, generator=draws)) * size
    labels = torch.randint(0, CLASSES, (num, BOXES), generator=draws)
    return pixels, torch.cat([corners, corners + sides], dim=2), labels


def batch_of(pixels: Tensor, boxes: Tensor, labels: Tensor) -> Batch:
    """As our model takes them."""
    ones = torch.ones(len(pixels), 1, dtype=torch.int64)
    sides = boxes[..., 2:] - boxes[..., :2]
    truth = BoxTruth(
        present=ones[:, 0].bool(), boxes=boxes, labels=labels, kinds=torch.zeros_like(labels), originals=boxes,
        areas=sides.prod(dim=2),
    )  # fmt: skip
    column = ColumnBatch(values=pixels[:, None], lengths=ones)
    return Batch(rows=torch.arange(len(pixels)), columns={"photo": column}, truths={"boxes": truth})


def seconds_of(run: Callable[[], object], repeats: int) -> float:
    """Processor seconds of one run."""
    start = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - start) / repeats


def costs(options: argparse.Namespace) -> list[dict[str, object]]:
    """Both sides of both measures."""
    settings = {name: getattr(options, name) for name in ("channels", "blocks") if getattr(options, name) is not None}
    with tempfile.TemporaryDirectory() as temporary:
        import transformers

        transformers.MobileNetV2Config(image_size=options.size).save_pretrained(temporary)
        torch.manual_seed(0)
        ours = polysense_model(Path(temporary), options.size, settings)
        theirs = torchvision_model(Path(temporary), options.size)
    one, many = (made_pictures(num, options.size) for num in (1, options.batch))
    steppers = []
    for model in (ours, theirs):
        steppers.append(torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True))

    def predict_ours() -> None:
        with torch.inference_mode():
            ours.predict(batch_of(*one))

    def predict_theirs() -> None:
        with torch.inference_mode():
            theirs([one[0][0].float() / 255])

    def train_ours() -> None:
        output, weights = ours(batch_of(*many)), ours.loss_weights
        losses = [weights[name] * each.total.sum() / each.count.sum().clamp(min=1) for name, each in
                  output.losses.items()]  # fmt: skip
        torch.stack(losses).sum().backward()
        steppers[0].step()
        steppers[0].zero_grad()

    def train_theirs() -> None:
        pixels, boxes, labels = many
        targets = [{"boxes": own, "labels": each} for own, each in zip(boxes, labels, strict=True)]
        torch.stack([*theirs([each.float() / 255 for each in pixels], targets).values()]).sum().backward()
        steppers[1].step()
        steppers[1].zero_grad()

    results = []
    for name, training, sides, num, repeats in (
        ("prediction", False, (predict_ours, predict_theirs), 1, 5),
        ("training", True, (train_ours, train_theirs), options.batch, 1),
    ):
        ours.train(training)
        theirs.train(training)
        for run in sides:
            run()
        pairs = [[seconds_of(run, repeats) for run in sides] for _ in range(options.rounds)]
        mine, yours = (statistics.median(side) / num for side in zip(*pairs, strict=True))
        ratios = sorted(one_side / other for one_side, other in pairs)
        results.append({
            "measure": name, "polysense_ms_per_image": round(1e3 * mine, 2), "fcos_ms_per_image": round(1e3 * yours, 2),
            "polysense_images_per_second": round(1 / mine, 2), "fcos_images_per_second": round(1 / yours, 2),
            "ratio_of_time": round(statistics.median(ratios), 3), "least": round(ratios[0], 3),
            "most": round(ratios[-1], 3), "rounds": options.rounds,
        })  # fmt: skip
    sizes = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    return [*results, {"measure": "parameters", "polysense": sizes[0], "fcos": sizes[1]}]


def memory(counts: list[int]) -> list[dict[str, object]]:
    """Peak memory of an evaluation by its pictures."""
    import polysense
    from grounding import make_rows

    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = make_rows(folder / "pictures", max(counts), 0)
        run = polysense.fit(
            rows[:64], target="thing", output=folder / "run", progress=False,
            columns={"sentence": "text", "picture": "image", "pixels": "ignored"},
            overrides=["training.epochs=1", "audit=off", "evaluation.contribution=false", "training.tensorboard=false"],
        )  # fmt: skip
        for count in counts:
            table = folder / f"{count}.jsonl"
            table.write_text("".join(json.dumps(row) + "\n" for row in rows[:count]), encoding="utf-8")
            command = [sys.executable, __file__, "--evaluate", str(run.folder / "bundle"), str(table)]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
            results.append({"pictures": count, "peak_mib": int(done.stdout.split()[-1]) // 1024})
            print(json.dumps(results[-1]), flush=True)
    return results


def evaluate(bundle: str, table: str) -> None:
    """Prints this process's peak memory in KiB."""
    import polysense

    polysense.evaluate(bundle, table)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels", type=int, help="of our head, if not its default")
    parser.add_argument("--blocks", type=int, help="likewise")
    parser.add_argument("--memory", type=int, nargs="*", metavar="PICTURES")
    parser.add_argument("--evaluate", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.evaluate:
        evaluate(*options.evaluate)
        return
    torch.set_num_threads(options.threads)
    results = costs(options) if options.memory is None else memory(options.memory)
    if options.memory is None:
        print("\n".join(map(json.dumps, results)))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
