"""The course's documents."""

from __future__ import annotations

import streamlit as st

from ui import frame
from ui.frame import Frame


def show_page(shown: Frame) -> None:
    frame.choose_course(shown)
    st.header(frame.course_title(shown), anchor=False)
