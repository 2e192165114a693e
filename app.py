"""The Streamlit entry: `streamlit run app.py`."""

import streamlit as st

from ui.server import MIDDLEWARE, ROUTES, lifespan

app = st.App("ui/main.py", middleware=MIDDLEWARE, routes=ROUTES, lifespan=lifespan)
