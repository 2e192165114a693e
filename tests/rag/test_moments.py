from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.moments import EARLIEST, now, utc_moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-10-01", "2024-10-01T00:00:00+00:00"),
        (" 2024-10-01T09:00 ", "2024-10-01T09:00:00+00:00"),
        ("2024-10-01 09:00:30.9", "2024-10-01T09:00:30+00:00"),
        ("2024-10-01T09:00Z", "2024-10-01T09:00:00+00:00"),
        ("2024-12-31T21:00-04:00", "2025-01-01T01:00:00+00:00"),
        ("tomorrow", None),
        ("10/1/2024", None),
        ("2024-02-30", None),
        ("0001-01-01T00:00+01:00", None),
        ("", None),
    ],
)
def test_moments_by_hand(text: str, moment: str | None) -> None:
    assert utc_moment(text) == moment


MOMENTS = st.builds(
    lambda moment, hours: moment.replace(microsecond=0, tzinfo=timezone(timedelta(hours=hours))),
    st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1)),
    st.integers(-12, 14),
)


@given(one=MOMENTS, other=MOMENTS)
def test_moments_compare_as_texts(one: datetime, other: datetime) -> None:
    texts = [utc_moment(moment.isoformat()) for moment in (one, other)]
    assert (texts[0] <= texts[1]) == (one <= other)
    assert all(text >= EARLIEST for text in texts)


def test_now_is_in_the_same_form() -> None:
    present = now()
    assert utc_moment(present) == present
