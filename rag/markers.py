"""Citation markers, source tags and links of a model's own making: removed, whole or half-streamed. Citations are given by code alone.

What a course may well say stays: `x[0]`, `f(2)`, `(Vaswani, 2017)`, `equation (3)`, `(1) first, (2) second`, the token `<s>`.
"""

from __future__ import annotations

import re

_NUMBERS = r"\#?\d{1,2}(?:\s*[,;–-]\s*\#?\d{1,2})*"
_SOURCE_WORD = r"(?:sources?|excerpts?|citations?|passages?|documents?|ref(?:erence)?s?)"
_TAGS = (
    "a|abbr|audio|b|blockquote|br|button|center|citation|cite|code|div|details|em|embed|figure|font|footnote|form|h[1-6]|hr|i|iframe|img|"
    "input|li|link|meta|object|ol|p|pre|ref|script|small|source|span|strong|style|sub|summary|sup|svg|table|td|th|tr|u|ul|video"
)
_ADDRESS = r"\s*<?(?:[a-z][a-z+.-]*:|//|www\.)"
_SENTENCE = r"(?:^|(?<=[.!?:\n]))\s*"
"""Where a sentence begins."""
_LEAD_IN = r"(?:(?:according\ to|as\ (?:stated|mentioned|noted|shown|described)\ in|per|from|see)\s+(?:the\s+)?)"
_COUNTED = "and or to eq step part rule line page item case equation section chapter figure table option question".split()
_UNCOUNTED = "".join(rf"(?<!\b{word})" for word in _COUNTED)
"""Not after a word whose number in brackets is none of a source: `equation (3)`, `(1) first and (2) second`."""

_MARKER = re.compile(
    rf"""!?(?:(?<!\w)(?<!\w!)|(?=\[[^\[\]\n]*\]\({_ADDRESS}))\[(?P<shown>[^\[\]\n]*)\]
      \((?:[^()\n]|\([^()\n]*\))*\)                                       # [text](address), ![text](picture): the text stays
    | (?:^|(?<=\n))[ \t]*\[\^?\d{{1,2}}\]:[^\n]*                          # [1]: where a footnote stands
    | \s*(?:(?<!\b\w)\[|【)\s*\^?\s*(?:{_SOURCE_WORD}\s*)?{_NUMBERS}\s*(?:[†‡][^\]】]*)?[\]】]  # [1], [^1], [2, 3], 【1†a】; not x[0]
    | \s*[(（]\s*{_SOURCE_WORD}\s*{_NUMBERS}\s*[)）]                       # (source 1), but not (2017)
    | (?<=[\w%)"”’.!?]){_UNCOUNTED}[ ]+\(\d{{1,2}}\)(?![\w(])  # Friday (1), but not equation (3)
    | (?<=[.!?,;:"”’)])[¹²³⁴⁵⁶⁷⁸⁹⁰]+                                      # Friday.¹
    | {_SENTENCE}{_LEAD_IN}?{_SOURCE_WORD}\s*\#?\d{{1,2}}\s*(?:[:,–—]|-(?=\s))\s*  # Source 2: …, According to excerpt 1, …
    | \s*</?\s*excerpt[^>]*>?
    | (?:(?<=[a-z][a-z])|(?<=[.!?,;:"”)]))<sup>[\s\d,\[\]]*(?:</sup>|<[^>]*$|$)    # Friday<sup>1</sup>, but 10<sup>2</sup> keeps its figure
    | </?(?:{_TAGS})(?:\s+[\w-]+\s*=[^>]*|\s*/?)(?:>|$)
    | <(?:https?:|mailto:)[^>\s]*>?
    | <!--.*?(?:-->|$)""",
    re.IGNORECASE | re.VERBOSE,
)


def _beginnings(*texts: str) -> str:
    """A pattern of every beginning of the texts."""
    return "|".join(sorted({re.escape(text[:end]) for text in texts for end in range(1, len(text) + 1)}, key=len, reverse=True))


_OPEN_MARKER = re.compile(
    rf"""\s*!?\[[^\[\]\n]*(?:\](?:\([^)\n]*)?)?$            # [text](http://…
    | \s*[【（][^】）]*$
    | \s*\([^()]{{0,24}}\)?$
    | \s*<[/!]?\s?(?:[a-z-][^>]*)?$                        # <img src=…
    | {_SENTENCE}{_LEAD_IN}?{_SOURCE_WORD}\s*\#?\d{{0,2}}\s*-?$
    | {_SENTENCE}{_LEAD_IN}?(?:{_beginnings("sources", "excerpts", "citations", "passages", "documents", "references")})$
    | {_SENTENCE}(?:{_beginnings("according to the", "as stated in the", "as noted in", "as shown in", "from the", "see the")})\s*$
    | !$ | \s+$""",
    re.IGNORECASE | re.VERBOSE,
)


def without_markers(text: str) -> str:
    """The text without citation markers, source tags, HTML tags and the targets of links."""
    while (clean := _MARKER.sub(_shown, text)) != text:  # what is left may make up a new one: [[1]2]
        text = clean
    return text


def _shown(marker: re.Match[str]) -> str:
    """What stays of a marker: the text of a link, unless it is a number."""
    text = marker["shown"] or ""
    return "" if text.strip().isdigit() else text


def stable_prefix(text: str) -> str:
    """As much of a streamed text as may be shown: without markers, and without a tail that could still become one."""
    shown = without_markers(text)
    while (shorter := without_markers(_OPEN_MARKER.sub("", shown))) != shown:
        shown = shorter
    return shown
