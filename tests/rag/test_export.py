import json
import re

import pytest
from markdown_it import MarkdownIt

from rag import conversations
from rag.__main__ import main
from rag.answer import answer
from rag.conversations import Conversation, Feedback, Message
from rag.engine import Engine
from rag.export import answer_to_markdown, answer_to_text, conversation_to_json, conversation_to_markdown, escape
from rag.types import Answer, Chunk, Latency, Location, LocationKind, Mode, Passage, Scope, Sentence, Source, Support, Turn

CONVERSATION = Conversation("c1", "optics", "Late days?", "2026-11-21T10:00:00+00:00", owner="secret-owner")
PASSAGE = Passage(
    7,
    "optics",
    "notes/a_b.pdf",
    "Notes *one*",
    Chunk("Each late day costs 5 points.", 0, 29, Location(LocationKind.PAGE, 4)),
    material="notes",
)


def made_answer(
    *sentences: Sentence, mode: Mode = Mode.GENERATED, abstained: bool = False, text: str = "", quote: str = "costs 5"
) -> Answer:
    return Answer(
        question="Late days?", standalone="Late days?", text=text or " ".join(one.text for one in sentences), abstained=abstained,
        confidence=0.9, mode=mode, sentences=sentences, sources=(Source(1, PASSAGE, quote),), latency=Latency({"decode": 2300.0}, 2340.0),
        prompt=(Turn("user", "the prompt"),), dropped=(Sentence("Left out.", Support.UNSUPPORTED),), notices=("searched for “late”",),
    )  # fmt: skip


GENERATED = made_answer(
    Sentence("A late day costs 5 points.", Support.SUPPORTED, (1,)),
    Sentence("It is cheap.", Support.WEAK, (1,)),
    Sentence("So be it.", Support.UNSUPPORTED),
)

PAYLOADS = {
    "image": "![x](http://evil.example/x.png)",
    "reference image": "![x][y]\n\n[y]: http://evil.example/x.png",
    "link": "[click](http://evil.example)",
    "bare address": "see http://evil.example and https://evil.example/a or www.evil.example",
    "angle address": "<http://evil.example>",
    "mail": "write to a@evil.example or mailto:a@evil.example",
    "html": '<img src="http://evil.example/x.png" onerror=alert(1)><script>alert(1)</script>',
    "html block": "\n<div>\n<b>x</b>\n</div>\n",
    "entity": "&lt;img src=x&gt; &#60;b&#62;",
    "escaped twice": r"\![x](http://evil.example) \\![x](http://evil.example) \<img src=x>",
    "heading": "# Top\n\nText\n===\n\nMore\n---",
    "list": "- one\n+ two\n1. three\n2) four\n    code",
    "quote": "> quoted\n>> twice",
    "fence": "```html\n<b>x</b>\n```\n~~~\n[x](y)\n~~~",
    "table": "| a | b |\n|---|---|\n| [x](y) | c |",
    "definition": "[1]: http://evil.example",
    "footnote": "[^1]\n\n[^1]: http://evil.example",
    "math": r"$\href{http://evil.example}{x}$ and $$x$$",
    "emphasis": "*a* __b__ ~~c~~ ==d== ^e^",
    "controls": "a\u202eb\x00c\u2028# d",
}


def inert(markdown: str) -> str:
    """What a viewer shows of the Markdown; fails where it would make a picture, a link or HTML of it, or anything but our own structure."""
    found = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown):
        assert token.type not in {"html_block", "fence", "code_block", "table_open", "hr"}, token
        for child in token.children or ():
            assert child.type in {"text", "softbreak", "hardbreak", "em_open", "em_close"}, child
            found.append("\n" if child.type.endswith("break") else child.content)
        found.append("\n")
    return "".join(found)


def test_an_answer_is_exported_with_its_marks_sources_and_time() -> None:
    assert answer_to_markdown(GENERATED) == (
        "A late day costs 5 points. [1]\n\n"
        "It is cheap. [1] (partly supported)\n\n"
        "So be it. (not held by the materials)\n\n"
        "*searched for “late”*\n\n"
        "Sources\n\n"
        "- [1] notes/a\\_b.pdf, page 4 (Notes \\*one\\*)\n"
        "  > costs 5\n\n"
        "*Answered in 2.3 s*"
    )


def test_quotations_and_refusals_are_labelled() -> None:
    quoted = made_answer(Sentence("Each late day costs 5 points.", Support.SUPPORTED, (1,), quoted=True), mode=Mode.EXTRACTIVE)
    assert answer_to_markdown(quoted).startswith("*Quoted from the materials.*\n\n> Each late day costs 5 points. [1]\n\n")
    refused = made_answer(mode=Mode.EXTRACTIVE, abstained=True, text="The materials do not say.", quote="")
    assert answer_to_markdown(refused).split("\n\n")[:2] == ["*Not answered: the materials do not hold it.*", "The materials do not say."]
    assert "Nearest passages\n\n- [1] notes" in answer_to_markdown(refused)
    assert "  > " not in answer_to_markdown(refused)


