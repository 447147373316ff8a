"""What makes a training of these tests one of seconds, and leaves out what they don't look at."""

from __future__ import annotations

SMALL = [
    "model.width=16",
    "training.epochs=1",
    "training.batch_size=16",
    "training.tensorboard=false",
    "evaluation.bootstrap=0",
    "evaluation.report=false",
    "evaluation.simple_baselines=false",
    "evaluation.contribution=false",
    "evaluation.samples=0",
    "data.transforms={}",
    "data.num_workers=0",
]
