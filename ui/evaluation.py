"""For staff: golden questions asked in the background, the figures with their intervals, runs saved, compared, and the worst questions.

What is kept between visits, of the last evaluation as of saved runs, holds no text of the materials: found passages are looked up when
they are shown, and are gone when they are deleted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import streamlit as st

from rag.answer_cache import AnswerCache
from rag.engine import Engine
from rag.errors import LecternError
from rag.evaluate import Evaluation, Figure
from rag.experiment import Experiment
from rag.golden import QuestionSet, parse_question_set, read_question_set
from rag.judge import relevant_entries
from rag.misses import Miss
from rag.runs import LONGEST_NAME, Comparison, Run, compare, load_run, named_run_path, require_free, run_paths, save_run
from rag.store import Store
from rag.types import Scope
from ui import errors, frame, jobs, measures, render
from ui.frame import Frame
from ui.jobs import End, Job, Slot
from ui.tables import as_csv, as_markdown

FILE = Path("questions.jsonl")
UPLOAD_MB = 5
WORST = 10
"""Questions that are traced through the legs of the search."""
FOUND_SHOWN = 3
SNIPPET = 220
COURSE, UPLOAD = "of the course", "from a file of yours"
MAIN = ("recall@5", "mrr@10")
"""Measures of a saved run that the list of them shows."""
SEARCH, ANSWERS = "Search only", "Search and answers"
LINE = '{"id": "1", "question": "…", "answers": ["…"], "relevant": [{"source": "a.pdf", "quote": "…"}]}'


@dataclass(frozen=True, slots=True)
class Worst:
    """A question that went wrong. `wanted` are places named by the question set; `found` are ids of chunks, the best first."""

    id: str
    question: str
    mrr: float
    wanted: Sequence[str]
    ranks: Sequence[tuple[str, int | None]]
    candidates: int
    found: Sequence[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Finished:
    """What is kept of an evaluation until the next one."""

    course: str
    run: Run
    figures: dict[str, Figure]
    categories: dict[str, dict[str, Figure]]
    worst: Sequence[Worst]


def show_page(shown: Frame) -> None:
    frame.choose_course(shown)
    st.header(frame.course_title(shown), anchor=False)
    if shown.place.own:  # what is kept of an evaluation would outlast the files of a session
        st.info("Golden questions are asked of shared courses. Choose one on the left.")
        return
    st.markdown(
        "Golden questions are questions whose right passage is known. Asking them tells how well the course is found and answered, and "
        "whether a change made it better."
    )
    slot = jobs.slot("evaluation", str(shown.place.store.directory))
    _show_start(shown, slot)
    job = slot.job
    if job is not None and job.running:
        jobs.show_running(job, "evaluation")
    elif job is not None:
        _show_end(job, shown)
    _show_saved(shown.place.store, shown.course)


# --- starting


def _show_start(shown: Frame, slot: Slot) -> None:
    st.subheader("Ask the golden questions", anchor=False)
    questions = _choose_questions(shown)
    if questions is None:
        return
    mode = st.segmented_control("What is measured", [SEARCH, ANSWERS], default=SEARCH, required=True, key="mode")
    st.caption("Searching takes a fraction of a second a question. Answering takes as long as for a reader, and takes turns with readers.")
    count = len(questions.questions)
    limit = int(st.number_input(f"How many of the {count:,} questions, from the first", 1, count, count, key=f"limit-{count}"))
    running = slot.job is not None and slot.job.running
    if st.button("Start", icon=":material/play_arrow:", key="start", disabled=running):
        experiment = Experiment(shown.course, questions, answers=mode == ANSWERS, limit=limit)
        try:
            _start(shown, slot, experiment)
        except jobs.JobRunning:
            st.info("An evaluation is running already. It is shown below.")
        else:
            st.rerun()


def _choose_questions(shown: Frame) -> QuestionSet | None:
    """The questions to ask; None while there are none, which is said."""
    folder = shown.place.store.course_folder(shown.course)
    own = folder / FILE if folder else None
    there = own is not None and own.is_file()
    origin = UPLOAD
    if there:
        origin = st.segmented_control("Questions", [COURSE, UPLOAD], default=COURSE, required=True, key="origin")
    else:
        st.caption(f"The folder of this course has no {render.label(FILE.name)}. Upload one, or put it there.")
    try:
        if origin == COURSE and own is not None:
            found = read_question_set(own)
            chosen = replace(found, path=FILE)
        else:
            file = st.file_uploader("Golden questions, one JSON object a line", type=["jsonl"], key="upload", max_upload_size=UPLOAD_MB)
            st.caption("Each line:")
            st.code(LINE, None, wrap_lines=True)
            if file is None:
                return None
            chosen = parse_question_set(Path(Path(file.name).name), file.getvalue())
    except LecternError as e:
        errors.log(e)
        place = str(e).replace(str(own), FILE.name)
        st.error(f"These questions cannot be read: {render.label(place, 300)}")
        return None
    if not chosen.questions:
        st.error("This file holds no question. Put one JSON object on each line.")
        return None
    return chosen


def _start(shown: Frame, slot: Slot, experiment: Experiment) -> None:
    with st.spinner("Loading the models…"):  # here and not in the job: what a session holds is there for its own thread alone
        engine = shown.place.open_engine()
    title = f"Evaluation of {experiment.course}, {'with answers' if experiment.answers else 'search only'}"
    slot.start(title, lambda job: evaluate_in_job(job, experiment, engine))


def evaluate_in_job(job: Job, experiment: Experiment, engine: Engine) -> Finished:
    """The whole evaluation, as the job does it."""
    total = len(experiment.questions)
    job.report(0, total)
    # A cached answer would be a cached measurement.
    afresh = replace(engine, config=engine.config.replace(cached_answers=0), cache=AnswerCache())
    searcher = engine.searcher
    try:
        evaluation = experiment.run(
            searcher,
            afresh if experiment.answers else None,
            progress=lambda done: job.report(done, total),
            look=lambda: job.report(job.progress.done, total),
        )
        job.report(total, total, "looking at the worst")
        run = experiment.as_run("this run", evaluation, engine.config, searcher)
        worst = [_worst(miss) for miss in experiment.worst(evaluation, WORST, searcher)]
    finally:
        searcher.store.close()  # this thread's connection
    return Finished(experiment.course, run, evaluation.figures(), _categories(evaluation), worst)


def _categories(evaluation: Evaluation) -> dict[str, dict[str, Figure]]:
    found = evaluation.by_category()
    return found if len(found) > 1 else {}


def _worst(miss: Miss) -> Worst:
    golden = miss.judged.golden
    # Without the quotes: they are words of the materials, which may be deleted before the next evaluation.
    wanted = [
        " · ".join([entry["source"], *(f"{key} {entry[key]}" for key in ("page", "slide", "cell") if key in entry)])
        for entry in relevant_entries(golden)
    ]
    ranks = (("search by meaning", miss.dense), ("search by words", miss.lexical), ("both together", miss.final))
    found = [(hit.passage.chunk_id, f"{hit.passage.source} · {hit.passage.chunk.location.label}") for hit in miss.judged.hits[:FOUND_SHOWN]]
    return Worst(golden.id, golden.question, miss.judged.figures["mrr@10"], wanted, ranks, miss.candidates, found)


# --- the last evaluation


def _show_end(job: Job, shown: Frame) -> None:
    st.subheader("The last evaluation", anchor=False)
    if job.end is not End.DONE:
        (st.info if job.end is End.CANCELLED else st.error)(jobs.explain_end(job))
        return
    finished: Finished = job.result
    st.caption(f"{jobs.explain_end(job)} It asked {len(finished.run.results):,} questions.")
    if finished.course != shown.course:
        st.info(f"It was of another course: {render.label(finished.course)}. Choose that one to see it.")
        return
    _show_figures(finished.figures)
    if finished.categories:
        with st.expander("By category"):
            _show_categories(finished.categories)
    _show_save(finished, shown.place.store)
    _show_worst(finished, shown.place.store)


def _show_figures(figures: dict[str, Figure]) -> None:
    ordered = measures.in_order(list(figures))
    rows = [
        [_named(name), f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})", f"{one.n:,}"]
        for name, one in ((name, figures[name]) for name in ordered)
    ]
    st.markdown(as_markdown(["Measure", "Value (95 % interval)", "Questions"], rows, (1, 2)))
    st.caption("The interval is where the value would lie with other questions of the same kind, 95 times of 100.")
    whole = [[name, figures[name].mean, figures[name].low, figures[name].high, figures[name].n] for name in ordered]
    _offer_csv("evaluation", ["measure", "mean", "low", "high", "questions"], whole)


def _show_categories(categories: dict[str, dict[str, Figure]]) -> None:
    main = ("recall@5", "mrr@10", "refused_unanswerable", "refused_answerable")
    names = [name for name in main if any(name in one for one in categories.values())]
    rows = [
        [render.label(category or "none"), *(f"{figures[name].mean:.3f} ({figures[name].n})" if name in figures else "–" for name in names)]
        for category, figures in categories.items()
    ]
    st.markdown(as_markdown(["Category", *map(measures.name_of, names)], rows, range(1, len(names) + 1)))
    st.caption("In brackets: how many questions.")


def _show_save(finished: Finished, store: Store) -> None:
    with st.form("save", border=True):
        name = st.text_input("Save this run as", max_chars=LONGEST_NAME, placeholder="base", key="run-name")
        if not st.form_submit_button("Save", icon=":material/save:"):
            return
    try:
        path = named_run_path(name.strip(), store.directory)
    except LecternError:
        st.error("A name has letters, digits, dots, hyphens and underscores, and begins with a letter or digit.")
        return
    try:
        require_free(path)
    except LecternError:
        st.error(f"There is a run called {render.label(name.strip())} already. Choose another name: a saved run is never changed.")
        return
    try:
        save_run(replace(finished.run, name=name.strip()), path)
    except LecternError as e:
        errors.log(e)
        st.error("The run could not be saved. Whoever runs Lectern finds the reason in its log.")
    else:
        st.success(f"Saved as {render.label(name.strip())}.")


def _show_worst(finished: Finished, store: Store) -> None:
    st.markdown("#### The worst questions")
    if not finished.worst:
        st.caption("None: every question found its passage first, and whole.")
        return
    st.caption("What was wanted, where it stood in each search, and what was found instead. Passages are those of the course now.")
    passages = store.passages_in(Scope(finished.course, at="any"), [chunk_id for one in finished.worst for chunk_id, _ in one.found])
    for number, one in enumerate(finished.worst):
        with st.expander(render.label(one.question, 120), key=f"worst-{number}"):
            for wanted in one.wanted:
                st.markdown(f"**Wanted** {render.label(wanted, SNIPPET)}")
            ranks = [f"{leg}: {f'place {rank}' if rank else f'not among {one.candidates}'}" for leg, rank in one.ranks]
            st.markdown(f"**Its place** {render.label('; '.join(ranks))}")
            for place, (chunk_id, name) in enumerate(one.found, 1):
                text = render.label(passages[chunk_id].chunk.text, SNIPPET) if chunk_id in passages else "*no longer part of the course*"
                st.markdown(f"**Found {place}** {render.label(name)}: {text}")
            if not one.found:
                st.markdown("**Found** nothing")


# --- saved runs


@dataclass(frozen=True, slots=True)
class _Saved:
    run: Run
    means: dict[str, float]


@st.cache_data(show_spinner=False, max_entries=200)
def _load(path: str, changed_ns: int) -> _Saved | None:
    """A saved run with its main figures; None for a file that is none. `changed_ns` is there to read a changed file again."""
    try:
        run = load_run(Path(path))
    except LecternError as e:
        errors.log(e)
        return None
    values = {name: [one.figures[name] for one in run.results if name in one.figures] for name in MAIN}
    return _Saved(run, {name: fmean(of_name) for name, of_name in values.items() if of_name})


def _show_saved(store: Store, course: str) -> None:
    st.subheader("Saved runs", anchor=False)
    loaded = {}
    for path in run_paths(store.directory):
        with suppress(FileNotFoundError):  # deleted meanwhile
            loaded[path.stem] = _load(str(path), path.stat().st_mtime_ns)
    saved = {name: one for name, one in loaded.items() if one is not None and one.run.setting.get("course") == course}
    if broken := [name for name, one in loaded.items() if one is None]:
        st.warning(f"These files are no saved runs: {render.label(', '.join(broken))}.")
    if not saved:
        st.caption("No run of this course is saved yet. Start one above, then save it under a name, to compare later ones with it.")
        return
    rows = [
        [
            render.label(name),
            render.label(str(one.run.made)[:16].replace("T", " ")),
            f"{len(one.run.results):,} {'answered' if one.run.setting.get('answers') else 'searched'}",
            " / ".join(f"{one.means[measure]:.3f}" if measure in one.means else "–" for measure in MAIN),
        ]
        for name, one in saved.items()
    ]
    st.markdown(as_markdown(["Run", "Made (UTC)", "Questions", "Recall, first 5 / rank"], rows, (3,)))
    if len(saved) < 2:
        st.caption("Save a second run to compare the two.")
        return
    _show_comparison(saved)


def _show_comparison(saved: dict[str, _Saved]) -> None:
    st.markdown("#### Compare two runs")
    names = list(saved)
    left, right = st.columns(2)
    before = left.selectbox("Before", names, index=1, key="before", format_func=render.escape)
    after = right.selectbox("After", names, index=0, key="after", format_func=render.escape)
    if before == after:
        st.caption("Choose two different runs.")
        return
    try:
        comparison = compare(saved[before].run, saved[after].run)
    except LecternError:
        st.info("These runs have no question in common. Compare runs over the same questions.")
        return
    _show_differences(comparison)
    _show_changed(saved[before].run, saved[after].run)
    _show_settings(comparison)


def _show_differences(comparison: Comparison) -> None:
    left_out = comparison.only_before + comparison.only_after
    rest = f" {left_out:,} that only one of them holds {'is' if left_out == 1 else 'are'} left out." if left_out else ""
    st.caption(f"Over the {comparison.questions:,} questions that both hold.{rest}")
    ordered = [name for name in measures.in_order(list(comparison.measures)) if name in measures.MEASURES]
    rows = []
    for name in ordered:
        one = comparison.measures[name]
        difference = f"**{measures.verdict(name, one.mean, one.p)}** {one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
        rows.append([_named(name), f"{one.before:.3f} → {one.after:.3f}", difference])
    st.markdown(as_markdown(["Measure", "Before → after", "Difference (95 % interval)"], rows, (1, 2)))
    st.caption(
        f"“No clear difference”: as large a one comes by chance more than {measures.UNCLEAR_P * 100:.0f} times in 100 "
        "(permutation test over the questions)."
    )
    whole = [
        [name, one.before, one.after, one.mean, one.low, one.high, one.p, one.rose, one.fell, one.same]
        for name, one in comparison.measures.items()
    ]
    _offer_csv("comparison", ["measure", "before", "after", "difference", "low", "high", "p", "rose", "fell", "same"], whole)


def _show_changed(before: Run, after: Run) -> None:
    """The questions whose first right passage moved, those that fell first."""
    earlier = {(one.id, one.question): one.figures.get("mrr@10") for one in before.results}
    moved = []
    for one in after.results:
        was, now = earlier.get((one.id, one.question)), one.figures.get("mrr@10")
        if was is not None and now is not None and was != now:
            moved.append((now - was, one.question, was, now))
    if not moved:
        st.caption("No question's first right passage moved.")
        return
    moved.sort(key=lambda row: row[0])
    with st.expander(f"Questions that moved ({len(moved):,})"):
        rows = [[render.label(question, 140), f"{was:.2f}", f"{now:.2f}"] for _, question, was, now in moved[:30]]
        st.markdown(as_markdown(["Question, those that fell first", "Before", "After"], rows, (1, 2)))


def _show_settings(comparison: Comparison) -> None:
    if not comparison.settings:
        st.caption("No setting differs.")
        return
    with st.expander(f"Settings that differ ({len(comparison.settings)})"):
        rows = [[render.label(name), _value(was), _value(now)] for name, (was, now) in comparison.settings.items()]
        st.markdown(as_markdown(["Setting", "Before", "After"], rows))


# --- shared


def _value(value: Any) -> str:
    return render.label(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 80)


def _named(measure: str) -> str:
    """A measure's name, what it says, and what the field calls it."""
    words = measures.says(measure)
    return f"**{render.escape(measures.name_of(measure))}** {render.escape(f'({measure}): {words}' if words else '')}".strip()


def _offer_csv(name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    st.download_button(
        "As CSV", as_csv(columns, rows), f"{name}.csv", "text/csv",
        key=f"csv-{name}", on_click="ignore", icon=":material/download:", type="tertiary",
    )  # fmt: skip
