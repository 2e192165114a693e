"""The server of the page that test_render_safety.py looks at: our middleware and headers, another script."""

import streamlit as st

from ui.server import MIDDLEWARE, ROUTES

app = st.App("safety_page.py", middleware=MIDDLEWARE, routes=ROUTES)
