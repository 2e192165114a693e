"""Conversations and answers as files and for the clipboard: with their citations, and inert wherever they are opened.

What documents, readers and models wrote is escaped, so that no viewer of Markdown makes a picture, a link or HTML of it. Escapes are not
enough by themselves: many viewers make links of addresses after they are gone, so an invisible word joiner breaks these. Prompts, what was
left out of an answer, and whose the conversation is, are not exported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rag.conversations import Conversation, Message
from rag.types import Answer, Latency, Mode, Sentence, Source, Support
from rag.wire import answer_to_json

FORMAT = "lectern-conversation"
VERSION = 1
SUPPORT = {
    Support.SUPPORTED: "",
    Support.WEAK: "partly supported",
    Support.UNSUPPORTED: "not held by the materials",
}
"""Marks of a sentence in words; one that is supported has its citations."""
REFUSED = "Not answered: the materials do not hold it."
QUOTED = "Quoted from the materials."
NOT_EXPORTED = ("prompt", "prompt_parts", "dropped")

_JOINER = "\u2060"
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028-\u202e\u2066-\u2069]")
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~$!&^=]")
_AT_LINE_START = re.compile(r"^(?:[-+:]|\d{1,9}(?=[.)]))")
_ADDRESS = re.compile(r"\w:(?=//)|\b(?:mailto|xmpp|javascript|data):(?=\S)|\bwww(?=\.)|@(?=[\w-])", re.IGNORECASE)
_DOMAIN = re.compile(r"(?<=\w)\.(?=[a-z]{2,24}(?:/|:\d))", re.IGNORECASE)


def conversation_to_markdown(conversation: Conversation, messages: Sequence[Message], course_title: str) -> str:
    """A conversation to be read: each question a heading, its answer with `[n]`, the sources below.

    Args:
        messages: as `conversations.messages` gives them: what is hidden at present is not among them.
    """
    parts = [f"# {escape(conversation.title)}", f"{escape(course_title)} · {escape(conversation.created_at)}"]
    for message in messages:
        if message.role == "user":
            parts += [f"## {escape(message.content)}", *([escape(message.created_at)] if message.created_at else [])]
        elif message.answer is None:
            parts.append(_block(message.content))
        else:
            parts.append(answer_to_markdown(message.answer))
            parts += [escape(line) for line in _feedback(message)]
    return "\n\n".join(parts) + "\n"


def conversation_to_json(conversation: Conversation, messages: Sequence[Message], course_title: str) -> dict[str, Any]:
    """The same for programs; stable: keys may be added, never changed. Answers are as `rag ask --json` gives them."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": conversation.id,
        "course": conversation.course,
        "course_title": course_title,
        "title": conversation.title,
        "created_at": conversation.created_at,
        "messages": [_message_to_json(message) for message in messages],
    }


def answer_to_markdown(answer: Answer) -> str:
    """An answer with its citations as inert Markdown."""
    parts = [f"*{label}*" for label in _labels(answer)]
    if answer.abstained or not answer.sentences:
        parts.append(_block(answer.text))
    else:
        quoted = answer.mode is Mode.EXTRACTIVE
        parts += [_quotation(one) if quoted or one.quoted else _sentence(one) for one in answer.sentences]
    parts += [f"*{escape(notice)}*" for notice in answer.notices]
    if answer.sources:
        parts.append("\n".join([_heading_of_sources(answer), "", *(line for source in answer.sources for line in _source(source))]))
    parts.append(f"*{_duration(answer.latency)}*")
    return "\n\n".join(parts)


def answer_to_text(answer: Answer) -> str:
    """An answer with its citations for the clipboard: plain, without escapes.

    Pasted into a page that reads Markdown or HTML it must not act either: a blank breaks the marks of pictures, links and tags.
    """
    if answer.abstained or not answer.sentences:
        body = [answer.text]
    else:
        body = [" ".join([one.text, *_markers(one), *_mark(one)]) for one in answer.sentences]
    sources = [
        f"[{source.n}] {source.passage.source}, {source.passage.chunk.location.label}"
        + (f": “{_one_line(source.quote)}”" if source.quote else "")
        for source in answer.sources
    ]
    blocks = [
        *(_plain(label) for label in _labels(answer)),
        _plain("\n".join(body)),
        _plain("\n".join([_heading_of_sources(answer), *sources])),
    ]
    return "\n\n".join(blocks if sources else blocks[:-1])


def escape(text: str) -> str:
    """One line of text that every viewer of Markdown shows as the characters it is made of."""
    line = _CONTROLS.sub("", _one_line(text))
    line = _DOMAIN.sub(f".{_JOINER}", _ADDRESS.sub(lambda found: found[0] + _JOINER, line))
    marked = _MARKUP.sub(r"\\\g<0>", line)
    return _AT_LINE_START.sub(lambda found: f"\\{found[0]}" if not found[0].isdigit() else f"{found[0]}\\", marked)


def _labels(answer: Answer) -> Iterator[str]:
    """What kind of answer it is, where it is no ordinary one."""
    if answer.abstained:
        yield REFUSED
    elif answer.mode is Mode.EXTRACTIVE:
        yield QUOTED


def _sentence(sentence: Sentence) -> str:
    return " ".join([_block(sentence.text), *_markers(sentence), *_mark(sentence)])


def _quotation(sentence: Sentence) -> str:
    return "\n".join(f"> {line}" for line in _sentence(sentence).split("\n"))


def _markers(sentence: Sentence) -> list[str]:
    return ["".join(f"[{number}]" for number in sentence.citations)] if sentence.citations else []


def _mark(sentence: Sentence) -> list[str]:
    return [f"({SUPPORT[sentence.support]})"] if SUPPORT[sentence.support] else []


def _heading_of_sources(answer: Answer) -> str:
    return "Nearest passages" if answer.abstained else "Sources"


def _source(source: Source) -> Iterator[str]:
    passage = source.passage
    yield f"- [{source.n}] {escape(passage.source)}, {escape(passage.chunk.location.label)} ({escape(passage.title)})"
    if source.quote:
        yield f"  > {escape(source.quote)}"


def _duration(latency: Latency) -> str:
    return f"Answered in {latency.total / 1000:.1f} s"


def _feedback(message: Message) -> Iterator[str]:
    if message.feedback is not None:
        opinion = "Found helpful" if message.feedback.rating > 0 else "Found not helpful"
        yield f"{opinion}: {message.feedback.note}" if message.feedback.note else opinion


def _block(text: str) -> str:
    """A text of several lines, each escaped, with its line breaks."""
    return "\\\n".join(escape(line) for line in re.split(r"\r\n?|\n", text) if line.strip())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    return re.sub(r"!(?=\[)|\](?=\()|<(?=[a-zA-Z/!?])", r"\g<0> ", _CONTROLS.sub("", text))


def _message_to_json(message: Message) -> dict[str, Any]:
    value: dict[str, Any] = {"role": message.role, "content": message.content, "created_at": message.created_at}
    if message.answer is not None:
        value["answer"] = {key: part for key, part in answer_to_json(message.answer).items() if key not in NOT_EXPORTED}
    if message.feedback is not None:
        value["feedback"] = {"rating": message.feedback.rating, "note": message.feedback.note}
    return value
