"""Trainer: for each epoch, for each step; everything else is a function or a callback that it calls.

What a run is at any moment is (epoch, step), the weights, the optimizer's state and a few numbers: order, augmentation
and dropout are pure functions of the position. A checkpoint therefore resumes bit for bit. The position "all steps of
an epoch done" is a valid one: what is left of that epoch is its validation.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import nn

from polysense.core.batch import Batch
from polysense.core.device import resolve_device, resolve_precision
from polysense.core.duration import spell_duration
from polysense.core.logs import get_logger
from polysense.core.metric import Metric
from polysense.errors import PolysenseError, SplitError, TrainingError, TrainingInterrupted
from polysense.training.balance import build_balance
from polysense.training.callbacks.base import Callback
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.callbacks.early_stopping import EarlyStopping
from polysense.training.callbacks.jsonl import JsonlLog
from polysense.training.callbacks.progress import ProgressBar
from polysense.training.callbacks.tensorboard import TensorBoard
from polysense.training.callbacks.text_log import RESUME_LOGGER, TextLog
from polysense.training.config import TrainingConfig
from polysense.training.distributed import Distributed
from polysense.training.ema import WeightAverage
from polysense.training.interrupts import Interrupts
from polysense.training.meter import Meter
from polysense.training.monitor import Monitor
from polysense.training.optim import sort_parameters
from polysense.training.protocols import Augment, CountTokens, Loader, Resumable, TrainableModel, Validate
from polysense.training.run import Run, TrainResult, advice_on
from polysense.training.state import State
from polysense.training.step import Step
from polysense.training.time_plan import Deadline, Pace, TimeLimit, described, estimate, seconds_left, steps_that_fit

__all__ = ["Trainer", "default_callbacks"]

_LOG = get_logger("polysense.training")
_RESUME_LOG = get_logger(RESUME_LOGGER)


def default_callbacks(config: TrainingConfig, folder: Path) -> list[Callback]:
    """Early stopping, log.jsonl, train.log, TensorBoard, a progress bar and checkpoints.

    Checkpoints are last: what the others wrote of a step or an epoch is then before the position that is saved.
    """
    callbacks: list[Callback] = [] if config.early_stopping is None else [EarlyStopping(config.early_stopping)]
    callbacks += [JsonlLog(folder / "log.jsonl"), TextLog(folder / "train.log"), ProgressBar()]
    if config.tensorboard:
        callbacks.append(TensorBoard(folder / "tensorboard"))
    return [*callbacks, Checkpointing(config.checkpoint_every_steps, config.checkpoint_every_minutes)]


class Trainer:
    """Trains one model once.

    Args:
        config: The run's settings.
        model: A `torch.nn.Module`; moved to the device. Its initial weights are the caller's affair.
        loader: Batches, `config.accumulate` of them a step.
        folder: The run's folder; gets last, previous and best.safetensors in `checkpoints`.
        validate: Evaluates the model as it stands, in evaluation mode and without gradients; None for no validation:
            then the last weights are kept, and nothing stops early.
        augment: Applied to each training batch on the device.
        measured: Per split, "train" and "validation", batches in a fixed order, on which `config.balance` may measure
            the columns' losses.
        count_tokens: Counts each batch's tokens for the log; None for a log without them.
        metrics: Per target what `validate` measures of it; None: nothing is known but the loss.
        preferred: Per target the metric that `monitor: auto` takes, where there are reasons for one.
        callbacks: In place of `default_callbacks`.
        distributed: This process among its peers.
        resume_hint: What a user must do to resume, for the message after Ctrl-C; None: the same command, with --resume.
        others: What else a checkpoint holds, by name; callbacks with a `saved_as` are held anyway.
        judged: The part of the delivered model that `validate` judges, in words in the plural, where more is added to
            it afterwards.
        limit: The time that training has; None: `config.time`, if that is set.

    Raises:
        ConfigError: The device doesn't exist, nothing is trainable, or the columns can't be balanced as asked.
    """

    def __init__(
        self,
        config: TrainingConfig,
        model: TrainableModel,
        loader: Loader,
        *,
        folder: Path,
        validate: Validate | None = None,
        augment: Augment | None = None,
        measured: Mapping[str, Iterable[Batch]] | None = None,
        count_tokens: CountTokens | None = None,
        metrics: Mapping[str, Sequence[Metric]] | None = None,
        preferred: Mapping[str, str] | None = None,
        callbacks: Sequence[Callback] | None = None,
        distributed: Distributed | None = None,
        resume_hint: str | None = None,
        others: Mapping[str, Resumable] | None = None,
        judged: str = "",
        limit: TimeLimit | None = None,
    ) -> None:
        assert isinstance(model, nn.Module), "a model is a torch.nn.Module"
        self._config, self._loader = config, loader
        self._validate, self._count_tokens = validate, count_tokens
        self._resume_hint = resume_hint or "Run the same command with --resume to go on."
        self._distributed = distributed if distributed is not None else Distributed()
        self._device = resolve_device(config.device, self._distributed.local_rank)
        self._module: nn.Module = model.to(self._device)
        if config.compile:
            self._module.compile()
        groups = sort_parameters(config.optimizer, self._module, model.parameter_groups())
        self._optimizer = config.optimizer.build(groups)
        self._average = None if config.ema is None else WeightAverage(self._module, config.ema)
        # Of a token budget, epochs differ; the schedule must know all of them to end where it should.
        steps = [-(-loader.num_batches(epoch) // config.accumulate) for epoch in range(config.epochs)]
        self._schedule = config.schedule.build(sum(steps))
        self._balance = build_balance(
            config.balance,
            model,
            measured or {},
            distributed=self._distributed,
            device=self._device,
            seed=config.seed,
            epochs=config.epochs,
        )
        self._step = Step(
            model,
            self._distributed.wrap(self._module, self._device),
            self._optimizer,
            self._schedule,
            peak_lr=config.optimizer.lr,
            clip_norm=config.clip_norm,
            precision=resolve_precision(config.precision, self._device),
            seed=config.seed,
            device=self._device,
            distributed=self._distributed,
            augment=augment,
            average=self._average,
            balance=self._balance,
        )
        self._meter = Meter(model.loss_weights, self._distributed, self._device)
        self._run = Run(
            config=config,
            folder=folder,
            monitor=Monitor(config.monitor, metrics or {}, preferred),
            steps=steps,
            num_parameters=sum(p.numel() for p in self._module.parameters() if p.requires_grad),
            save=lambda name: self._state.save(name),
            judged=judged,
        )
        chosen = default_callbacks(config, folder) if callbacks is None else callbacks
        self._callbacks = [c for c in chosen if self._distributed.is_main or c.every_process]
        self._state = State(
            self._run,
            self._module,
            self._optimizer,
            self._schedule,
            self._meter,
            self._average,
            self._distributed,
            self._balance,
            {**(others or {}), **{c.saved_as: c for c in self._callbacks if c.saved_as is not None}},
        )
        self._entered = 0.0
        seconds = config.seconds
        self._limit = TimeLimit(deadline=Deadline(seconds)) if limit is None and seconds is not None else limit
        self._pace, self._is_planned = self._new_pace(), False
        self._num_validated = 0 if self._limit is None or validate is None else self._limit.validation_rows

    @property
    def num_epochs(self) -> int:
        """The epochs that the run is going to have, as far as is known; fewer than asked for where time is short."""
        return len(self._run.steps)

    @property
    def epoch(self) -> int:
        """The epoch under way, from 1."""
        return self._run.epoch + 1

    @property
    def seconds_per_predicted_row(self) -> float:
        """Of validations, or guessed from the steps; 0 where nothing was trained yet."""
        return self._pace.seconds_per_predicted_row(self._num_validated)

    def fit(self, *, resume: bool = False) -> TrainResult:
        """Trains to the end of the last epoch, or until early stopping.

        The model ends up with its best weights if there was a validation, else with the last. torch's global generators
        and number of threads are left as they were.

        Args:
            resume: Resumes from checkpoints/last.safetensors, or where that is damaged from the one before it. A
                finished run has nothing left to do: its best weights are put back, and its result is given again.

        Raises:
            CheckpointError: There is nothing to resume, or (not resuming) an earlier run's checkpoint would be lost.
            SplitError: There are no training rows.
            TrainingError: The loss is not finite.
            TrainingInterrupted: Ctrl-C or SIGTERM; the state was saved.
        """
        run, config = self._run, self._config
        if config.epochs and not run.total_steps:
            raise SplitError("there is nothing to train on: the training split holds no rows; check data.split")
        with ExitStack() as stack:
            stack.enter_context(_threads(config.num_threads))
            stack.enter_context(torch.random.fork_rng([self._device] if self._device.type == "cuda" else []))
            self._start(resume)
            for callback in self._callbacks:
                stack.callback(callback.close)
                callback.on_start(run)
            if resume and run.finished:
                why = run.stop_reason or f"all of its {run.config.epochs} epochs are done"
                _RESUME_LOG.warning(
                    "this run is finished: %s. To train it for longer, resume it with more training.epochs", why
                )
            self._entered = time.perf_counter() - run.seconds
            if self._balance is not None and not resume:
                self._balance.start()
            with Interrupts() as interrupts:
                while not run.finished:
                    self._epoch(interrupts)
            return self._end()

    def _start(self, resume: bool) -> None:
        if resume:
            self._state.resume()
        else:
            self._state.require_none()
        self._distributed.barrier()  # before any process saves what another still looks for
        self._pace = self._new_pace()
        plan = self._state.plan
        if plan is not None and (plan["time"], plan["epochs"]) == (self._config.seconds, self._config.epochs):
            self._take_plan(plan["steps"])
            self._limit = None  # what was planned is done, however long it takes: a resumed run is the same run
        else:
            self._state.plan = None
        self._module.train()

    # --- time ----------------------------------------------------------------------------------------------------

    def _new_pace(self) -> Pace:
        return Pace() if self._limit is None else Pace(self._limit.deadline.now)

    def _watch_time(self) -> None:
        """Plans the run once its pace is known, and ends it if the time is up all the same.

        Of several processes the main one decides; where there is a limit all must ask at once.
        """
        run = self._run
        if run.finished or (self._is_planned and self._limit is None):
            return
        decision: tuple[Sequence[int], str] | None = None
        if self._distributed.is_main:
            decision = self._steps_in_time() if self._is_planned else self._decision()
        if self._limit is not None:
            decision = self._distributed.from_main(decision)
        if decision is None:
            return
        steps, text = decision
        if self._limit is not None:
            self._take_plan(steps)
        self._is_planned = True
        for callback in self._callbacks if text else ():
            callback.on_plan(run, text)

    def _decision(self) -> tuple[Sequence[int], str] | None:
        """The steps of the run and what is said of them; None while too little is known."""
        run, pace, limit, rows = self._run, self._pace, self._limit, self._num_validated
        available = None if limit is None else limit.for_training(pace.seconds_per_predicted_row(rows))
        if not pace.is_measured(epochs=run.epoch, available=available):
            return None
        step = pace.seconds_per_step
        beside = rows * pace.seconds_per_predicted_row(rows) / self._config.validate_every
        if limit is None or available is None:
            return run.steps, estimate(run, run.steps, step, beside)
        steps = steps_that_fit(run.steps, run.global_step, available, per_step=step, per_epoch=beside)
        return steps, described(run, steps, limit.deadline.seconds, step, beside)

    def _steps_in_time(self) -> tuple[Sequence[int], str] | None:
        """The steps of a run whose plan does not fit any more, since the machine is slower than it was; else None."""
        run, limit, rows, pace = self._run, self._limit, self._num_validated, self._pace
        per_row, per_step = pace.seconds_per_predicted_row(rows), pace.recent_seconds_per_step
        done = [*run.steps[: run.epoch], run.step] if run.step else list(run.steps[: run.epoch])
        if limit is None or not done:
            return None
        beside, available = rows * per_row / self._config.validate_every, limit.for_training(per_row)
        if not limit.is_left(rows, per_row, per_step) or (not run.step and available < per_step + beside):
            return done, f"{spell_duration(limit.deadline.seconds)} are nearly up: training ends here"
        if run.step or available >= seconds_left(run, run.steps, per_step, beside):
            return None
        steps = steps_that_fit(run.steps, run.global_step, available, per_step=per_step, per_epoch=beside)
        if sum(steps) >= run.total_steps:
            return None
        return steps, f"slower than it was: {described(run, steps, limit.deadline.seconds, per_step, beside)}"

    def _take_plan(self, steps: Sequence[int]) -> None:
        """The run has these steps from now on; a checkpoint remembers them."""
        run, seconds = self._run, self._config.seconds
        run.plan(tuple(steps))
        self._config = run.config
        self._schedule.plan(run.total_steps)
        self._is_planned = True
        self._state.plan = {"time": seconds, "epochs": len(run.all_steps), "steps": list(steps)}
        if self._limit is not None:
            self._limit.note(run.steps, run.all_steps)

    # --- one epoch -----------------------------------------------------------------------------------------------

    def _epoch(self, interrupts: Interrupts) -> None:
        run = self._run
        started = time.perf_counter() - run.training_seconds
        self._meter.restart_clock()
        for batches in self._batches(run.epoch, run.step, interrupts):
            rows = [batch.rows for batch in batches]
            tokens = [] if self._count_tokens is None else [self._count_tokens(batch) for batch in batches]
            on_device = [batch.to(self._device, non_blocking=True) for batch in batches]
            try:
                seen = self._step(on_device, run.epoch, run.step, run.global_step)
            except torch.OutOfMemoryError as error:
                raise TrainingError(
                    f"out of GPU memory in epoch {run.epoch + 1}, step {run.step + 1}, with micro-batches of "
                    f"{len(batches[0])} rows; raise training.accumulate (now {self._config.accumulate}), which changes "
                    f"no result: {error}"
                ) from error
            self._meter.add(seen, run.epoch, run.step, self._step.lr, rows, tokens)
            run.step += 1
            run.steps_here += 1
            run.samples += sum(len(part) for part in rows) * self._distributed.world_size
            run.lr = self._step.lr
            run.seconds = time.perf_counter() - self._entered
            run.training_seconds = time.perf_counter() - started
            self._pace.step(sum(map(len, rows)))
            due = run.global_step % self._config.log_every == 0
            # Several processes decide together. Asking costs a message, so they ask when they log.
            if due or self._distributed.world_size == 1:
                self._watch_time()
            if due or run.step == run.steps_per_epoch:
                record = self._meter.recent()
                for callback in self._callbacks:
                    callback.on_log(run, record)
            for callback in self._callbacks:
                callback.on_step(run)
            # Several processes must stop after the same step.
            if due or self._distributed.world_size == 1:
                self._stop_if_requested(interrupts)
        assert run.step == run.steps_per_epoch, f"the loader gave {run.step} steps, not {run.steps_per_epoch}"
        self._finish_epoch(interrupts)

    def _batches(self, epoch: int, step: int, interrupts: Interrupts) -> Iterator[list[Batch]]:
        """The rest of an epoch, a step's micro-batches at a time."""
        if step >= self._run.steps_per_epoch:
            return
        accumulate = self._config.accumulate
        batches = iter(self._loader.epoch(epoch, step * accumulate))
        while True:
            try:
                group = list(itertools.islice(batches, accumulate))
            except (RuntimeError, PolysenseError):
                # Ctrl-C reaches the loader's workers too; one that died of it is no error of its own.
                if self._distributed.world_size == 1:
                    self._stop_if_requested(interrupts)
                raise
            if not group:
                return
            yield group
            if self._run.step >= self._run.steps_per_epoch:  # fewer than the loader has, where time is short
                return

    def _finish_epoch(self, interrupts: Interrupts) -> None:
        run, config = self._run, self._config
        metrics: Mapping[str, float] | None = None
        run.improved = False
        if self._validate is not None and (
            (run.epoch + 1) % config.validate_every == 0 or run.epoch + 1 == config.epochs
        ):
            validating = self._pace.now()
            metrics = self._metrics(interrupts)
            self._pace.validated(self._pace.now() - validating)
            run.improved = run.monitor.update(metrics, run.epoch + 1)
            self._schedule.observe(run.monitor.score)
            for callback in self._callbacks:
                callback.on_validation(run, metrics)
        record = self._meter.epoch()
        run.seconds = time.perf_counter() - self._entered
        best = run.monitor.best
        run.history.append(
            {
                "epoch": run.epoch + 1,
                "step": run.global_step,
                "loss": record.loss,
                "heads": dict(record.heads),
                "lr": run.lr,
                "seconds": run.seconds,
                "validation": None if metrics is None else dict(metrics),
                "best": best is not None and best.epoch == run.epoch + 1,
            }
        )
        if self._balance is not None:
            run.history[-1]["balance"] = dict(self._balance.end_epoch(run.epoch))
        run.epoch, run.step = run.epoch + 1, 0
        self._watch_time()
        self._pace.mark()
        for callback in self._callbacks:
            callback.on_epoch(run, record)
        if not run.finished:
            self._stop_if_requested(interrupts)

    def _metrics(self, interrupts: Interrupts) -> Mapping[str, float]:
        """Validates, in the main process, with the averaged weights if there are any."""
        assert self._validate is not None
        metrics: Mapping[str, float] = {}
        if self._distributed.is_main:
            # Alone, there is no reason to wait for the end of a validation that can be repeated.
            alone = self._distributed.world_size == 1
            self._module.eval()
            try:
                with interrupts.at_once() if alone else nullcontext(), self._state.averaged(), torch.no_grad():
                    metrics = dict(self._validate())
            except KeyboardInterrupt:
                self._stop_if_requested(interrupts)
                raise
            finally:
                self._module.train()
        return self._distributed.from_main(metrics)

    def _stop_if_requested(self, interrupts: Interrupts) -> None:
        if not self._distributed.any(interrupts.received is not None, self._device):
            return
        run = self._run
        path = self._state.save("last")
        raise TrainingInterrupted(
            f"stopped by {interrupts.received or 'a signal to another process'} in epoch {run.epoch + 1} after step "
            f"{run.step} of {run.steps_per_epoch}; the state is saved in {path}. {self._resume_hint}"
        )

    def _end(self) -> TrainResult:
        """Puts the best weights back and gives the optimizer's memory back."""
        run, config = self._run, self._config
        self._optimizer.state.clear()
        self._state.seal()
        self._distributed.barrier()
        best = self._state.restore_best()
        if best is None and self._validate is not None and run.epoch:
            _LOG.warning("no validation gave a number for %s: the last weights are kept", run.monitor.label)
        self._module.eval()
        result = TrainResult(
            monitor=run.monitor.label,
            monitored=run.monitor.keys,
            best_value=None if best is None else best.value,
            judged=run.judged,
            best_epoch=None if best is None else best.epoch,
            epochs=run.epoch,
            steps=run.global_step,
            seconds=run.seconds,
            samples_per_second=run.samples / run.training_seconds if run.training_seconds else 0.0,
            stop_reason=run.stop_reason,
            advice=advice_on(None if best is None else best.epoch, config.epochs),
            history=run.history,
        )
        for callback in self._callbacks:
            callback.on_end(run, result)
        return result


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """torch's CPU threads within a run."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if number is not None:
            torch.set_num_threads(before)
