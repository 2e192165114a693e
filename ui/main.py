"""The script that Streamlit runs for every visit: which pages there are."""

import streamlit as st

from ui import chat, evaluation, frame, insights, materials, state

# An emoji: the picture of a `:material/…:` icon would be fetched from another host.
st.set_page_config(page_title="Lectern", page_icon="📖", layout="centered", initial_sidebar_state="expanded")
st.navigation(
    [
        st.Page(frame.page(chat.show_page), title="Ask", url_path=state.ASK, default=True),
        st.Page(frame.page(materials.show_page, of_empty_courses=True), title="Materials", url_path=state.MATERIALS),
        st.Page(frame.page(insights.show_page, for_staff=True), title="Insights", url_path="insights"),
        st.Page(frame.page(evaluation.show_page, for_staff=True), title="Evaluation", url_path="evaluation"),
    ],
    position="top",
).run()
