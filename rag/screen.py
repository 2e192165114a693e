"""What stands in the materials but is not for the reader: statements that speak to an assistant. And links that no passage holds.

Rules over words, so what they do not name passes: an instruction without such words is held back by grounding alone, or not at all
(measured in docs/answers.md). Nothing is deleted: the statement stays in its document and in search, it is only no evidence.
"""

from __future__ import annotations

import re

FOR_STUDENTS = frozenset({"assignment", "lab", "solution", "syllabus", "exam", "quiz"})
"""Materials whose "your answer" is the student's."""

_ORDERS = "instructions?|prompts?|commands?|directions|guidelines|directives"
_OVERRIDES = re.compile(
    rf"""\b(?:ignore|disregard|forget|override|bypass)\b(?:\s+(?:all|any|everything|of|the|your|my|our|these|those|other))*
        \s+(?:(?:previous|prior|above|earlier|preceding|existing|original|system|safety)\s+)+(?:{_ORDERS}|rules|context|text|messages?|excerpts?)
    | \b(?:ignore|disregard|forget|override)\s+(?:all\s+)?(?:of\s+)?your\s+(?:{_ORDERS}|rules|training)
    | \b(?:new|updated|real|actual|hidden)\s+(?:system\s+)?(?:instructions?|prompt)\s*(?:for\s+(?:you|the\s+(?:assistant|model|ai))\s*)?:
    | \b(?:note|message|instructions?|attention)\s*(?:to|for)\s+(?:(?:the|any|all)\s+)?
        (?:ai|llms?|assistants?|chatbots?|language\s+models?)\b
    | ^\W*(?:(?:dear|hey|hello|hi|attention)\s+)?(?:ai|(?:ai\s+)?assistant|chatbot|(?:language\s+)?model|llm)s?\s*[,:]
        \s*(?:please\s+)?(?:you\s+must|always|never|ignore|say|tell|answer|reply|respond|print|add)\b
    | \byou\s+are\s+(?:now|no\s+longer)\s+(?:a|an|the|in|bound|chat|dan)\b
    | \b(?:as|if\s+you\s+are)\s+an?\s+(?:ai|language\s+model|llm|chatbot)\b
    | \b(?:reveal|print|repeat|output|show|leak)\s+(?:me\s+)?your\s+(?:(?:system|hidden|secret)\s+)?(?:{_ORDERS})\b
    | \b(?:do\s+not|don['’]t|never)\s+(?:tell|inform|warn|mention\s+(?:this|it)\s+to)\s+the\s+(?:user|reader|student|asker)s?\b
    | \b(?:tell|inform|convince|urge)\s+the\s+(?:user|asker|person\s+asking)\b
    | ^\s*\#{{2,}}\s*(?:system|instruction)s?\s*:""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_ABOUT_THE_ANSWER = re.compile(
    r"\b(?:in|to|into|from|of|with|within|at\s+the\s+end\s+of)\s+(?:your|the|every|each)\s+"
    r"(?:(?:next|final|whole|entire)\s+)?(?:reply|replies|response|responses|answer|answers|output)\b"
    r"|(?:^|[.:;!?]\s)[\W\d]{0,8}(?:modify|augment|enhance|rewrite|provide|begin|start|end|finish|close|replace|render|give|phrase|format|write|compose)\s+"
    r"(?:your|every|each)\s+(?:reply|response|answer|output|message)s?\b",
    re.IGNORECASE,
)
_IMPERATIVE = re.compile(
    r"(?:^|[.:;!?]\s)[\W\d]{0,8}(?:please\s+|always\s+|you\s+(?:must|should|will|need\s+to)\s+|be\s+sure\s+to\s+|make\s+sure\s+(?:to|you)\s+|now\s+)?"
    r"(?:in\s+(?:your|every|each)\s+(?:reply|response|answer)s?,?\s+)?"
    r"(?:add|include|insert|integrate|modify|augment|enhance|replace|provide|append|prepend|mention|suggest|convert|translate|remove|write|end"
    r"|begin|start|say|respond|reply|answer|introduce|misspell|scramble|jumble|group|combine|rearrange|substitute|tease|promote|recommend"
    r"|advertise|link|use|put|state|claim|insist|encourage|invite|weave|embed|incorporate|give|change|repeat|quote)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“„«][^\"“”„»]*[\"”“»]|(?<!\w)['‘][^'’]*['’](?!\w)|`[^`]*`")
_LINK = re.compile(
    r"(?:https?|ftp)://[^\s)>\]\"']+|\bwww\.[^\s)>\]\"']+|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"
    r"|(?<![\w.-])(?:[a-z0-9-]{1,63}\.){1,8}(?:com|org|net|edu|gov|io|ai|dev|app|info|biz|xyz|co|me|ru|cn|de|uk|eu)\b(?:/[^\s)>\]\"']*)?",
    re.IGNORECASE,
)


_BEGUN = re.compile(r"[./@:]\S")
"""In a last word: it may become an address."""


def speaks_to_assistant(statement: str, material: str | None = None) -> bool:
    """Whether a statement tells whoever answers what to answer, instead of telling a reader something.

    What stands between quotation marks is talked about, not said. Course work speaks to students of their answers: there, only what
    overrides instructions counts, or names an address.

    Args:
        material: the kind of material it stands in.
    """
    said = _QUOTED.sub(" … ", statement)
    if _OVERRIDES.search(said):
        return True
    is_for_students = material in FOR_STUDENTS and not links(statement)
    return not is_for_students and bool(_IMPERATIVE.search(said) and _ABOUT_THE_ANSWER.search(said))


def links(text: str) -> list[str]:
    """The addresses of sites and mailboxes in a text, without what ends a sentence."""
    return [link.lower().rstrip(".,;:!?") for link in _LINK.findall(text)]


def holds_links(sentence: str, quote: str) -> bool:
    """Whether every address in a sentence stands in the words it rests on."""
    there = quote.lower()
    return all(link in there for link in links(sentence))


def without_foreign_links(draft: str, known: str) -> str:
    """A streamed text without the addresses that `known`, in lower case, does not hold, and without a last word that may become one."""
    last_word = "" if draft[-1:].isspace() else "".join(draft.split()[-1:])
    if _BEGUN.search(last_word):
        draft = draft.removesuffix(last_word)
    return _LINK.sub(lambda found: found[0] if found[0].lower().rstrip(".,;:!?") in known else "…", draft)
