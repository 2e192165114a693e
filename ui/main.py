"""The script that Streamlit runs for every visit: which pages there are."""

import streamlit as st

from ui import chat, evaluation, frame, insights, materials

# An emoji: the picture of a `:material/…:` icon would be fetched from another host.
st.set_page_config(page_title="Lectern", page_icon="📖", layout="centered", initial_sidebar_state="auto")
st.sidebar.markdown("**Lectern**")
st.navigation(
    [
        st.Page(frame.page(chat.show_page), title="Ask", url_path="ask", default=True),
        st.Page(frame.page(materials.show_page), title="Materials", url_path="materials"),
        st.Page(frame.page(insights.show_page, for_staff=True), title="Insights", url_path="insights"),
        st.Page(frame.page(evaluation.show_page, for_staff=True), title="Evaluation", url_path="evaluation"),
    ],
    position="top",
).run()
