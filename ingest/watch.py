"""Following folders on the disk: says what has changed, until the person at the keyboard ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event

from watchfiles import Change, watch

QUIET_MS = 1_000
"""Changes are told when there have been none for so long: a file that is being copied changes many times a second."""


def changed_paths(folders: Sequence[Path], stop: Event | None = None) -> Iterator[set[Path]]:
    """What has changed in `folders` since the last time it was asked; ends on an interrupt, or when `stop` is set.

    The first set holds the folders themselves and comes once changes are being noticed, so that nothing is missed between a first run and
    the next.
    """
    changes = watch(
        *folders,
        watch_filter=_is_material,
        step=QUIET_MS,
        debounce=30 * QUIET_MS,
        rust_timeout=QUIET_MS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
    )
    next(changes, None)
    yield {folder.resolve() for folder in folders}
    for change in changes:
        if change:
            yield {Path(path) for _, path in change}


def _is_material(change: Change, path: str) -> bool:
    """Whether the change can matter: what editors and version control write beside the files is hidden, and so no material."""
    return not Path(path).name.startswith(".")
