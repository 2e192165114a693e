"""Moments as the catalogue keeps them: UTC, to the second, in one form, so that they compare as texts."""

from __future__ import annotations

from datetime import UTC, datetime

ANY = "any"
"""In place of a moment: whatever is there, visible or not yet."""
EARLIEST = "0001-01-01T00:00:00+00:00"
EXPECTED = "a date or time such as 2024-10-01 or 2024-10-01T09:00 (UTC unless it names a zone)"


def utc_moment(text: str) -> str | None:
    """`2024-10-01T05:00-04:00` as `2024-10-01T09:00:00+00:00`; a date is its first moment. Without a zone it is UTC. None: no ISO 8601."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)).isoformat(timespec="seconds")
    except (ValueError, OverflowError):  # the second: a zone takes it out of the years 1 to 9999
        return None


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
