"""What a configuration needs of memory, what of that is measured here, and what fits this machine: slots, context, chunks.

Estimates come from headers and settings (`rag.footprint_rows`), measurements from a child process for each part (`rag.footprint_probe`). A
part that cannot be measured says why; its estimate stands.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rag import footprint_estimates as estimates
from rag.config import Config
from rag.errors import LecternError
from rag.footprint_machine import Machine, Place, assumed_machine, known_machine
from rag.footprint_probe import parts_of
from rag.footprint_rows import (
    Generator,
    Kind,
    Row,
    dimension_of,
    embedder_rows,
    find_generator_shape,
    generator_rows,
    index_rows,
    process_rows,
    reader_rows,
    reranker_rows,
    total_row,
)

ROOT = Path(__file__).parent.parent
SPARE = 0.1
"""Share of the memory that stays free for what is not counted: the pages of the files, other programs, the allocator's gaps."""

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fits:
    """What this machine holds at most, other things as configured; None where the question does not arise.

    `slots` and `context` are what memory allows, `cached_slots` and `cached_context` what `generator_cache_mb` does.
    """

    slots: int | None = None
    context: int | None = None
    cached_slots: int | None = None
    cached_context: int | None = None
    chunks: int | None = None


@dataclass(frozen=True, slots=True)
class Footprint:
    """The rows, what fits, and a sentence of advice."""

    machine: Machine
    rows: tuple[Row, ...]
    fits: Fits
    context: int | None
    slots: int | None
    advice: str

    def needed(self, place: Place) -> int:
        return sum(row.bytes for row in self.rows if row.counts and row.place is place)

    def to_json(self) -> dict[str, Any]:
        rooms = {
            place.value: {"needed_bytes": self.needed(place), "available_bytes": room.available, "total_bytes": room.total}
            for place, room in self.machine.rooms.items()
        }
        return {
            "device": self.machine.device, "dtype": self.machine.dtype, "assumed": list(self.machine.told), "memory": rooms,
            "rows": [row.to_json() for row in self.rows], "context_tokens": self.context, "slots": self.slots,
            "fits": dataclasses.asdict(self.fits), "advice": self.advice,
        }  # fmt: skip


def footprint(config: Config, chunks: int | None = None, measured: bool = True, notify: Notify = lambda _: None) -> Footprint:
    """What the configuration needs here.

    Args:
        chunks: also for an index of so many.
        measured: whether each part is loaded in a process of its own; otherwise estimates alone, at once.
        notify: told, in a sentence, of a part that could not be measured.

    Raises:
        ModelError: a model is not here, or its files do not say how large it is.
    """
    generator = find_generator_shape(config)
    figures = measure_parts(config, generator, notify) if measured else {}
    machine = known_machine(figures["process"]) if "process" in figures else assumed_machine(config)
    rows = [
        *process_rows(machine, figures),
        *embedder_rows(config, machine, figures),
        *reranker_rows(config, machine, figures),
        *reader_rows(config, machine, figures),
        *generator_rows(config, generator, machine, figures),
        *index_rows(config, machine, chunks, figures),
    ]
    if "all" in figures:
        rows.append(total_row(rows, machine, generator, figures["all"]))
    fits = what_fits(rows, generator, machine, config, dimension_of(config))
    context, slots = (generator.context, generator.slots) if generator else (None, None)
    found = Footprint(machine, tuple(rows), fits, context, slots, "")
    return replace(found, advice=advice(found, config))


# --- measuring


def measure_parts(config: Config, generator: Generator | None, notify: Notify) -> dict[str, dict[str, Any]]:
    """The figures of every part, each from a process of its own, and of all in one; a part that fails is left out, and told."""
    tokens = generator.context if generator else 0
    found: dict[str, dict[str, Any]] = {}
    too_large = _too_large(generator, assumed_machine(config)) if generator else ""
    for part in ("process", *parts_of(config), "all"):
        if too_large and part in ("generator", "all"):
            notify(f"{part} is not measured: {too_large}")
            continue
        try:
            found[part] = run_probe(part, config, tokens)
        except LecternError as e:
            notify(f"{part} is not measured: {e}")
    return found


def _too_large(generator: Generator, machine: Machine) -> str:
    """Why a generator is not even tried: a machine that runs out of memory ends other programs, too."""
    room = machine.rooms.get(machine.place)
    size = generator.shape.weights.file_bytes
    return f"the weights have {shown(size)}, and {shown(room.available)} are free" if room and size > room.available else ""


