"""What every fit shares: the batch found under the memory limit, checkpoints, early stopping, seeds, figures. Knows nothing of questions.

The work itself is transformers' `Trainer` or a subclass of it, which the task makes. A fit ends with the weights of its best validation.
One that was cut off, at any moment, goes on from its last complete checkpoint when the same command is given again, and ends with the
weights it would have had: batches, dropout and early stopping take up where they were. Equal seeds give equal weights on a CPU; on a GPU
sums run in any order, and equal to some digits is what can be had. One GPU is used.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import ConfigError, LecternError
from rag.files import put_in_place
from rag.models import choose_device, choose_dtype, prepare_environment
from tuning.memory import DeviceWatch, OutOfMemory, free_memory_mb, is_out_of_memory, limited
from tuning.progress import History, plot
from tuning.report import Report, report_markdown
from tuning.settings import AUTO_BATCH, Precision, Settings
from tuning.task import Task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Trainer

    from tuning.callbacks import Recorder

CHECKPOINTS = "checkpoints"
BEGUN = "begun.json"
"""What a fit was begun with, and what it measured first. Gone when the fit has ended."""
ENDED = "training.json"
"""The last file that a fit writes."""
FITTED = "fitted.safetensors"
"""The weights in a checkpoint."""
PROGRESS_CSV, PROGRESS_SVG, REPORT = "progress.csv", "progress.svg", "report.md"
LOGS_A_VALIDATION = 10
"""Values of the loss between two validations."""


class ValidationOutOfMemory(OutOfMemory):
    """A validation did not get the memory it asked for. It is made with a batch of its own: half the batch of the fit does not help."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be done. Without `out` nothing is kept: no checkpoints, no validations on the way."""

    task: Task
    settings: Settings
    notify: Callable[[str], None]
    out: Path | None = None
    origin: Mapping[str, Any] | None = None

    @property
    def batch(self) -> int:
        return self.settings.batch or AUTO_BATCH

    @property
    def checkpoint(self) -> Path | None:
        return last_checkpoint(self.out / CHECKPOINTS) if self.out else None


def fit(name: str, task: Task, settings: Settings, out: Path, origin: Mapping[str, Any], notify: Callable[[str], None]) -> Report:
    """Fits a task's model and writes the best weights with all that tells about them into `out`.

    Args:
        name: of the kind of fit, for the files.
        origin: where the examples come from, JSON; a fit that was cut off goes on only with the same.
        notify: told, a line each, how it goes and what had to be changed.

    Raises:
        ConfigError: a setting does not suit this device, or `out` holds another fit, or what is no fit.
        OutOfMemory: not even one example at a time fits, or a validation does not.
    """
    settings = settle(settings)
    _claim(out, settings, origin)
    with limited(settings.memory_mb, settings.device):
        trainer, report = _fit_within_memory(_Job(task, settings, notify, out, origin))
        after = _measured(task, trainer)
        _save(task, trainer, out)
    report = replace(report, before=_begun(out)["before"], after=after)
    _write_about(name, task, report, settings, out, origin)
    return report


def try_out(task: Task, settings: Settings, notify: Callable[[str], None]) -> Report:
    """The figures of a short fit that leaves nothing behind, at this very batch: a row of the fitting table, without its `before`.

    Raises:
        OutOfMemory: this batch does not fit, or a validation does not.
    """
    job = _Job(task, settle(settings), notify)
    with limited(settings.memory_mb, job.settings.device):
        trainer, report = _attempt(job, job.batch)
        return replace(report, after=_measured(task, trainer))


def measure_unfitted(task: Task, settings: Settings) -> dict[str, float]:
    """The validation measures of the weights that a fit begins with."""
    job = _Job(task, settle(settings), tell_nobody)
    trainer, _ = _trainer(job, job.batch)
    trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True)  # so that it computes in the precision of the fit
    return _measured(task, trainer)


