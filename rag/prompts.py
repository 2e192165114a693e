"""The messages for a generator. The words are data (rag/presets/prompts.toml), short: a small model follows little, and every token costs
the reader time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from rag.presets import read_length, read_prompt
from rag.types import Turn

REFUSAL = "The materials of this course do not seem to answer that."

STOP = ["\nQuestion:", "\nExcerpt", "<excerpt"]
"""Where a small model begins to make up the next exchange."""

ROLES = {"system": "system", "human": "user", "ai": "assistant"}
"""LangChain's types of messages → the roles of chat formats, servers and ours."""
_MESSAGES: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}

AUTO = "auto"
LANGUAGES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fi": "Finnish",
    "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish",
    "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_name(code: str) -> str:
    """`de` is German; a code that is not known here stands for itself."""
    return LANGUAGES.get(code, f"the language {code}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """The words of a prompt: `system` as it is sent, `question` with {sources} and {question}, `source` with {n}, {context} and {text}."""

    system: str
    question: str
    source: str

    @classmethod
    def named(cls, name: str, length: str = "medium", language: str = AUTO) -> Prompt:
        """
        Args:
            language: of the answer, ISO 639-1; `auto` adds no word about it: a generator answers in the question's by itself.

        Raises:
            ConfigError: there is no prompt or length of that name.
        """
        texts = read_prompt(name)
        in_language = "" if language == AUTO else f" Answer in {language_name(language)}."
        system = texts["system"].format(length=read_length(length)["asked_for"], language=in_language)
        return cls(system, texts["question"], texts["source"])


def build_messages(
    question: str, sources: Sequence[tuple[int, str, str]], history: Sequence[Turn] = (), prompt: Prompt | None = None
) -> list[BaseMessage]:
    """The messages for one answer; what changes least comes first, so that a server can reuse the prefix.

    Args:
        sources: `(number, context, text)` of each source, in reading order; one without context names none.
        history: the earlier messages to give, the oldest first; none is left out here.
    """
    prompt = prompt or Prompt.named("short")
    fenced = "\n\n".join(prompt.source.format(n=n, context=_unfenced(context), text=_unfenced(text)) for n, context, text in sources)
    return [SystemMessage(prompt.system), *as_messages(history), HumanMessage(prompt.question.format(sources=fenced, question=question))]


def as_messages(turns: Sequence[Turn]) -> list[BaseMessage]:
    return [_MESSAGES[turn.role](turn.content) for turn in turns]


def as_turns(messages: Sequence[BaseMessage]) -> tuple[Turn, ...]:
    return tuple(Turn(ROLES[message.type], message.text) for message in messages)


def _unfenced(text: str) -> str:
    """Text that cannot close its own fence."""
    return re.sub(r"<(?=\s*/?\s*excerpt)", "‹", text, flags=re.IGNORECASE).replace('"', "'")
