"""What every page begins and ends with: settings, the visitor, the course in the sidebar, and errors in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from rag.config import Config
from rag.records import Course
from ui import access, errors, own_files, places, render, state
from ui.access import Visitor
from ui.indexing import counted
from ui.places import Place

_LAST = "last_course"


@dataclass(frozen=True, slots=True)
class Frame:
    """What a page is shown for. `courses` can be chosen; `course` is the name of the one in the URL, else the first."""

    config: Config
    visitor: Visitor
    courses: Sequence[Course]
    course: str
    place: Place

    @property
    def chosen(self) -> Course:
        """The course of that name.

        Raises:
            UnknownCourse: there is none.
        """
        for course in self.courses:
            if course.name == self.course:
                return course
        return self.place.store.course(self.course)  # too new to be listed, or not there


def page(show: Callable[[Frame], None], for_staff: bool = False, of_empty_courses: bool = False) -> Callable[[], None]:
    """A page as Streamlit calls it. Whatever goes wrong ends here, in words; a defect is Streamlit's to show.

    Args:
        for_staff: others are told that the page is not theirs, and `show` is not called.
        of_empty_courses: the page has something to show when no course holds a document.
    """

    def run() -> None:
        with errors.shown():
            config = Config.load()
            visitor = access.admit(config)
            if for_staff and not visitor.staff:
                st.error("This page is for the staff of the course.")
                return
            access.show_visitor(visitor)
            _show(show, config, visitor, of_empty_courses)

    return run


def _show(show: Callable[[Frame], None], config: Config, visitor: Visitor, of_empty_courses: bool) -> None:
    courses = places.courses(config)
    filled = [course for course in courses if course.chunks]
    if not filled and not (courses and of_empty_courses):
        st.title("Lectern")
        st.info("There is nothing to ask about yet. On the machine that runs Lectern, run `python -m ingest`, then reload this page.")
        return
    # The navigation's links have no parameters: the course stays the one that this visitor was shown last, while there is such a course.
    names = {course.name for course in courses}
    last = st.session_state.get(_LAST)
    name = state.parameter(state.COURSE) or (last if last in names else (filled or courses)[0].name)
    if name in names:
        st.session_state[_LAST] = name
    place = places.place_of(config, name)
    try:
        show(Frame(config, visitor, courses, name, place))
    finally:
        places.close(config)


def choose_course(frame: Frame) -> None:
    """The course in the sidebar. A name that is no course leaves the choice empty."""
    by_name = {course.name: course for course in frame.courses}
    if frame.course in by_name:
        st.session_state["course"] = frame.course
    with st.sidebar:
        st.selectbox(
            "Course",
            list(by_name),
            index=0 if frame.course in by_name else None,
            key="course",
            format_func=lambda one: by_name[one].title or one,
            placeholder="Choose a course",
            on_change=_change_course,
        )
        if frame.course in by_name:
            course = by_name[frame.course]
            st.caption(f"{counted(course.documents, 'document')} · {counted(course.chunks, 'passage')}")
        offer_own_files(frame, "own-files")


def offer_own_files(frame: Frame, key: str) -> None:
    """The way to files of the visitor's own, until there are some."""
    if own_files.are_offered(frame.config) and st.button(
        "Use your own files", key=key, icon=":material/upload_file:", type="tertiary", help=own_files.WHAT_FOR
    ):
        if own_files.begin(frame.config) is None:
            st.warning(own_files.NO_PLACE)
        else:
            state.go_to_page(state.MATERIALS, course=own_files.NAME)


def _change_course() -> None:
    if st.session_state["course"] is not None:
        state.go_to_course(st.session_state["course"])


def course_title(frame: Frame) -> str:
    """The course's title, as Markdown.

    Raises:
        UnknownCourse: there is no such course.
    """
    return render.label(frame.chosen.title or frame.course)