def run_probe(part: str, config: Config, tokens: int) -> dict[str, Any]:
    """
    Raises:
        LecternError: the child process failed.
    """
    told = json.dumps({"config": dataclasses.asdict(config), "tokens": tokens}, default=str)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))}
    command = [sys.executable, "-m", "rag.footprint_probe", part]
    done = subprocess.run(command, input=told, env=environment, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise LecternError(f"its process was ended by signal {-done.returncode} (9: the machine had no memory left)")
    if done.returncode:
        raise LecternError((done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"])[-1].removeprefix("error: "))
    return json.loads(done.stdout.splitlines()[-1])


# --- what fits


def what_fits(rows: Sequence[Row], generator: Generator | None, machine: Machine, config: Config, dimension: int) -> Fits:
    """The largest of each, other things as configured."""
    rooms = {place: round(room.available * (1 - SPARE)) for place, room in machine.rooms.items()}

    def free_without(place: Place, kind: Kind) -> int:
        """What is left in a place, the rows of a kind not counted."""
        return rooms.get(place, 0) - sum(row.bytes for row in rows if row.counts and row.place is place and row.kind is not kind)

    chunks = estimates.most_chunks(free_without(Place.RAM, Kind.INDEX), dimension)
    if generator is None or machine.place not in rooms:
        return Fits(chunks=chunks)
    per_token = next(row.bytes for row in rows if row.kind is Kind.TOKEN)
    free = free_without(machine.place, Kind.CACHE)
    per_slot = generator.shape.vocabulary * estimates.BYTES[machine.dtype]
    longest = generator.shape.max_tokens
    context = estimates.most_context(free, generator.slots, per_token, longest)
    if not generator.is_ours:
        return Fits(slots=1 if context >= generator.context else 0, context=context, chunks=chunks)
    cache, exact = config.generator_cache_mb << 20, generator.per_token(machine.dtype)
    return Fits(
        slots=estimates.most_slots(free, generator.context, per_token, per_slot),
        context=context,
        cached_slots=estimates.most_slots(cache, generator.context, exact, 0),
        cached_context=estimates.most_context(cache, generator.slots, exact, longest),
        chunks=chunks,
    )


def advice(found: Footprint, config: Config) -> str:
    """What to do, in a sentence or two."""
    for place, room in found.machine.rooms.items():
        needed = found.needed(place)
        if needed > room.available:
            largest = max((row for row in found.rows if row.counts and row.place is place), key=lambda row: row.bytes)
            return (
                f"It does not fit: {shown(needed)} of {place} are needed and {shown(room.available)} are free. "
                f"Most is taken by {largest.part} ({shown(largest.bytes)}); {_remedy(largest, found.machine)}."
            )
    place = found.machine.place
    if place not in found.machine.rooms:
        return f"{shown(found.needed(place))} of {place} are needed; how much of it there is could not be found out."
    free = f"the {shown(found.machine.rooms[place].available)} of {place} that are free"
    return f"It fits: {shown(found.needed(place))} of {free} are needed. {_advice_on_slots(found, config)}"


def _remedy(row: Row, machine: Machine) -> str:
    if row.kind is Kind.CACHE:
        return "lower generator_cache_mb, slots or context_tokens"
    if row.part.startswith("generator"):
        packed = 'set quantize = "8bit" or "4bit", ' if machine.place is Place.GPU else ""
        return f"{packed}name a smaller generator, or a server with base_url"
    if row.part.startswith("embedder"):
        return "name a smaller embedder, or free some memory"
    if row.part.startswith("reader"):
        return 'set reader = "none", or free some memory'
    return "free some memory, or use a larger machine"


def _advice_on_slots(found: Footprint, config: Config) -> str:
    fits, slots = found.fits, found.slots
    if config.base_url:
        return f"How many answers at once fit is the server's to say; slots = {config.generation_slots} are asked of it."
    if slots is None or fits.slots is None:
        return "Answers are quotes: no generator needs memory."
    if fits.cached_slots is None:
        return "This generator answers one question at a time."
    if fits.cached_slots < slots:
        wanted = -(-config.generator_cache_mb * slots // max(fits.cached_slots, 1))
        return (
            f"{slots} answers of {found.context:,} tokens need more than generator_cache_mb = {config.generator_cache_mb}, which holds "
            f"{fits.cached_slots}: raise it to {wanted}, or lower slots."
        )
    return (
        f"slots = {slots} answers of {found.context:,} tokens at once fit; generator_cache_mb = {config.generator_cache_mb} would hold "
        f"{fits.cached_slots}, and the {found.machine.place} {fits.slots:,} with a larger one."
    )


# --- shown


def shown(count: int) -> str:
    """Bytes for people; MB are of 2^20, as in the settings."""
    if count < 100 << 10:
        return f"{count:,} bytes"
    return f"{count / (1 << 20):,.1f} MB" if count < 10 << 30 else f"{count / (1 << 30):,.1f} GB"


def table(found: Footprint) -> str:
    """The footprint for people: a row a part, then what fits, then the advice."""
    head = ("part", "where", "estimated", "measured", "ratio", "")
    lines = [head, *map(_cells, found.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    text = ["  ".join([*_aligned(line[:-1], widths), line[-1]]).rstrip() for line in lines]
    machine = found.machine
    assumed = f" (assumed: {'; '.join(machine.told)})" if machine.told else ""
    return "\n".join([f"footprint on {machine.device}, {machine.dtype}{assumed}", *text, "", *_fit_lines(found), found.advice])


def _cells(row: Row) -> tuple[str, ...]:
    known = [shown(one) if one is not None else "-" for one in (row.estimated, row.measured)]
    return row.part, row.place.value, *known, f"{row.ratio:.2f}" if row.ratio is not None else "-", row.note


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) if column < 2 else cell.rjust(width) for column, (cell, width) in enumerate(zip(cells, widths, strict=True))]


def _fit_lines(found: Footprint) -> Iterator[str]:
    fits = found.fits
    for place, room in found.machine.rooms.items():
        yield f"{place}: {shown(found.needed(place))} needed, {shown(room.available)} free of {shown(room.total)}"
    if fits.slots is not None:
        yield f"at most {fits.slots:,} answers of {found.context:,} tokens at once" + _within(fits.cached_slots)
    if fits.context is not None:
        yield f"at most {fits.context:,} tokens for each of {found.slots} answers at once" + _within(fits.cached_context)
    if fits.chunks is not None:
        yield f"at most {fits.chunks:,} chunks in the index"


def _within(cached: int | None) -> str:
    return "" if cached is None else f"; {cached:,} within generator_cache_mb"
