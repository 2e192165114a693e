"""For staff: what is asked, what is left without an answer, what is cited, how long answers take, and how busy the machine is.

About questions, not about who asked them. Each list shows its first rows, and all of them as CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import altair
import pandas  # type: ignore[import-untyped]
import streamlit as st

from rag import insights
from rag.device_use import DeviceUse, device_use
from rag.insights import FIRST_TOKEN, TOTAL, Counts, Exchange, Group, Moment, Spread
from rag.store import Store
from rag.topics import topics
from ui import frame, render, state
from ui.frame import Frame
from ui.indexing import counted
from ui.latency import STAGES, in_words
from ui.tables import as_csv, as_markdown

PERIODS: dict[str, timedelta | None] = {
    "24 hours": timedelta(days=1),
    "7 days": timedelta(days=7),
    "30 days": timedelta(days=30),
    "All": None,
}
USUAL = "7 days"
TABS = ["Questions", "Topics and pages", "Speed", "Machine"]
SHOWN = 10
"""Rows of a list on the page; the CSV has them all."""
QUESTION_CHARACTERS = 160
CHART_PIXELS = 240
NAMES = {TOTAL: "Whole answer", FIRST_TOKEN: "First word"} | {stage: name for stage, (name, _) in STAGES.items()}
"""What the figures of latency are called."""


def show_page(shown: Frame) -> None:
    frame.choose_course(shown)
    st.header(frame.course_title(shown), anchor=False)
    st.markdown("What is asked about this course, and how it is answered. The page is about questions; it names nobody.")
    period = st.segmented_control("Period", list(PERIODS), default=USUAL, required=True, key="period")
    questions, content, speed, machine = st.tabs(TABS, key="tab", on_change="rerun")
    if machine.open:
        with machine:
            _show_machine(shown)
        return
    store, span = shown.place.store, PERIODS[period]
    since = (datetime.now(UTC) - span).isoformat(timespec="seconds") if span else None
    tab = next(one for one in (content, speed, questions) if one.open or one is questions)
    with tab, st.spinner("Reading the catalogue…"):
        exchanges = insights.read_exchanges(store, shown.course, since, cited=tab is content)
    with tab:
        if not exchanges:
            _show_nothing(span)
        elif tab is content:
            _show_content(store, shown.course, exchanges)
        elif tab is speed:
            _show_speed(exchanges, hourly=_is_short(exchanges, span))
        else:
            _show_questions(exchanges)


def _show_nothing(span: timedelta | None) -> None:
    if span is None:
        st.info(
            "Nobody has asked anything about this course yet. Give students the address of this site, or ask something on the page Ask."
        )
    else:
        st.info("Nobody has asked anything in this period. Choose a longer one above.")


# --- questions


def _show_questions(exchanges: Sequence[Exchange]) -> None:
    _show_counts(insights.count(exchanges))
    _show_refused(insights.refused(exchanges))
    _show_disliked(insights.disliked(exchanges))
    _show_doubtful(insights.doubtful(exchanges))


def _show_counts(counts: Counts) -> None:
    with st.container(horizontal=True, key="counts"):
        st.metric("Questions", f"{counts.questions:,}", border=True, width=150)
        st.metric("Without an answer", f"{counts.refused:,} ({counts.refused / counts.questions:.0%})", border=True, width=190)
        st.metric("Thumbs up", f"{counts.liked:,}", border=True, width=130)
        st.metric("Thumbs down", f"{counts.disliked:,}", border=True, width=140)
    parts = [
        f"{counted(counts.conversations, 'conversation')}",
        f"{counts.generated:,} answers written",
        f"{counts.extractive:,} quoted from the materials",
        f"{counts.cached:,} ({counts.cached / counts.questions:.0%}) from the cache",
    ]
    if counts.forgotten:
        parts.append(f"{counts.forgotten:,} gone with documents that were removed")
    st.caption(" · ".join(parts))


def _show_refused(groups: Sequence[Group]) -> None:
    columns = ["Question", "Asked", "Last"]
    rows = [[_label(one.newest.question), f"{len(one.exchanges):,}", _day(one.newest.at)] for one in groups]
    _show_list(
        "Questions without an answer",
        "The materials did not seem to hold the answer: what is asked often may be worth adding. Nearly the same questions are one row.",
        "Every question of this period got an answer.",
        (columns, rows, (1,)),
        (["at", "question", "group"], [[one.at, one.question, n] for n, group in enumerate(groups, 1) for one in group.exchanges]),
        "refused",
    )


def _show_disliked(exchanges: Sequence[Exchange]) -> None:
    columns = ["Question", "Note", "When"]
    rows = [[_label(one.question), _label(one.note) or "–", _day(one.at)] for one in exchanges]
    _show_list(
        "Thumbs down",
        "What readers thought little of, and what they said to it.",
        "No thumb went down in this period. Readers give one under an answer.",
        (columns, rows, ()),
        (["at", "question", "answer", "note"], [[one.at, one.question, one.answer, one.note] for one in exchanges]),
        "disliked",
    )


def _show_doubtful(exchanges: Sequence[Exchange]) -> None:
    columns = ["Question", "Sure", "When"]
    rows = [[_label(one.question), f"{one.confidence:.0%}", _day(one.at)] for one in exchanges]
    _show_list(
        "Doubtful answers",
        f"Answers that were given with a confidence below {insights.SURE:.0%}: the estimated chance that the materials hold the answer.",
        f"Every answer had a confidence of {insights.SURE:.0%} or more.",
        (columns, rows, (1,)),
        (
            ["at", "question", "answer", "confidence"],
            [[one.at, one.question, one.answer, round(one.confidence or 0, 3)] for one in exchanges],
        ),
        "doubtful",
    )


# --- topics and pages


def _show_content(store: Store, course: str, exchanges: Sequence[Exchange]) -> None:
    _show_topics(store, course, exchanges)
    _show_sections(exchanges)
    _show_places(store, course, exchanges)


def _show_topics(store: Store, course: str, exchanges: Sequence[Exchange]) -> None:
    found = topics(store, course, exchanges)
    rows = [
        [
            _label(one.words) + ("" if one.known else " (not in the materials)"),
            f"{one.questions:,}",
            f"{one.refused:,}" if one.refused else "–",
        ]
        for one in found
    ]
    _show_list(
        "Topics of the questions",
        "Words that at least two questions share and that the course names its parts by, or does not have at all.",
        "No two questions share a topic yet.",
        (["Topic", "Questions", "Unanswered"], rows, (1, 2)),
        (
            ["topic", "questions", "without_answer", "in_materials"],
            [[one.words, one.questions, one.refused, "yes" if one.known else "no"] for one in found],
        ),
        "topics",
    )


def _show_sections(exchanges: Sequence[Exchange]) -> None:
    found = insights.sections(exchanges)
    rows = [[_label(one.title), _label(one.heading) or "–", f"{one.answers:,}"] for one in found]
    _show_list(
        "What the answers are about",
        "The parts of documents that answers cite.",
        "No answer of this period cites anything.",
        (["Document", "Part", "Answers"], rows, (2,)),
        (["document", "part", "answers"], [[one.title, one.heading, one.answers] for one in found]),
        "sections",
    )


def _show_places(store: Store, course: str, exchanges: Sequence[Exchange]) -> None:
    found = insights.cited_places(store, course, exchanges)
    hidden = store.hidden_sources(course)
    rows = []
    for one in found:
        name = _label(f"{one.source} · {one.label}")
        if one.chunk_id is None:
            shown = f"{name} (changed since)"
        elif one.source in hidden:
            shown = f"{name} (not visible at present)"
        else:
            shown = f"[{name}](./{state.link(course=course, source=one.chunk_id)})"  # on the page Ask
        rows.append([shown, f"{one.answers:,}"])
    _show_list(
        "Most cited places",
        "A link opens the place in a new tab.",
        "No answer of this period cites anything.",
        (["Place", "Answers"], rows, (1,)),
        (["source", "place", "title", "answers"], [[one.source, one.label, one.title, one.answers] for one in found]),
        "places",
    )


# --- speed


def _show_speed(exchanges: Sequence[Exchange], hourly: bool) -> None:
    by_stage = insights.latency_by_stage(exchanges)
    if not by_stage:
        st.info("Every answer of this period came from the cache, so there is nothing to time. Choose a longer period above.")
        return
    speed = insights.tokens_per_second(exchanges)
    with st.container(horizontal=True, key="speeds"):
        st.metric("Half of the answers within", in_words(by_stage[TOTAL].p50), border=True, width=215)
        st.metric("95 of 100 within", in_words(by_stage[TOTAL].p95), border=True, width=170)
        if FIRST_TOKEN in by_stage:
            st.metric("First word, half within", in_words(by_stage[FIRST_TOKEN].p50), border=True, width=190)
        if speed:
            st.metric("Tokens a second", f"{speed.p50:.0f}", border=True, width=150)
    queue = f" Waiting for a turn took {in_words(by_stage['queue'].p95)} at most for 95 of 100." if "queue" in by_stage else ""
    st.caption(f"{by_stage[TOTAL].n:,} answers and refusals; those from the cache are not counted.{queue}")
    _show_over_time(insights.over_time(exchanges, hourly), hourly)
    _show_stages(by_stage)


def _show_over_time(moments: Sequence[Moment], hourly: bool) -> None:
    @st.fragment
    def chart() -> None:
        st.subheader("Over time", anchor=False)
        there = [name for name in NAMES if any(name in moment.spreads for moment in moments)]
        name = st.selectbox("What is timed", there, format_func=NAMES.__getitem__, key="timed")
        rows = list(moment_rows(moments, name, hourly))
        unit = "hour" if hourly else "day"
        words = "; ".join(f"{row['When']}: {row['p50']}, {row['p95']}" for row in rows)
        st.altair_chart(
            over_time_chart(rows, hourly),
            width="stretch",
            key="over-time",
            alt=f"{NAMES[name]}, by {unit} in UTC, p50 and p95. {words}. The table below has the same figures.",
        )
        with st.expander(f"The same as a table, by {unit}"):
            columns = ["When (UTC)", "Answers", "p50", "p95"]
            st.markdown(as_markdown(columns, [[row["When"], f"{row['n']:,}", row["p50"], row["p95"]] for row in rows], (1, 2, 3)))

    chart()


def moment_rows(moments: Iterable[Moment], name: str, hourly: bool) -> Iterable[dict[str, Any]]:
    """A row for each moment that has this figure."""
    for moment in moments:
        if name in moment.spreads:
            one = moment.spreads[name]
            when = f"{moment.start:%Y-%m-%d %H:00}" if hourly else f"{moment.start:%Y-%m-%d}"
            yield {"start": moment.start, "When": when, "n": one.n, "p50_s": one.p50 / 1000, "p95_s": one.p95 / 1000} | {
                "p50": in_words(one.p50),
                "p95": in_words(one.p95),
            }


def over_time_chart(rows: Sequence[dict[str, Any]], hourly: bool) -> altair.Chart:
    """Two lines: the median drawn through, the 95th percentile dashed and with squares, so that they are told apart without colour."""
    points = [
        {
            "start": row["start"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "When": row["When"],
            "seconds": row[f"{which}_s"],
            "Figure": words,
            "Time": row[which],
        }
        for row in rows
        for which, words in (("p50", "half within (p50)"), ("p95", "95 of 100 within (p95)"))
    ]
    order = ["half within (p50)", "95 of 100 within (p95)"]
    legend = altair.Legend(orient="bottom", title=None, symbolDash=[1, 0], symbolStrokeWidth=1)
    return (
        altair.Chart(pandas.DataFrame(points), height=CHART_PIXELS)
        .mark_line(point=altair.OverlayMarkDef(size=45, filled=True))
        .encode(
            x=altair.X(
                "start:T",
                title=None,
                scale=altair.Scale(type="utc"),
                axis=altair.Axis(format="%d %b %H:%M" if hourly else "%d %b", tickCount="hour" if hourly and len(rows) < 8 else 6),
            ),
            y=altair.Y(
                "seconds:Q", title=None, scale=altair.Scale(zero=True), axis=altair.Axis(labelExpr="datum.value + ' s'", tickCount=5)
            ),
            color=altair.Color("Figure:N", sort=order, scale=altair.Scale(domain=order, range=["#2b6cb0", "#d9713c"]), legend=legend),
            strokeDash=altair.StrokeDash("Figure:N", sort=order, scale=altair.Scale(domain=order, range=[[1, 0], [6, 4]]), legend=None),
            shape=altair.Shape("Figure:N", sort=order, scale=altair.Scale(domain=order, range=["circle", "square"]), legend=legend),
            tooltip=["When:N", "Figure:N", "Time:N"],
        )
    )


def _show_stages(by_stage: dict[str, Spread]) -> None:
    ordered = sorted(by_stage, key=lambda name: list(NAMES).index(name) if name in NAMES else len(NAMES))
    rows = [[_label(NAMES.get(name, name)), in_words(one.p50), in_words(one.p95), f"{one.n:,}"] for name, one in _items(by_stage, ordered)]
    _show_list(
        "By stage",
        "Half of the answers spent at most p50 in a stage, 95 of 100 at most p95.",
        "",
        (["Stage", "p50", "p95", "Answers"], rows, (1, 2, 3)),
        (
            ["stage", "p50_ms", "p95_ms", "answers"],
            [[name, round(one.p50, 3), round(one.p95, 3), one.n] for name, one in _items(by_stage, ordered)],
        ),
        "stages",
        shown=len(rows),
    )


def _items(by_stage: dict[str, Spread], ordered: Sequence[str]) -> list[tuple[str, Spread]]:
    return [(name, by_stage[name]) for name in ordered]


def _is_short(exchanges: Sequence[Exchange], span: timedelta | None) -> bool:
    """Whether hours are shown: of a short period, or where all questions lie close together."""
    first, last = (datetime.fromisoformat(exchanges[place].at) for place in (0, -1))
    return min(span or timedelta.max, last - first) <= insights.LONGEST_HOURLY


# --- machine


def _show_machine(shown: Frame) -> None:
    @st.fragment
    def machine() -> None:
        st.caption("Of this moment, since Lectern was started.")
        with st.spinner("Loading the models…"):
            engine = shown.place.open_engine()
        st.markdown(as_markdown(["What", "Now"], list(device_rows(device_use(engine)))))
        st.button("Look again", icon=":material/refresh:", key="look-again")

    machine()


def device_rows(use: DeviceUse) -> Iterable[list[str]]:
    """The use of the machine in words, a row each."""
    yield ["Processor", f"{use.cpu_share:.0%} of {counted(use.cores, 'core')} by Lectern, {use.machine_cpu_share:.0%} by everything"]
    yield ["Memory", f"{_in_bytes(use.memory_bytes)} of {_in_bytes(use.machine_memory_bytes)}"]
    yield ["Threads", f"{use.threads:,}"]
    if use.gpu is None:
        yield ["GPU", "none is used"]
    else:
        busy = "" if use.gpu.utilization is None else f", busy {use.gpu.utilization} %"
        yield ["GPU", f"{_label(use.gpu.name)}: {_in_bytes(use.gpu.used_bytes)} of {_in_bytes(use.gpu.total_bytes)}{busy}"]
    yield ["Answers in work", f"{use.queue.serving:,} of {use.slots:,} at once"]
    yield ["Waiting", f"{counted(use.queue.waiting, 'question')}; {use.queue.refused:,} were turned away"]
    asked = use.cache.hits + use.cache.misses
    share = f"; {use.cache.hits:,} of {counted(asked, 'look')} found one" if asked else ""
    yield ["Cache of answers", f"{use.cache.size:,} of {use.cache.longest:,}{share}"]
    if use.generator is None:
        yield ["Generator in this process", "none, or not loaded yet"]
    else:
        one = use.generator
        yield ["Generator in this process", f"{one.tokens:,} tokens written; {_in_bytes(one.prefix_bytes)} of prompts kept for reuse"]


# --- shared


def _show_list(
    title: str,
    words: str,
    empty: str,
    table: tuple[Sequence[str], Sequence[Sequence[str]], Sequence[int]],
    whole: tuple[Sequence[str], Sequence[Sequence[Any]]],
    key: str,
    shown: int = SHOWN,
) -> None:
    """A heading, what it is about, the first rows, and all of them as CSV.

    Args:
        empty: said in place of a table without rows.
        table: columns, rows as Markdown, columns of numbers.
        whole: columns and rows of the file.
    """
    columns, rows, numbers = table
    with st.container(key=f"list-{key}", gap="small"):
        st.subheader(title, anchor=False)
        if not rows:
            st.caption(empty)
            return
        st.caption(words)
        st.markdown(as_markdown(columns, rows[:shown], numbers))
        more = f"All {len(rows):,} rows as CSV" if len(rows) > shown else "As CSV"
        st.download_button(
            more, as_csv(*whole), f"{key}.csv", "text/csv", key=f"csv-{key}", on_click="ignore", icon=":material/download:", type="tertiary"
        )


def _label(text: str) -> str:
    return render.label(text, QUESTION_CHARACTERS)


def _day(at: str) -> str:
    """`2 Mar`, and the year where it is another; never broken over two lines."""
    day = datetime.fromisoformat(at)
    year = "" if day.year == datetime.now(UTC).year else f" {day.year}"
    return f"{day.day} {day:%b}{year}".replace(" ", "\N{NO-BREAK SPACE}")


def _in_bytes(number: int) -> str:
    return f"{number / 2**30:.1f} GB" if number >= 2**30 else f"{number / 2**20:.0f} MB"
