"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from polysense.config.base import Config
from polysense.config.limits import (
    Fraction,
    FractionBelowOne,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Seed,
)
from polysense.core.duration import parse_duration
from polysense.data.batches.batching import BatchingConfig, RowBatchingConfig
from polysense.data.batches.sampling import SamplerConfig, ShuffleConfig
from polysense.errors import ConfigError
from polysense.training.balance import BalanceConfig
from polysense.training.optim import OptimizerConfig
from polysense.training.optimizers import AdamWConfig
from polysense.training.schedule import CosineConfig, ScheduleConfig

__all__ = ["TrainingConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """How the model is trained.

    Attributes:
        epochs: Passes over the training rows. 0 trains nothing.
        time: The time that the whole run may take, evaluation and report included, for example 30s, 10m or 1h (a number
            is seconds); null sets no limit. As many epochs are trained as fit, and what was left out is listed.
        batch_size: Rows in one optimization step, over all micro-batches and processes together.
        batching: How rows are batched: rows (batch_size of them, optionally of similar length) or tokens (rows of
            similar length up to a budget of padded tokens).
        sampler: How often each row is drawn in an epoch: shuffle (once), class_balanced or square_root (rows of rare
            classes more often).
        mixup: Mixes the encoded tokens of each training row with those of another row, by a share from a Beta
            distribution with this parameter: 0.2 mixes few rows much, 1 all evenly. Takes twice the encoding; 0 mixes
            nothing.
        cutmix: Likewise, but of images a box of the other row's is pasted in place of mixing them, and its share of the
            pixels is the other row's share; 1 as in Yun et al., ICCV 2019. 0 pastes nothing.
        mosaic: Probability with which a training image becomes one of four that are put together, with what lies in
            them (boxes, masks), as in Bochkovskiy et al., 2020; in the last tenth of the epochs images are whole. Only
            where nothing but the image is read. Takes up to four times the decoding.
        accumulate: Micro-batches that a step is split into. More takes less memory and changes no result.
        optimizer: What turns gradients into steps: adamw, adam or sgd.
        schedule: How the learning rate changes over the run: cosine, constant or plateau.
        balance: Balancing of columns that learn at different speeds: gradient_blending, ogm_ge or staged_freezing; null
            for none.
        clip_norm: Gradients with a larger norm are scaled down to this norm; null does not clip.
        early_stopping: Epochs without a better value of `monitor` after which training stops; null never stops early.
        monitor: Which validation metric picks the best weights, as head/metric, for example label/accuracy. "auto"
            takes each target's proper score where its task has one (log loss, squared error of the scaled numbers),
            else the metric that its task is selected by, averaged over the targets.
        validate_every: Epochs from one validation to the next; the last epoch is always validated.
        ema: Decay of an exponential moving average of the weights, for example 0.999, which is then validated and
            saved; null saves the weights as trained.
        precision: fp32, bf16, or auto (bf16 on a CUDA device that has it, else fp32).
        device: cpu, cuda, mps, or auto (cuda if there is one, else cpu).
        seed: Decides the initial weights, the order of the rows, augmentation and dropout.
        num_threads: CPU threads for the arithmetic; null leaves it to torch.
        compile: Whether the forward pass is compiled (slow to start, faster afterwards, mostly on a GPU).
        log_every: Steps from one log record to the next.
        checkpoint_every_steps: Steps from one checkpoint to the next within an epoch; null saves none by steps.
        checkpoint_every_minutes: Minutes from one checkpoint to the next within an epoch; null saves none by time. A
            checkpoint is saved after every epoch in any case, except where saving would cost more than 5% of the time.
        tensorboard: Whether to write TensorBoard event files in addition to log.jsonl.
    """

    epochs: NonNegativeInt = 20
    time: str | PositiveFloat | None = None
    batch_size: PositiveInt = 32
    batching: BatchingConfig = field(default_factory=RowBatchingConfig)
    sampler: SamplerConfig = field(default_factory=ShuffleConfig)
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    mosaic: Fraction = 0.0
    accumulate: PositiveInt = 1
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    schedule: ScheduleConfig = field(default_factory=CosineConfig)
    balance: BalanceConfig | None = None
    clip_norm: PositiveFloat | None = 1.0
    early_stopping: PositiveInt | None = None
    monitor: str = "auto"
    validate_every: PositiveInt = 1
    ema: FractionBelowOne | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    seed: Seed = 0
    num_threads: PositiveInt | None = None
    compile: bool = False
    log_every: PositiveInt = 10
    checkpoint_every_steps: PositiveInt | None = None
    checkpoint_every_minutes: PositiveFloat | None = 10.0
    tensorboard: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"ema must be above 0 and below 1, or null; found {self.ema}")
        several = {name: getattr(self, name) for name in ("mixup", "cutmix", "mosaic") if getattr(self, name)}
        if len(several) > 1:
            listed = " and ".join(f"{name} is {value:g}" for name, value in several.items())
            raise ConfigError(f"{listed}: each mixes a row with others in a way of its own; set all but one to 0")
        if self.time is not None:
            parse_duration(self.time, "time")
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"a batch_size of {self.batch_size} can't be split into {self.accumulate} equal micro-batches; "
                f"take a batch_size that {self.accumulate} divides"
            )
        if self.monitor not in ("auto", "loss") and not all(self.monitor.partition("/")):
            raise ConfigError(
                f"monitor is 'auto', 'loss' or head/metric, for example label/log_loss; found {self.monitor!r}"
            )

    @property
    def seconds(self) -> float | None:
        """`time` in seconds."""
        return None if self.time is None else parse_duration(self.time, "time")

    @property
    def micro_batch_size(self) -> int:
        """Rows in one batch of the loader, over all processes together, where a step has `batch_size` rows."""
        return self.batch_size // self.accumulate
