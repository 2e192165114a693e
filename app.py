"""The Streamlit entry: `streamlit run app.py`."""

import streamlit as st

from ui.health import ROUTES
from ui.server import MIDDLEWARE, lifespan

app = st.App("ui/main.py", middleware=MIDDLEWARE, routes=ROUTES, lifespan=lifespan)
