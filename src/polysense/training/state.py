"""What a run is at a moment, and how that is saved and taken up again.

"last" holds everything, "previous" is the "last" before it, and "best" holds the weights alone, as they were validated.
Where "last" is damaged, or was moved away when the process was killed, the run goes on from "previous": two checkpoints
take twice the space, and a bad sector then costs the steps between them and not the run. When a run is finished,
"previous" becomes a copy of "last", so that a finished run's files do not depend on when checkpoints were due. The
position is (epoch, step); what decides
which rows the steps hold is saved with it, because an epoch that was begun can't go on with other steps.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polysense.config.codec import to_dict
from polysense.core.files import replacing
from polysense.core.logs import get_logger
from polysense.core.tensor_file import unshared
from polysense.errors import CheckpointError
from polysense.training.balance.base import Balance
from polysense.training.callbacks.text_log import RESUME_LOGGER
from polysense.training.checkpoint import (
    DamagedCheckpointError,
    load_checkpoint,
    load_model,
    pack,
    save_checkpoint,
    unpack,
)
from polysense.training.distributed import Distributed
from polysense.training.ema import WeightAverage
from polysense.training.meter import Meter
from polysense.training.monitor import Best
from polysense.training.optim import load_optimizer_state, optimizer_state
from polysense.training.protocols import Resumable
from polysense.training.run import Run
from polysense.training.schedule import Schedule

__all__ = ["State", "checkpoint_path", "has_checkpoint"]

_MOST_HELD = 2**26  # bytes of best weights that wait in memory

_LOG = get_logger("polysense.training")
_RESUME_LOG = get_logger(RESUME_LOGGER)


def checkpoint_path(folder: Path, name: str = "last") -> Path:
    """Where the checkpoint "last", "previous" or "best" of a run's folder lies."""
    return folder / "checkpoints" / f"{name}.safetensors"


def has_checkpoint(folder: Path) -> bool:
    """Whether a run's folder has a checkpoint to resume from, be it damaged."""
    return any(checkpoint_path(folder, name).exists() for name in ("last", "previous"))