def tell_nobody(line: str) -> None:
    """For short fits: lines of many of them would tell nothing."""


def settle(settings: Settings) -> Settings:
    """The same with the device and the precision that `auto` stands for.

    Raises:
        ConfigError: fp16 on a CPU, which has no loss scaler; a GPU other than the first, which trainers do not take.
    """
    prepare_environment(allow_downloads=False)
    import torch
    from transformers.utils import logging as notices

    notices.disable_progress_bar()
    notices.set_verbosity_error()  # that a head is new, how well a file system keeps times: known, or of no use here
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    device = choose_device(settings.device)
    if device.startswith("cuda"):
        if device not in ("cuda", "cuda:0"):
            raise ConfigError(
                f"device is {device} but a fit takes the first GPU that it sees; set CUDA_VISIBLE_DEVICES={device[5:]} and --device cuda"
            )
        device = "cuda:0"
    precision = settings.precision
    if precision is Precision.AUTO:
        precision = Precision.BF16 if choose_dtype("auto", device) is torch.bfloat16 else Precision.FP32
    if precision is Precision.FP16 and not device.startswith("cuda"):
        raise ConfigError("precision is fp16 but the fit runs on a CPU; use bf16 or fp32")
    return replace(settings, device=device, precision=precision)


def _fit_within_memory(job: _Job) -> tuple[Trainer, Report]:
    """Fits with the largest batch that fits, found by halving; an update is made of as many examples as before, in more passes.

    What was done until memory ran out is kept: the fit goes on from its last checkpoint.

    Raises:
        OutOfMemory: not even one example at a time fits, or a validation does not.
    """
    update, batch = job.settings.effective_batch, job.batch
    if (last := job.checkpoint) is not None:
        batch = _state_of(last)["train_batch_size"]
        job.notify(f"going on from step {_step_of(last):,}, with a batch of {batch}")
    while True:
        try:
            return _attempt(job, batch)
        except ValidationOutOfMemory:
            raise
        except OutOfMemory as e:
            if batch == 1:
                limit = f"{job.settings.memory_mb or free_memory_mb():,} MB"
                raise OutOfMemory(
                    f"one example at a time does not fit into {limit} ({e}); give more with --memory-mb, or --checkpointing"
                ) from e
            smaller = halved(batch, update)
            job.notify(f"a batch of {batch} does not fit; trying {smaller} with {update // smaller} passes an update")
            batch = smaller
        _free_memory()


