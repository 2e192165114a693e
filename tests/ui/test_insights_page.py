"""The page Insights as staff and students meet it, without a browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamlit.testing.v1 import AppTest

from rag import conversations
from rag.admission import Load
from rag.answer_cache import CacheUse
from rag.conversations import Feedback
from rag.device_use import DeviceUse, GeneratorUse, GpuUse
from rag.store import Store
from rag.types import Answer, Latency, Mode, Passage, Source
from ui import access
from ui.access import Visitor
from ui.insights import device_rows

HOSTILE = "Where | is <b>parking</b> ![x](https://evil.example/a.png)?"


def open_insights(period: str = "7 days", tab: str = "Questions") -> AppTest:
    page = AppTest.from_function(_page, default_timeout=60)
    page.session_state["period"], page.session_state["tab"] = period, tab
    return page.run()


def _page() -> None:
    from ui import frame, insights

    frame.page(insights.show_page, for_staff=True)()


def words(page: AppTest) -> str:
    kinds = ("header", "subheader", "markdown", "caption", "info", "warning", "error")
    return "\n".join(str(element.value) for kind in kinds for element in page.get(kind))


def keep(store: Store, question: str, days_ago: float = 0, feedback: Feedback | None = None, **changes: object) -> None:
    given = {
        "question": question, "standalone": question, "text": "Five.", "abstained": False, "confidence": 0.9, "mode": Mode.GENERATED,
        "sentences": (), "sources": (), "latency": Latency({"embed": 100.0, "prefill": 400.0, "decode": 1000.0}, 1500.0),
        "completion_tokens": 30,
    }  # fmt: skip
    conversation = conversations.start(store, "demo", question, "student-7")
    conversations.add_exchange(store, conversation.id, Answer(**{**given, **changes}))  # type: ignore[arg-type]
    conversations.give_feedback(store, conversation, conversations.messages(store, conversation)[1].id, feedback)
    at = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat(timespec="seconds")
    with store.transaction() as db:
        db.execute("UPDATE messages SET created_at = ? WHERE conversation_id = ?", [at, conversation.id])


def passage(store: Store) -> Passage:
    ids = [chunk_id for chunk_id, *_ in store.chunk_texts()]
    return next(one for one in store.passages(ids).values() if "five late days" in one.chunk.text)


def test_students_are_refused(store, use_chat_model, monkeypatch):
    keep(store, "A secret question?")
    monkeypatch.setattr(access, "admit", lambda config: Visitor("Ann", "ann", staff=False))
    page = open_insights()
    assert [one.value for one in page.error] == ["This page is for the staff of the course."]
    assert "secret" not in words(page)
    assert not page.metric


def test_without_questions_the_page_says_what_to_do(store, use_chat_model):
    page = open_insights(period="All")
    assert not page.exception
    assert "Nobody has asked anything about this course yet." in page.info[0].value
    assert "Choose a longer one above" in open_insights(period="24 hours").info[0].value


def test_staff_see_counts_and_questions_as_text_and_nobody_named(store, use_chat_model):
    keep(store, HOSTILE, abstained=True, confidence=0.1)
    keep(store, "How many late days are there?", feedback=Feedback(-1, "It is *six*"))
    keep(store, "How long is the exam?", confidence=0.4)
    keep(store, "Something of last month?", days_ago=20)
    page = open_insights()
    assert not page.exception
    assert {one.label: one.value for one in page.metric} == {
        "Questions": "3", "Without an answer": "1 (33%)", "Thumbs up": "0", "Thumbs down": "1",
    }  # fmt: skip
    told = words(page)
    assert r"| Where \| is \<b\>parking\<\/b\>" in told
    assert "![x]" not in told
    assert "https:" not in told
    assert r"It is \*six\*" in told
    assert "| 40% |" in told
    assert "student-7" not in told
    assert "last month" not in told
    assert open_insights(period="30 days").metric[0].value == "4"


def test_topics_sections_and_cited_places_that_open(store, use_chat_model):
    cited = passage(store)
    for question in ("Can I use late days for lab 1?", "Do late days expire?"):
        keep(store, question, sources=(Source(1, cited, "five late days"),))
    for question in ("Where is parking?", "Is parking free?"):
        keep(store, question, abstained=True)
    told = words(open_insights(tab="Topics and pages"))
    assert "| parking (not in the materials) | 2 | 2 |" in told
    assert "| late days | 2 | – |" in told
    assert rf"[rules\.md · Rules › Late days](./?course=demo&source={cited.chunk_id}) | 2 |" in told
    assert "| Rules | Late days | 2 |" in told
    with store.transaction() as db:
        db.execute("UPDATE documents SET visible_from = '2099-01-01T00:00:00+00:00' WHERE source = 'rules.md'")
    told = words(open_insights(tab="Topics and pages"))
    assert r"rules\.md · Rules › Late days (not visible at present)" in told
    assert "source=" not in told


def test_speed_has_a_chart_with_words_and_a_table(store, use_chat_model):
    keep(store, "One?")
    keep(store, "Two?", latency=Latency({"embed": 300.0, "prefill": 400.0, "decode": 1000.0}, 1700.0))
    keep(store, "Three?", cached=True, latency=Latency({"cache": 0.2}, 0.2))
    page = open_insights(tab="Speed")
    assert not page.exception
    assert {one.label: one.value for one in page.metric} == {
        "Half of the answers within": "1.6 s", "95 of 100 within": "1.7 s", "First word, half within": "600 ms", "Tokens a second": "30",
    }  # fmt: skip
    told = words(page)
    assert "| Embed the question | 200 ms | 290 ms | 2 |" in told
    assert "| Whole answer | 1.6 s | 1.7 s | 2 |" in told
    assert "2 answers and refusals; those from the cache are not counted." in told
    assert len(page.get("vega_lite_chart")) == 1
    hours = [one.value for one in page.markdown if "When (UTC)" in one.value]
    assert len(hours) == 1
    assert ":00 | 2 | 1.6 s | 1.7 s |" in hours[0]
    page.selectbox(key="timed").select("embed").run()
    assert any(":00 | 2 | 200 ms | 290 ms |" in one.value for one in page.markdown)


def test_the_machine_is_told_in_words(store, use_chat_model):
    use_chat_model()
    page = open_insights(tab="Machine")
    assert not page.exception
    told = words(page)
    assert "| Answers in work | 0 of 1 at once |" in told
    assert "| Waiting | 0 questions; 0 were turned away |" in told
    assert page.button(key="look-again")


def test_device_use_in_words():
    use = DeviceUse(
        0.5, 0.75, 8, 3 << 29, 16 << 30, 20, GpuUse("A_card", 5 << 30, 8 << 30, 37), Load(1, 2, 3), 4, CacheUse(5, 500, 6, 2),
        GeneratorUse(1, 0, 1234, 5 << 20),
    )  # fmt: skip
    assert list(device_rows(use)) == [
        ["Processor", "50% of 8 cores by Lectern, 75% by everything"],
        ["Memory", "1.5 GB of 16.0 GB"],
        ["Threads", "20"],
        ["GPU", r"A\_card: 5.0 GB of 8.0 GB, busy 37 %"],
        ["Answers in work", "1 of 4 at once"],
        ["Waiting", "2 questions; 3 were turned away"],
        ["Cache of answers", "5 of 500; 6 of 8 looks found one"],
        ["Generator in this process", "1,234 tokens written; 5 MB of prompts kept for reuse"],
    ]
