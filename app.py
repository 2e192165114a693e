"""The Streamlit entry: `streamlit run app.py`."""

import streamlit as st

from ui.server import MIDDLEWARE, ROUTES

app = st.App("ui/main.py", middleware=MIDDLEWARE, routes=ROUTES)
