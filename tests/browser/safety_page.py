"""Payloads, shown by the functions that show texts of readers, models and documents: `?place=draft&first=0&last=500`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from payloads import texts_of
from rag.errors import QuestionError
from rag.types import Chunk, Location, LocationKind, Mode, Passage, Sentence, Source, Support
from ui import chat, errors, render, sources


def _answer(text: str, mode: Mode = Mode.GENERATED, draft: str = "") -> None:
    st.markdown(render.sentences((Sentence(text, Support.WEAK, (1,)),), mode, draft))


def _source(text: str, number: int) -> None:
    place = Location(LocationKind.HEADING, heading=(text, text))
    sources.show_sources([Source(1, Passage(1, "c", text, text, Chunk(text, 0, len(text), place)), text)], str(number))


def _bubble(text: str) -> None:
    with st.chat_message("user"):
        st.markdown(render.rich(text))


PLACES: dict[str, Callable[[str, int], object]] = {
    "draft": lambda text, _: st.markdown(render.sentences((), Mode.GENERATED, text)),
    "answer": lambda text, _: _answer(text),
    "answer, quoted": lambda text, _: _answer(text, Mode.EXTRACTIVE),
    "answer, then a draft": lambda text, _: _answer(text, draft=text),
    "source": lambda text, _: st.markdown(render.marked(text, text[1:-1])),
    "source, as code": lambda text, _: st.code(text, language="python", wrap_lines=True),
    "file name, heading, quote": _source,
    "title": lambda text, _: st.header(render.label(text), anchor=False),
    "path of headings": lambda text, _: st.caption(render.label(" › ".join((text, text)), 300)),
    "question": lambda text, _: _bubble(text),
    "conversation": lambda text, number: st.button(render.label(text), key=f"conversation-{number}", width="stretch"),
    "notice": lambda text, _: st.caption(render.label(text, 300)),
    "refusal": lambda text, _: st.info(render.rich(text), icon=":material/info:"),
    "error": lambda text, _: st.error(errors.explain(QuestionError(text))),
    "left out": lambda text, _: st.markdown(render.rich(text, "gray")),
    "reading": lambda text, _: st.caption(chat.reading([text])),
    "prompt": lambda text, _: st.code(text, language=None, wrap_lines=True),
    "name": lambda text, _: st.caption(render.label(text, 60)),
}
"""Where a text may stand → how the page shows it there, and a number that no other has."""


CONTROLS: dict[str, Callable[[str, int], object]] = {
    "raw Markdown": lambda text, _: st.markdown(text),
    "raw HTML": lambda text, _: st.html(text, unsafe_allow_javascript=True),
}
"""What the page never does: the test must notice it."""


def show(place: str, texts: Sequence[str]) -> None:
    for number, text in enumerate(texts):
        (PLACES | CONTROLS)[place](text, number)


if __name__ == "__main__":
    st.set_page_config(page_title="Payloads", page_icon="📖")
    asked = st.query_params
    show(asked["place"], texts_of(asked["place"])[int(asked["first"]) : int(asked["last"])])
    st.text("all shown")