@dataclass(eq=False)
class State:
    """The parts of a run that a checkpoint holds; `others` by name.

    `plan` is what the time of the run was found to be enough for: `time`, the `epochs` that were asked for, and `steps`
    of each epoch; None where nothing is planned yet.
    """

    run: Run
    module: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    meter: Meter
    average: WeightAverage | None
    distributed: Distributed
    balance: Balance | None = None
    others: Mapping[str, Resumable] = field(default_factory=dict)
    plan: dict[str, Any] | None = None
    _best: tuple[dict[str, Tensor], dict[str, Any]] | None = field(default=None, init=False)

    def path(self, name: str) -> Path:
        """Where the checkpoint "last", "previous" or "best" lies."""
        return checkpoint_path(self.run.folder, name)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it, the model has its averaged weights, if they are averaged."""
        if self.average is None:
            yield
        else:
            with self.average.applied():
                yield

    def save(self, name: str) -> Path:
        """Writes the checkpoint "last" or "best"; only the main process does.

        Raises:
            CheckpointError: It can't be written.
            TrainingError: The loss of a step whose numbers had not been read yet is not finite.
        """
        assert name in ("last", "best"), name
        path = self.path(name)
        self.meter.settle()  # weights that a loss made NaN must not replace good ones
        if not self.distributed.is_main:
            return path
        if name == "best":
            with self.averaged():
                self._hold_best()
            return path
        self._write_best()
        tensors = _prefixed("model", self.module.state_dict())
        packed = pack(optimizer_state(self.optimizer), "optimizer", tensors)
        if self.average is not None:
            tensors |= _prefixed("ema", self.average.state())
        save_checkpoint(path, tensors, self._scalars() | {"optimizer_state": packed}, older=self.path("previous"))
        return path

    def _hold_best(self) -> None:
        """Keeps the weights as "best" in memory until "last" is saved, which alone is resumed from; large ones on disk.

        Where epochs take a fraction of a second, many improve, and most of them are soon replaced.
        """
        state = {"epoch": self.run.epoch + 1, "monitor": self.run.monitor.state()}
        tensors = _prefixed("model", self.module.state_dict())
        if sum(each.nbytes for each in tensors.values()) > _MOST_HELD:
            save_checkpoint(self.path("best"), tensors, state)
        else:
            self._best = {name: each.detach().to("cpu", copy=True) for name, each in unshared(tensors).items()}, state

    def _write_best(self) -> None:
        if self._best is not None:
            save_checkpoint(self.path("best"), *self._best)
            self._best = None

    def seal(self) -> None:
        """Makes "previous" a copy of "last", which is the end of the run, whose best weights are on disk then.

        Raises:
            CheckpointError: It can't be written.
        """
        last, previous = self.path("last"), self.path("previous")
        self._write_best()
        if not self.distributed.is_main or not last.is_file():
            return
        if not previous.is_file() or not filecmp.cmp(last, previous, shallow=False):
            try:
                _copy(last, previous)
            except OSError as error:
                raise CheckpointError(
                    f"{previous}: the checkpoint can't be written: {error}; make room, then resume"
                ) from error

    def require_none(self) -> None:
        """Refuses to overwrite an earlier run.

        Raises:
            CheckpointError: One was saved here.
        """
        if has_checkpoint(self.run.folder):
            raise CheckpointError(
                f"{self.path('last')}: an earlier run was saved here; resume it, or take another folder"
            )

    def resume(self) -> None:
        """Takes up "last", or where that is damaged "previous".

        Raises:
            CheckpointError: There is none, they are damaged, or they belong to another run.
        """
        run, path = self.run, self.path("last")
        content: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        error: CheckpointError | None = None
        if self.distributed.is_main:
            try:
                content = self._intact()
            except CheckpointError as raised:
                error = raised
        if (error := self.distributed.from_main(error)) is not None:
            raise error
        tensors, state = content or load_checkpoint(path)
        if "optimizer_state" not in state:
            raise CheckpointError(f"{path}: holds weights alone, and no state to resume from")
        load_model(self.module, tensors, path)
        self._require_same(state, path)
        load_optimizer_state(self.optimizer, unpack(state["optimizer_state"], tensors))
        if self.average is not None:
            self.average.load_state(_unprefixed("ema", tensors), state["ema_steps"])
        if state["schedule"] == run.config.schedule.type:
            self.schedule.load_state(state["schedule_state"])
        run.monitor.load_state(state["monitor"])
        self.meter.load_state(state["meter"])
        if self.balance is not None:
            self.balance.load_state(state["balance_state"])
        self.plan = state["plan"]
        run.epoch, run.step, run.lr = state["epoch"], state["step"], state["lr"]
        run.seconds, run.history = state["seconds"], state["history"]
        run.training_seconds, run.samples = state["training_seconds"], state["samples"]
        for name, other in self.others.items():
            if name in state["others"]:
                other.load_state(state["others"][name])
        run.resumed = True
        self._require_best()

    def _intact(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What "last" holds; where it is damaged or gone, what "previous" holds, which is then put in its place."""
        last, previous = self.path("last"), self.path("previous")
        reason = "it is gone"
        if last.is_file() or not previous.is_file():
            try:
                return load_checkpoint(last)
            except DamagedCheckpointError as error:
                if not previous.is_file():
                    raise
                reason = error.reason
        try:
            tensors, state = load_checkpoint(previous)
        except DamagedCheckpointError as error:
            raise CheckpointError(
                f"{last}: the checkpoint is damaged ({reason}), and so is the one before it, {previous} "
                f"({error.reason}); put back a copy of one of them, or start a new run in another folder"
            ) from error
        _RESUME_LOG.warning(
            "%s: can't be resumed from (%s); resuming from the checkpoint before it, %s, saved %s",
            last, reason, previous, _moment(state["epoch"], state["step"]),
        )  # fmt: skip
        _copy(previous, last)
        return tensors, state

    def _require_best(self) -> None:
        """Raises CheckpointError where the best weights so far are damaged, before hours are spent on others."""
        path, best = self.path("best"), self.run.monitor.best
        if best is not None and path.is_file():
            try:
                load_checkpoint(path)
            except DamagedCheckpointError as error:
                raise CheckpointError(
                    f"{path}: the best weights so far, of epoch {best.epoch}, are damaged ({error.reason}); put back a "
                    "copy of this file, or start a new run in another folder"
                ) from error

    def restore_best(self) -> Best | None:
        """Puts the best weights (without a validation: the averaged ones) into the model, and says which they are."""
        path = self.path("best")
        best = self.run.monitor.best
        if best is not None and path.exists():
            tensors, state = load_checkpoint(path)
            load_model(self.module, tensors, path)
            # A run that was killed between saving "best" and "last" may have a better one than it remembers.
            return Best(**state["monitor"]["best"])
        if self.average is not None:
            self.module.load_state_dict(self.average.state(), strict=False)
        return best

    def _scalars(self) -> dict[str, Any]:
        run = self.run
        return {
            "epoch": run.epoch,
            "step": run.step,
            "seconds": run.seconds,
            "training_seconds": run.training_seconds,
            "samples": run.samples,
            "lr": run.lr,
            "history": run.history,
            "plan": self.plan,
            "order": self._order(),
            "optimizer": run.config.optimizer.type,
            "schedule": run.config.schedule.type,
            "schedule_state": self.schedule.state(),
            "balance": self._balance_type,
            "balance_state": None if self.balance is None else self.balance.state(),
            "monitor": run.monitor.state(),
            "meter": self.meter.state(),
            "ema_steps": None if self.average is None else self.average.steps,
            "others": {name: other.state() for name, other in self.others.items()},
        }

    @property
    def _balance_type(self) -> str | None:
        balance = self.run.config.balance
        return None if balance is None or self.balance is None else balance.type

    def _order(self) -> dict[str, Any]:
        """What decides which rows each step holds."""
        config = self.run.config
        return {
            "training.seed": config.seed,
            "training.batch_size": config.batch_size,
            "training.batching": to_dict(config.batching),
            # Of the first epoch, which every run has; they all follow from the same rows and settings.
            "steps per epoch": self.run.all_steps[0] if self.run.all_steps else 0,
        }

    def _require_same(self, state: Mapping[str, Any], path: Path) -> None:
        config = self.run.config
        changed = [
            f"{name} was {state['order'][name]} and is {now}"
            for name, now in self._order().items()
            if state["order"][name] != now
        ]
        if changed and state["step"]:
            raise CheckpointError(
                f"{path}: saved in the middle of an epoch, and {'; '.join(changed)}. Resume with what the run was "
                "started with, or start a new run"
            )
        if changed:
            _LOG.warning("resuming with other settings, so not as if it had never stopped: %s", "; ".join(changed))
        if state["optimizer"] != config.optimizer.type:
            raise CheckpointError(
                f"{path}: was trained with {state['optimizer']}, whose state {config.optimizer.type} can't use; "
                f"set training.optimizer.type={state['optimizer']}, or start a new run"
            )
        was, now = state["balance"], self._balance_type
        if was != now:
            raise CheckpointError(
                f"{path}: was trained with training.balance={was or 'null'}, which this recipe sets to "
                f"{now or 'null'}; resume with what the run was started with, or start a new run"
            )
        if self.average is not None and state["ema_steps"] is None:
            raise CheckpointError(f"{path}: was trained with training.ema=null; resume with that, or start a new run")


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _moment(epoch: int, step: int) -> str:
    """When a checkpoint was saved; both count from 0, and what they count is done."""
    return f"in epoch {epoch + 1} after step {step}" if step else f"after epoch {epoch}"


def _copy(source: Path, path: Path) -> None:
    with replacing(path) as part:
        shutil.copyfile(source, part)
