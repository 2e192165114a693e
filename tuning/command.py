"""`python -m rag tune reader|reranker|embedder|generator`: fits a model on the questions of courses, or makes the table of many short fits.

Results go to stdout, how it goes to stderr. Only the named task's module is imported.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rag.command_line import positive
from rag.config import Config
from rag.errors import ConfigError
from tuning.settings import Precision, Settings
from tuning.task import TaskModule

if TYPE_CHECKING:
    from tuning.examples import Example
    from tuning.report import Report

TASKS = {
    "reader": "finds the answer in a passage, says whether there is one, and ranks passages",
    "reranker": "ranks passages: a cross-encoder for `reranker` in the config",
    "embedder": "finds passages: a sentence encoder for `embedder` in the config",
    "generator": "writes the answer: an adapter for `adapter` in the config",
}
EXTRA = ("datasets", "peft")
"""What the extra `tune` installs."""
STORE = "tuning"
"""The folder, below the store of the config, where the documents of all folders are indexed; kept, so that the next fit embeds nothing."""


def main(arguments: Sequence[str]) -> int:
    epilog = "\n".join(f"  {name:10} {what}" for name, what in TASKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m rag tune",
        description="Fit a small model on the questions of courses. `python -m rag tune TASK --help` tells the flags.",
        epilog=f"tasks:\n{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    module = cast(TaskModule, import_module(f"tuning.{chosen.task}"))
    options = _parser(chosen.task, module).parse_args(chosen.arguments)
    _require_folders(options)
    config = Config.load(options.config, store=options.store, device=options.device)
    settings = replace(settings_from(options, module), device=config.device)
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        raise ConfigError(f'fitting needs {", ".join(missing)}; run: pip install -c constraints.txt -e ".[tune]"')
    try:
        return _grid(chosen.task, options, settings, config) if options.grid else _fit(chosen.task, module, options, settings, config)
    except KeyboardInterrupt:
        _notify(f"interrupted; {_what_is_kept(options)}")
        return 130


def _require_folders(options: argparse.Namespace) -> None:
    """Raises ConfigError where there is nothing to learn from or to validate on, or the results would be material of a course."""
    if not options.data and not options.by_rule:
        raise ConfigError("nothing to learn from; name course folders with --data, or --by-rule where they have no questions")
    if not options.data and not options.validate:
        raise ConfigError(
            "nothing to validate on: questions made by rule are learnt from alone; name folders with questions in --validate, or --data"
        )
    for folder in (*options.data, *options.by_rule, *options.validate):
        if options.out is not None and options.out.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"--out {options.out} lies inside the course folder {folder}, where its files would be documents of the course; "
                "name a folder outside of it"
            )


def _what_is_kept(options: argparse.Namespace) -> str:
    """Of a command that was interrupted: what the next one does."""
    from tuning.fit import CHECKPOINTS, last_checkpoint

    if options.grid:
        return "the same command makes the whole table anew"
    if options.out is None or last_checkpoint(options.out / CHECKPOINTS) is None:
        return "there is no checkpoint yet: the same command begins anew"
    if options.resume is False:
        return "the same command without --no-resume goes on from the last checkpoint"
    return "the same command goes on from the last checkpoint"


def _parser(name: str, module: TaskModule) -> argparse.ArgumentParser:
    from tuning.grid import parse_axis

    parser = argparse.ArgumentParser(prog=f"python -m rag tune {name}", description=f"Fit what {TASKS[name]}.")
    parser.add_argument(
        "--data", type=Path, nargs="+", default=[], metavar="FOLDER",
        help="course folders, each with questions.jsonl and its documents, beside it or in corpus/",
    )  # fmt: skip
    parser.add_argument(
        "--by-rule", type=Path, nargs="+", default=[], metavar="FOLDER",
        help="course folders whose questions are made from their headings, definitions and tables; they are not validated on",
    )  # fmt: skip
    parser.add_argument(
        "--validate", type=Path, nargs="+", default=[], metavar="FOLDER",
        help="course folders to validate on (default: a share of the courses of --data, or of the questions of each of a few)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the weights, the figures and the plot go; with --grid the table")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with settings: how passages are cut and found")
    parser.add_argument("--store", type=Path, help="where a store for the documents is kept (default: $LECTERN_STORE, else .lectern)")
    parser.add_argument("--device", help="auto, cpu or cuda")
    parser.add_argument("--json", action="store_true", help="JSON on stdout")
    parser.add_argument(
        "--grid", type=parse_axis, nargs="+", metavar="KEY=V,…",
        help="instead of a fit, a few --steps with each combination, and a table: batch=8,16 accumulation=1,2 checkpointing=on,off",
    )  # fmt: skip
    _add_settings(parser.add_argument_group("how it is fitted"), module)
    module.add_arguments(parser.add_argument_group("what is fitted"))  # type: ignore[arg-type]  # a group takes arguments as a parser does
    return parser


def _add_settings(group: argparse._ArgumentGroup, module: TaskModule) -> None:
    """Flags named as the fields of `Settings`; None where one is not given."""
    defaults = replace(Settings(), **module.DEFAULTS)
    on_off = argparse.BooleanOptionalAction
    group.add_argument("--epochs", type=float, metavar="N", help=f"passes over the examples (default {defaults.epochs:g})")
    group.add_argument("--steps", type=positive, metavar="N", help="updates of the weights, instead of epochs")
    group.add_argument("--learning-rate", type=float, metavar="R", help=f"at its highest (default {defaults.learning_rate:g})")
    group.add_argument("--warmup", type=float, metavar="SHARE", help=f"of the updates, while it rises (default {defaults.warmup:g})")
    group.add_argument("--weight-decay", type=float, metavar="W", help=f"(default {defaults.weight_decay:g})")
    group.add_argument("--batch", type=_batch, metavar="N", help=f"examples in one pass, or auto (default {defaults.batch or 'auto'})")
    group.add_argument("--accumulation", type=positive, metavar="N", help=f"passes an update (default {defaults.accumulation})")
    group.add_argument("--checkpointing", action=on_off, help="compute activations again instead of keeping them: less memory, slower")
    group.add_argument("--precision", choices=tuple(Precision), help="of the passes (default auto: what is fast on this device)")
    group.add_argument("--memory-mb", type=positive, metavar="MB", help="beyond what is in use at the start (default: what is free)")
    group.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help=f"validations without a better one that end the fit; 0: none does (default {defaults.patience})",
    )
    group.add_argument("--validations", type=float, metavar="N", help=f"an epoch (default {defaults.validations:g})")
    group.add_argument(
        "--validate-share", type=float, metavar="SHARE", help=f"of the examples, held out (default {defaults.validate_share})"
    )
    group.add_argument("--workers", type=int, metavar="N", help="processes that make batches ready ahead (default 0)")
    group.add_argument("--prefetch", type=positive, metavar="N", help=f"batches each of them keeps ready (default {defaults.prefetch})")
    group.add_argument("--seed", type=int, help="(default 0)")
    group.add_argument("--resume", action=on_off, help="go on with a fit that was cut off (default); --no-resume begins anew")


def _batch(text: str) -> int | str:
    return text if text == "auto" else positive(text)


def settings_from(options: argparse.Namespace, module: TaskModule) -> Settings:
    """Defaults, then the task's, then flags."""
    given = {field.name: getattr(options, field.name) for field in fields(Settings) if getattr(options, field.name) is not None}
    if given.get("batch") == "auto":
        given["batch"] = None
    if "precision" in given:
        given["precision"] = Precision(given["precision"])
    return replace(Settings(), **{**module.DEFAULTS, **given})


