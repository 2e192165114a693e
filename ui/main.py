"""The script that Streamlit runs for every visit: which pages there are."""

from typing import Literal

import streamlit as st

from ui import access, chat, frame, materials, state
from ui.frame import Frame


def show_insights(shown: Frame) -> None:
    from ui import insights  # with its charts, when somebody looks: every visitor's first page would wait for them

    insights.show_page(shown)


def show_evaluation(shown: Frame) -> None:
    from ui import evaluation  # likewise

    evaluation.show_page(shown)


# An emoji: the picture of a `:material/…:` icon would be fetched from another host.
st.set_page_config(page_title="Lectern", page_icon="📖", layout="centered", initial_sidebar_state="auto")
visitor = access.current()
# A page that is not the visitor's is left out of the navigation; a link to it is answered in words (`frame.page`).
for_staff: Literal["visible", "hidden"] = "visible" if visitor and visitor.staff else "hidden"
st.navigation(
    [
        st.Page(frame.page(chat.show_page), title="Ask", url_path=state.ASK, default=True),
        st.Page(frame.page(materials.show_page, of_empty_courses=True), title="Materials", url_path=state.MATERIALS),
        st.Page(frame.page(show_insights, for_staff=True), title="Insights", url_path="insights", visibility=for_staff),
        st.Page(frame.page(show_evaluation, for_staff=True), title="Evaluation", url_path="evaluation", visibility=for_staff),
    ],
    position="top" if visitor else "hidden",
).run()