def halved(batch: int, update: int) -> int:
    """The largest batch of at most half the size into which the examples of an update can be cut."""
    return next(size for size in range(batch // 2, 0, -1) if update % size == 0)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint: the state is the last file written of one; where it is missing or half, the rest may be, too."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True):
        try:
            _state_of(checkpoint)
        except (OSError, ValueError):
            continue
        return checkpoint
    return None


def _state_of(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _claim(out: Path, settings: Settings, origin: Mapping[str, Any]) -> None:
    """Makes sure that the folder holds nothing, or a fit begun with the same settings and data. Removes nothing but a fit."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / ENDED).exists() and settings.resume:
        raise ConfigError(f"{out} holds a fit that has ended; name another folder, or add --no-resume to write over it")
    if not (out / BEGUN).exists() and not (out / ENDED).exists():
        _require_empty(out)
    elif settings.resume:
        _require_same(out, settings, origin)
    else:
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        for name in (BEGUN, PROGRESS_CSV):  # `ENDED` goes when the new fit is begun: until then the folder must be known as a fit's
            (out / name).unlink(missing_ok=True)


def _require_empty(out: Path) -> None:
    """Checkpoints are of something else: ours are written after `BEGUN`. Their folder may have been made, and the fit ended before that."""
    others = sorted(path.name for path in out.iterdir() if path.name != CHECKPOINTS or last_checkpoint(path))
    if others:
        raise ConfigError(f"{out} holds {', '.join(others)} and no fit that was cut off or has ended; name an empty folder")


def _require_same(out: Path, settings: Settings, origin: Mapping[str, Any]) -> None:
    """Of the fit begun in the folder."""
    begun = _begun(out)
    wanted = {"settings": _json(_lasting(settings)), "origin": _json(origin)}
    different = [f"{key} of {part}" for part, value in wanted.items() for key in value if begun[part].get(key) != value[key]]
    if different:
        raise ConfigError(
            f"the fit in {out} was begun with another {', another '.join(different)}; give the same again, or --no-resume to begin anew"
        )


def _lasting(settings: Settings) -> dict[str, Any]:
    """Settings that the weights depend on: a fit may go on with more memory or other workers."""
    return {key: value for key, value in asdict(settings).items() if key not in ("resume", "memory_mb", "workers", "prefetch")}


def _json(value: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value, default=str))


def _begun(out: Path) -> dict[str, Any]:
    return json.loads((out / BEGUN).read_text("utf-8"))


def _begin(job: _Job, before: Mapping[str, float]) -> None:
    """Writes `BEGUN`, with which a fit that has ended here is no more."""
    assert job.out is not None, "only a fit that is kept validates on its way"
    partial = job.out / CHECKPOINTS / BEGUN
    partial.parent.mkdir(exist_ok=True)
    begun = {"settings": _lasting(job.settings), "origin": job.origin, "before": before}
    partial.write_text(json.dumps(begun, default=str), "utf-8")
    put_in_place(partial, job.out / BEGUN)
    (job.out / ENDED).unlink(missing_ok=True)


def _attempt(job: _Job, batch: int) -> tuple[Trainer, Report]:
    """A fit at this batch, from the last checkpoint where there is one: a trainer with the weights to keep, and what that took.

    Raises:
        OutOfMemory: the batch does not fit.
    """
    try:
        with DeviceWatch(job.settings.device) as watch:
            trainer, recorder = _trainer(job, batch)
            _train(trainer, job.checkpoint)
            figures = watch.figures()
    except (RuntimeError, MemoryError) as e:
        if not is_out_of_memory(e):
            raise
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
    else:
        settings, state = job.settings, trainer.state
        report = Report(
            batch, settings.effective_batch // batch, settings.checkpointing, settings.precision, settings.device, job.task.measure,
            steps=state.global_step, best_step=state.best_global_step or state.global_step,
            stopped_early=state.global_step < state.max_steps,
            seconds=max(recorder.seconds, figures.seconds), samples_per_s=recorder.samples_per_s,
            peak_memory_mb=figures.peak_memory_mb, utilisation=figures.utilisation,
        )  # fmt: skip
        return trainer, report
    # Raised here, where the first error is gone and with it the frames that hold the tensors.
    raise OutOfMemory(f"a batch of {batch} does not fit: {reason}")


def _train(trainer: Trainer, checkpoint: Path | None) -> None:
    if checkpoint is not None and (state := _state_of(checkpoint))["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]:
        # It was cut off after its last step: the trainer would make one more.
        trainer.state = type(trainer.state).load_from_json(str(checkpoint / "trainer_state.json"))
        trainer._load_from_checkpoint(checkpoint.parent / f"checkpoint-{state['best_global_step']}")
        return
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _trainer(job: _Job, batch: int) -> tuple[Trainer, Recorder]:
    """A task's trainer with all that is ours in it."""
    from transformers import EarlyStoppingCallback, set_seed
    from transformers.trainer_callback import PrinterCallback

    from tuning.callbacks import Recorder

    settings, last = job.settings, job.checkpoint
    history = History(job.out / PROGRESS_CSV, _step_of(last) if last else 0) if job.out else None
    set_seed(settings.seed)
    callbacks = [EarlyStoppingCallback(settings.patience)] if job.out and settings.patience else []
    trainer = job.task.make_trainer(training_arguments(settings, batch, job.out), callbacks)
    trainer.args._n_gpu, trainer._train_batch_size = 1, batch  # several GPUs would be used as one, with so many times the batch
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for results
    samples = len(trainer.train_dataset)
    recorder = Recorder(history, job.notify, samples)
    trainer.add_callback(recorder)
    _draw_by_epoch(trainer, settings.seed)
    _validate_with(trainer, job, recorder)
    _keep_fitted_weights(trainer)
    if job.out is not None:
        _schedule(trainer, settings, job.task.measure, math.ceil(samples / settings.effective_batch))
        trainer.args.eval_on_start = not (job.out / BEGUN).exists()
    return trainer, recorder


def _draw_by_epoch(trainer: Trainer, seed: int) -> None:
    """Makes the order of the rows, and what is drawn for them, the same for a fit that goes on in the middle of an epoch."""
    from tuning.callbacks import SeededCollator, SeededSampler

    def epoch() -> int:
        return int((trainer.state.epoch or 0.0) + 1e-6)

    sampler_of = trainer._get_train_sampler  # sentence-transformers has batch samplers of its own, seeded by epoch
    trainer._get_train_sampler = lambda rows=None: SeededSampler(sampler_of(rows), seed, epoch)
    trainer.data_collator = SeededCollator(trainer.data_collator, seed, epoch)


def training_arguments(settings: Settings, batch: int, out: Path | None) -> dict[str, Any]:
    """Of `transformers.TrainingArguments`. Validating and saving are switched on later: it wants an `eval_dataset` for the one."""
    on_cuda = settings.device.startswith("cuda")
    arguments: dict[str, Any] = {
        "output_dir": str(out / CHECKPOINTS) if out else tempfile.gettempdir(),  # nothing is written there
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": settings.effective_batch // batch,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.steps or -1,
        "learning_rate": settings.learning_rate,
        "warmup_steps": settings.warmup,
        "weight_decay": settings.weight_decay,
        "bf16": settings.precision is Precision.BF16,
        "fp16": settings.precision is Precision.FP16,
        "activation_checkpointing": settings.checkpointing,
        "dataloader_num_workers": settings.workers,
        "dataloader_pin_memory": on_cuda,
        "use_cpu": not on_cuda,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "restore_callback_states_from_checkpoint": True,
    }
    return arguments | ({"dataloader_prefetch_factor": settings.prefetch} if settings.workers else {})


def _schedule(trainer: Trainer, settings: Settings, measure: str, updates_an_epoch: int) -> None:
    """When is validated, saved and logged."""
    from transformers.trainer_utils import IntervalStrategy, SaveStrategy

    total = settings.steps or math.ceil(updates_an_epoch * settings.epochs)
    every = max(1, min(total, round(updates_an_epoch / settings.validations)))
    arguments = trainer.args
    arguments.eval_strategy, arguments.eval_steps = IntervalStrategy.STEPS, every
    arguments.save_strategy, arguments.save_steps = SaveStrategy.STEPS, every
    arguments.logging_strategy, arguments.logging_steps = IntervalStrategy.STEPS, max(1, every // LOGS_A_VALIDATION)
    arguments.save_total_limit = 1  # and the best
    arguments.load_best_model_at_end, arguments.metric_for_best_model, arguments.greater_is_better = True, measure, True


def _validate_with(trainer: Trainer, job: _Job, recorder: Recorder) -> None:
    """Puts the task's measures where the trainer would take a loss over an `eval_dataset`."""
    from tuning.callbacks import VALIDATED

    def evaluate(*_: Any, **__: Any) -> dict[str, float]:
        began = time.monotonic()
        measures = _measured(job.task, trainer)
        recorder.validating_s += time.monotonic() - began
        if trainer.state.global_step == 0:
            _begin(job, measures)
        metrics = {f"{VALIDATED}{name}": value for name, value in measures.items()}
        trainer.control = trainer.callback_handler.on_evaluate(trainer.args, trainer.state, trainer.control, metrics)
        return metrics

    trainer.evaluate = evaluate


def _keep_fitted_weights(trainer: Trainer) -> None:
    """Makes checkpoints of the weights that are fitted, by name, and of nothing else of the model.

    Each trainer has its own way for models with adapters; sentence-transformers' one loads the model anew from where it was, and only logs
    when that fails. The weights that stay as they are the task brings along.
    """
    from safetensors.torch import load_file, save_file

    def fitted() -> dict[str, Tensor]:
        model = trainer.model
        kept = {name: weight.data for name, weight in model.named_parameters() if weight.requires_grad}
        lasting = model.state_dict().keys()
        return kept | {name: tensor for name, tensor in model.named_buffers() if name in lasting}

    def save(folder: str | Path, state_dict: object = None) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        # Copies: safetensors refuses tensors that share their memory.
        save_file({name: tensor.clone().contiguous() for name, tensor in fitted().items()}, Path(folder, FITTED))

    def load(folder: str | Path, model: object = None) -> None:
        saved, present = load_file(Path(folder, FITTED)), fitted()
        if saved.keys() != present.keys():
            different = ", ".join(sorted(saved.keys() ^ present.keys())[:3])
            raise LecternError(f"the checkpoint {folder} is of another model: {different}; add --no-resume to begin anew")
        for name, tensor in present.items():
            tensor.copy_(saved[name])

    trainer._save = save
    trainer._load_from_checkpoint = load
    trainer._load_best_model = lambda: load(trainer.state.best_model_checkpoint)


def _measured(task: Task, trainer: Trainer) -> dict[str, float]:
    """The task's validation measures; the fit goes on as if nothing had been measured.

    Raises:
        ValidationOutOfMemory: there is not enough memory to validate, where a smaller batch does not help.
        LecternError: the weights have become useless.
    """
    import torch

    from tuning.callbacks import random_numbers_kept

    was_training = trainer.model.training
    try:
        with random_numbers_kept(), torch.random.fork_rng(enabled=torch.cuda.is_available()):
            measures = {name: float(value) for name, value in task.evaluate(trainer).items()}
    except (RuntimeError, MemoryError) as e:
        if not is_out_of_memory(e):
            raise
        raise ValidationOutOfMemory("there is not enough memory to validate; give more with --memory-mb") from e
    trainer.model.train(was_training)
    if not math.isfinite(measures[task.measure]):
        raise LecternError(f"{task.measure} is {measures[task.measure]}: the weights have diverged; lower --learning-rate")
    return measures


def _save(task: Task, trainer: Trainer, out: Path) -> None:
    """The task's files, each put beside the others when all are written."""
    partial = out / "weights.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    task.save(trainer, partial)
    for path in partial.iterdir():
        target = out / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    partial.rmdir()


def _write_about(name: str, task: Task, report: Report, settings: Settings, out: Path, origin: Mapping[str, Any]) -> None:
    """`report.md`, the plot and at last `training.json`, with which the fit has ended; its checkpoints go."""
    rows = History(out / PROGRESS_CSV, report.steps).rows
    (out / PROGRESS_SVG).write_text(plot(rows, task.measure), "utf-8")
    page = report_markdown(name, report, _json(_lasting(settings)), origin, task.notes(out))
    (out / REPORT).write_text(page, "utf-8")
    about = {
        "task": name,
        "settings": asdict(settings),
        "data": dict(origin),
        "measure": task.measure,
        "before": report.before,
        "after": report.after,
        "figures": report.to_json(),
        "versions": _versions(),
    }
    (out / ENDED).write_text(json.dumps(about, indent=1, default=str) + "\n", "utf-8")
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    (out / BEGUN).unlink()


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("torch", "transformers", "sentence-transformers", "peft", "accelerate", "datasets"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
