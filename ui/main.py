"""The script that Streamlit runs for every visit: which pages there are."""

import streamlit as st

from ui import chat

# An emoji: the picture of a `:material/…:` icon would be fetched from another host.
st.set_page_config(page_title="Lectern", page_icon="📖", layout="centered", initial_sidebar_state="expanded")
st.navigation([st.Page(chat.show_page, title="Ask", url_path="ask", default=True)], position="hidden").run()