def test_a_sentence_put_in_by_code_is_a_quotation_within_a_generated_answer() -> None:
    mixed = made_answer(Sentence("It costs.", Support.SUPPORTED, (1,)), Sentence("Each costs 5.", Support.SUPPORTED, (1,), quoted=True))
    assert answer_to_markdown(mixed).startswith("It costs. [1]\n\n> Each costs 5. [1]\n\n")


def test_the_clipboard_gets_plain_text() -> None:
    assert answer_to_text(GENERATED) == (
        "A late day costs 5 points. [1]\nIt is cheap. [1] (partly supported)\nSo be it. (not held by the materials)\n\n"
        "Sources\n[1] notes/a_b.pdf, page 4: “costs 5”"
    )
    hostile = answer_to_text(made_answer(Sentence("![x](http://e.example) <img src=x> a < b", Support.SUPPORTED)))
    assert hostile.startswith("! [x] (http://e.example) < img src=x> a < b\n\n")


def test_a_conversation_has_its_questions_as_headings() -> None:
    messages = [
        Message(1, "user", "Late days? # no", created_at="2026-11-21T10:00:05+00:00"),
        Message(2, "assistant", GENERATED.text, GENERATED, Feedback(-1, "wrong <b>"), "2026-11-21T10:00:08+00:00"),
        Message(3, "user", "And?"),
        Message(4, "assistant", conversations.HIDDEN),
    ]
    shown = conversation_to_markdown(CONVERSATION, messages, "Optics 101")
    assert shown.startswith(
        "# Late days?\n\nOptics 101 · 2026-11-21T10:00:00+00:00\n\n## Late days? \\# no\n\n2026-11-21T10:00:05+00:00\n\nA late"
    )
    assert "\n\nFound not helpful: wrong \\<b\\>\n\n## And?\n\n" in shown
    assert shown.endswith(f"{conversations.HIDDEN}\n")
    assert "the prompt" not in shown
    assert "Left out" not in shown


def test_json_is_stable_and_holds_neither_prompt_nor_owner() -> None:
    messages = [Message(2, "assistant", GENERATED.text, GENERATED, Feedback(1))]
    value = conversation_to_json(CONVERSATION, messages, "Optics 101")
    assert {key: value[key] for key in ("format", "version", "id", "course", "course_title", "title", "created_at")} == {
        "format": "lectern-conversation", "version": 1, "id": "c1", "course": "optics", "course_title": "Optics 101", "title": "Late days?",
        "created_at": "2026-11-21T10:00:00+00:00",
    }  # fmt: skip
    (message,) = value["messages"]
    assert message["feedback"] == {"rating": 1, "note": ""}
    assert message["answer"]["sentences"][0] == {
        "text": "A late day costs 5 points.",
        "support": "supported",
        "citations": [1],
        "quoted": False,
    }
    assert message["answer"]["sources"][0]["source"] == "notes/a_b.pdf"
    assert not {"prompt", "prompt_parts", "dropped"} & message["answer"].keys()
    assert "secret-owner" not in json.dumps(value)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_what_is_exported_is_inert_wherever_it_stands(payload: str) -> None:
    passage = Passage(7, "optics", payload, payload, Chunk(payload, 0, len(payload), Location(LocationKind.HEADING, heading=(payload,))))
    sentences = (Sentence(payload, Support.SUPPORTED, (1,)), Sentence(payload, Support.SUPPORTED, (1,), quoted=True))
    hostile = Answer(
        payload,
        payload,
        payload,
        False,
        1.0,
        Mode.GENERATED,
        sentences,
        (Source(1, passage, payload),),
        Latency({}, 1.0),
        notices=(payload,),
    )
    messages = [
        Message(1, "user", payload),
        Message(2, "assistant", payload, hostile, Feedback(1, payload)),
        Message(3, "assistant", payload),
    ]
    markdown = conversation_to_markdown(Conversation("c", "optics", payload, "now"), messages, payload)
    shown = inert(markdown)
    # Viewers that make links of addresses read the text after escapes are gone.
    assert not re.search(r"\w://|\bwww\.|@\w|(?:mailto|xmpp):[^\s\u2060]", shown)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("Plain words, a 5 % rule: done.", "Plain words, a 5 % rule: done."),
        ("1. first", "1\\. first"),
        ("- item", "\\- item"),
        ("a\n b", "a b"),
        ("x_1 * [y]", "x\\_1 \\* \\[y\\]"),
        ("http://e.example", "http:\u2060//e.example"),
        ("e.example/x.png", "e.\u2060example/x.png"),
    ],
)
def test_escaped_text_reads_as_before(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert inert(escape(text)).strip().replace("\u2060", "") == " ".join(text.split())


def test_the_command_exports_anybodys_conversation(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    store = engine.searcher.store
    answered = answer("How many points does a late day cost?", Scope("optics"), engine)
    conversation = conversations.start(store, "optics", answered.question, owner="someone")
    conversations.add_exchange(store, conversation.id, answered)
    assert main(["export", conversation.id, "--store", str(store.directory)]) == 0
    assert "\n> Each late day costs 5 points. [1]" in capsys.readouterr().out
    assert main(["export", conversation.id, "--store", str(store.directory), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["messages"][1]["answer"]["sources"][0]["source"] == "syllabus.md"
    assert main(["export", "nothing", "--store", str(store.directory)]) == 1
    assert "has no conversation nothing" in capsys.readouterr().err