def _notify(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _examples(options: argparse.Namespace, settings: Settings, config: Config) -> tuple[list[Example], list[Example]]:
    """To fit and to validate on."""
    from rag.embed import SentenceTransformerEmbedder
    from tuning.examples import read_examples, split

    embedder = SentenceTransformerEmbedder.from_config(config)
    store = config.store / STORE
    fit = read_examples(options.data, store, embedder, config, options.by_rule, _notify)
    if options.validate:
        validate = read_examples(options.validate, store, embedder, config, notify=_notify)
        how = f"folders of --validate: {len(options.validate):,}"
        if shared := _courses(fit) & _courses(validate):
            _notify(f"{len(shared):,} courses are both fitted on and validated on: the figures will be better than they should")
    else:
        fit, validate, how = split(fit, settings.validate_share, settings.seed)
    _notify(f"{len(fit):,} examples to fit on, {len(validate):,} to validate on; {how}")
    return fit, validate


def _courses(examples: Sequence[Example]) -> set[str]:
    return {example.group.partition("/")[0] for example in examples}


def _origin(options: argparse.Namespace, module: TaskModule, fit: Sequence[Example], validate: Sequence[Example]) -> dict[str, Any]:
    """Where the examples come from: enough to tell whether another fit has had the same, on another machine, too.

    Folders are named in `questions` alone, as they were on the command line. `training.json` has that, `report.md` does not.
    """
    from rag.files import sha256_of
    from tuning.examples import QUESTIONS

    own = argparse.ArgumentParser()
    module.add_arguments(own)
    placeless = [[replace(example, group="") for example in examples] for examples in (fit, validate)]
    return {
        "folders": len(options.data),
        "folders by rule": len(options.by_rule),
        "examples": len(fit),
        "held out": len(validate),
        "SHA-256 of the examples": hashlib.sha256(repr(placeless).encode()).hexdigest(),
        "questions": {str(folder): sha256_of(folder / QUESTIONS) for folder in (*options.data, *options.validate)}
        | {f"{folder} (by rule)": "made from its documents" for folder in options.by_rule},
        "options": {name: getattr(options, name) for name in vars(own.parse_args([]))},
    }


def _fit(name: str, module: TaskModule, options: argparse.Namespace, settings: Settings, config: Config) -> int:
    from tuning.fit import fit
    from tuning.report import fitting_table, verdict

    if options.out is None:
        raise ConfigError("no --out; name a folder for the weights, or give --grid for a table alone")
    data = _examples(options, settings, config)
    task = module.make_task(*data, settings, config, options)
    report = fit(name, task, settings, options.out, _origin(options, module, *data), _notify)
    if options.json:
        print(json.dumps({"task": name, "out": str(options.out)} | report.to_json()))
    else:
        print("\n".join([fitting_table([report]), "", verdict(report), *task.notes(options.out)]))
    return 0


def _grid(name: str, options: argparse.Namespace, settings: Settings, config: Config) -> int:
    from tuning.grid import combinations, run_grid
    from tuning.report import fitting_table

    rows = combinations(settings, options.grid)
    done: list[Report] = []

    def tell(report: Report) -> None:
        done.append(report)
        _notify(fitting_table([report]).splitlines()[-1] + f"  ({len(done)} of {len(rows)})")
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / "grid.md").write_text(fitting_table(done) + "\n", "utf-8")
            (options.out / "grid.json").write_text(json.dumps([one.to_json() for one in done], indent=1) + "\n", "utf-8")

    reports = run_grid(f"tuning.{name}", rows, _examples(options, settings, config), config, options, tell, _notify)
    print(json.dumps([one.to_json() for one in reports]) if options.json else fitting_table(reports))
    return 0
