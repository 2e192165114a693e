"""Source code and configuration files: the text as it is written, cited by line, a Section for each top-level definition.

Definitions are told by how an unindented line begins, not by parsing: files of old dialects, with errors or with gaps to fill in are
course materials too. Code that is laid out otherwise is read all the same, only in fewer sections. Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from ingest.readers._common import decode
from rag.errors import UnreadableDocument
from rag.types import Document, Location, LocationKind, Section

LINE_CHARACTERS = 300  # a definition's first line is shorter; longer lines are minified code, which has no lines to speak of


class Language(NamedTuple):
    """How a definition begins, its name in the group `name`; whether it `ends` at the next unindented line that begins something else."""

    definition: str
    ends: bool = True


class Run(NamedTuple):
    """The lines from `start` up to `end`, counted from 0, that belong to the definition `name`; to none when it is empty."""

    start: int
    end: int
    name: str


_TYPE = r"(?:class|interface|enum|record|struct|trait|object|protocol|extension|actor|@interface)"
_OBJECTS = rf"(?:[a-z]+ )*{_TYPE} (?:class )?(?P<name>\w+)|(?:[a-z]+ )*(?:fun|func|def) (?:<[^>]*> )?(?P<function>[\w.]+)"
_C = (
    r"(?!(?:else|return|case|goto|typedef|using|extern \"C\")\b)(?:"
    r"(?:struct|class|enum(?: class)?|union) (?P<name>\w+)[^;()={]*(?:\{.*)?$"
    r"|(?:[\w:<>,]+[ *&]+)+(?P<function>(?:[\w:<>,]+::)?(?:~?\w+|operator\W+)) ?\([^;{]*(?:\{.*)?$"
    r"|(?P<member>[\w:<>,]+::~?\w+) ?\([^;{]*(?:\{.*)?$)"
)
_SCRIPT = (
    r"(?:export |default |declare |async |abstract )*"
    r"(?:(?:function\*?|class|interface|enum|type|namespace) (?P<name>[\w$]+)"
    r"|(?:const|let|var) (?P<function>[\w$]+)(?:: [^=]*)? ?= ?(?:async ?)?(?:function\b|\([^()]*\)[^=]*=>|[\w$]+ ?=>))"
)
_RUST = r"(?:pub(?:\([^)]*\))? |async |unsafe |const |extern \"C\" )*(?:(?:fn|struct|enum|trait|union|mod|macro_rules!|type) (?P<name>\w+)|"
_LANGUAGES: dict[str, Language] = {
    "py": Language(r"(?:async )?(?:def|class) +(?P<name>\w+)"),
    **dict.fromkeys(("java", "cs", "scala", "kt", "swift"), Language(_OBJECTS)),
    **dict.fromkeys(("c", "h", "cpp", "cc", "hpp"), Language(_C)),
    **dict.fromkeys(("js", "jsx", "ts", "tsx"), Language(_SCRIPT)),
    "go": Language(r"func (?:\([^)]*\) ?)?(?P<name>\w+)|type (?P<function>\w+) "),
    "rs": Language(_RUST + r"(?P<function>(?:unsafe )?impl\b[^{]*[^{ ]))"),
    "rb": Language(r"(?:def|class|module) +(?P<name>[\w.:?!]+)"),
    "php": Language(r"(?:abstract |final )*(?:function|class|interface|trait|enum) &?(?P<name>\w+)"),
    "r": Language(r"(?P<name>[\w.]+) ?(?:<-|=) ?function\b"),
    "jl": Language(r"(?:mutable )?(?:function|struct|macro|module|abstract type) (?P<name>[\w.!]+)"),
    "m": Language(r"(?:function (?:[^=(]*= ?)?|classdef )(?P<name>[\w.]+)", ends=False),
    "hs": Language(r"(?P<name>[\w']+) *::|(?:data|newtype|class|instance|type) (?P<function>[^=]*?)(?: where| ?=|$)", ends=False),
    "ml": Language(r"(?:let (?:rec )?|and |type |module |exception )(?P<name>[\w']+)", ends=False),
    **dict.fromkeys(("lisp", "scm"), Language(r"\((?:cl:)?def[\w-]* \(*(?P<name>[^\s()]+)")),
    "pl": Language(r"sub (?P<name>\w+)"),
    "sh": Language(r"(?:function )?(?P<name>[\w-]+) ?\(\)|function (?P<function>[\w-]+)"),
    "sql": Language(
        r"(?i:create (?:or replace )?(?:temp(?:orary)? )?(?:unique )?(?:table|view|materialized view|function|procedure|trigger|index) "
        r"(?:if not exists )?)[\"`\[]?(?P<name>[\w.]+)",
        ends=False,
    ),
    "css": Language(r"(?!)"),
}
_CONFIGURATIONS: dict[str, Language] = {
    **dict.fromkeys(("toml", "ini", "cfg"), Language(r"\[+(?P<name>[^\[\]]+)\]", ends=False)),
    **dict.fromkeys(("yaml", "yml", "json", "xml"), Language(r"(?!)")),
}
_DEFINITIONS = {f".{ending}": language for ending, language in {**_LANGUAGES, **_CONFIGURATIONS}.items()}

SOURCE_SUFFIXES = tuple(f".{ending}" for ending in _LANGUAGES)
SUFFIXES = tuple(_DEFINITIONS)

_ABOVE = re.compile(r"@|//|/\*| ?\*|--|%|;|#(?![a-z!])|\[|template\b")
"""A decorator or a comment: on the line above a definition it belongs to it. `#include` does not."""
_GOES_ON = re.compile(
    r"\s|[)\]}{#/*;%]|--|(?!try:)\w+:$|(?:end|else|elif|elsif|except|rescue|ensure|then|catch|finally|done|fi|esac|where)\b"
)
"""An unindented line that does not end the definition above it: a closing bracket, a comment, a label, a clause."""
_PYTHON_QUOTE = re.compile(
    r"#[^\n]*|(?P<long>(?P<quote>\"{3}|'{3})(?:\\.|[^\\])*?(?P=quote))|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
)


def read(data: bytes, source: str) -> Document:
    """One Section a top-level definition and one for what stands between two; the whole file where the language is laid out otherwise."""
    text = decode(data, source)
    lines = text.split("\n")
    if not any(line.strip() for line in lines):
        raise UnreadableDocument(f"{source} holds no text")
    path = PurePosixPath(source)
    quoted = _quoted_lines(text) if path.suffix.lower() == ".py" else frozenset()
    runs = _runs(lines, _DEFINITIONS[path.suffix.lower()], quoted)
    sections = tuple(section for run in runs if (section := _section(lines, run)))
    return Document(path.name, sections)


def _quoted_lines(text: str) -> frozenset[int]:
    """The lines of Python code that begin inside a triple-quoted string, where `def` at the left edge is an example in words."""
    inside: set[int] = set()
    for match in _PYTHON_QUOTE.finditer(text):
        if match["long"]:
            first = text.count("\n", 0, match.start())
            inside.update(range(first + 1, first + 1 + match["long"].count("\n")))
    return frozenset(inside)


def _runs(lines: list[str], language: Language, quoted: frozenset[int]) -> Iterator[Run]:
    """The file cut before each definition, its comments above included, and where `ends` says so after it."""
    definition = re.compile(language.definition)
    start, name = 0, ""
    for number, line in enumerate(lines):
        if number in quoted or not line.strip():
            continue
        found = definition.match(line) if len(line) <= LINE_CHARACTERS else None
        if found:
            top = _top(lines, number, start)
            yield Run(start, top, name)
            start, name = top, _name(found)
        elif name and language.ends and not _GOES_ON.match(line):
            top = _top(lines, number, start)
            yield Run(start, top, name)
            start, name = top, ""
    yield Run(start, len(lines), name)


def _name(found: re.Match[str]) -> str:
    """The definition's name, from whichever group of the pattern has it."""
    return next((" ".join(group.split()) for group in found.groupdict().values() if group), "")


def _top(lines: list[str], number: int, start: int) -> int:
    """The first of the comments and decorators that stand right above the line `number`, not before `start`."""
    while number > start and _ABOVE.match(lines[number - 1]):
        number -= 1
    return number


def _section(lines: list[str], run: Run) -> Section | None:
    """The run's lines without blank ones at either side; None when nothing is left."""
    full = [number for number in range(run.start, run.end) if lines[number].strip()]
    if not full:
        return None
    first, last = full[0], full[-1]
    location = Location(LocationKind.LINE, first + 1, last + 1, (run.name,) if run.name else ())
    return Section("\n".join(lines[first : last + 1]), location)
