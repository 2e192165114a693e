"""Following folders on the disk: says what has changed, until the person at the keyboard ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event

from watchfiles import watch

QUIET_MS = 1_000
"""Changes are told when there have been none for so long: a file that is being copied changes many times a second."""


def changed_paths(folders: Sequence[Path], leave_out: Path, stop: Event | None = None) -> Iterator[set[Path]]:
    """What has changed in `folders` since the last time it was asked; ends on an interrupt, or when `stop` is set.

    Args:
        leave_out: the store, which every run changes and which may lie within a folder.

    The first set holds the folders themselves and comes once changes are being noticed, so that nothing is missed between a first run and
    the next.
    """
    roots = [folder.resolve() for folder in folders]
    changes = watch(
        *folders,
        watch_filter=lambda _, path: _is_material(Path(path), roots, leave_out.resolve()),
        step=QUIET_MS,
        debounce=30 * QUIET_MS,
        rust_timeout=QUIET_MS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
    )
    next(changes, None)
    yield set(roots)
    for change in changes:
        if change:
            yield {Path(path) for _, path in change}


def _is_material(path: Path, roots: Sequence[Path], leave_out: Path) -> bool:
    """Whether a change there can matter: what editors and version control write is hidden, and so no material."""
    below = next((path.relative_to(root).parts for root in roots if path.is_relative_to(root)), ())
    return not path.is_relative_to(leave_out) and not any(part.startswith(".") for part in below)
