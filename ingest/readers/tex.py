"""LaTeX sources, read without running TeX: text in paragraphs, formulas left as they are written, sections as headings.

One pass over the source with a table of commands. A macro of the author's own is not expanded: its arguments stay as text. \\input and
\\include are not followed; the files they name are documents of their own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.readers._common import Part, decode, one_line, sections_of, stem
from rag.errors import UnreadableDocument
from rag.types import Document

LEVELS = {"part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "frametitle": 6}

# Commands that leave nothing behind, with how many of their arguments go with them.
_DROPPED = {
    "label": 1, "vspace": 1, "hspace": 1, "includegraphics": 1, "input": 1, "include": 1, "bibliography": 1, "bibliographystyle": 1,
    "usepackage": 1, "documentclass": 1, "pagestyle": 1, "thispagestyle": 1, "setlength": 2, "setcounter": 2, "addtocounter": 2,
    "newcommand": 2, "renewcommand": 2, "providecommand": 2, "newenvironment": 3, "newtheorem": 2, "cline": 1, "cmidrule": 1,
    "color": 1, "index": 1, "pagenumbering": 1, "graphicspath": 1, "hypersetup": 1, "title": 1, "author": 1, "date": 1, "institute": 1,
    "selectlanguage": 1, "fontsize": 2, "phantom": 1, "hphantom": 1, "vphantom": 1, "usetheme": 1, "definecolor": 3, "captionsetup": 1,
    "nocite": 1, "hyphenation": 1, "textcolor": 1, "colorbox": 1, "multirow": 2, "multicolumn": 2, "parbox": 1, "rule": 2,
    "scalebox": 1, "resizebox": 2, "includepdf": 1,
}  # fmt: skip
_SYMBOLS = {
    "ldots": "…", "dots": "…", "textellipsis": "…", "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "ss": "ß",
    "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "aa": "å", "AA": "Å", "i": "ı", "j": "ȷ", "S": "§",
    "P": "¶", "copyright": "©", "pounds": "£", "euro": "€", "textbar": "|", "textless": "<", "textgreater": ">", "textbullet": "•",
    "LaTeX": "LaTeX", "TeX": "TeX", "quad": " ", "qquad": " ", "textdegree": "°", "newline": "\n", "linebreak": "\n", "par": "\n\n",
    "slash": "/", "textendash": "–", "textemdash": "—", "checkmark": "✓", "maketitle": "", "centering": "", "noindent": "",
}  # fmt: skip
_ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307", '"': "\u0308",
    "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323", "c": "\u0327", "k": "\u0328", "b": "\u0331",
}  # fmt: skip
_MATHS = frozenset(
    name + star
    for name in (
        "equation",
        "align",
        "alignat",
        "gather",
        "multline",
        "eqnarray",
        "flalign",
        "math",
        "displaymath",
        "dmath",
        "IEEEeqnarray",
    )
    for star in ("", "*")
)
_TABLES = frozenset({"tabular", "tabular*", "tabularx", "tabulary", "longtable", "array", "supertabular", "tabu"})
_HIDDEN = frozenset({"comment", "tikzpicture", "filecontents", "filecontents*", "pgfpicture"})
_NAMED = frozenset({
    "theorem", "lemma", "definition", "corollary", "proposition", "proof", "example", "exercise", "remark", "problem", "question",
    "solution", "claim", "fact", "note", "algorithm",
})  # fmt: skip
# Environments whose first arguments are layout, not text.
_ARGUMENTS = {
    "tabular": 1,
    "tabular*": 2,
    "tabularx": 2,
    "tabulary": 2,
    "longtable": 1,
    "array": 1,
    "minipage": 1,
    "multicols": 1,
    "column": 1,
}
_ARGUMENTS["thebibliography"] = 1

_RULES = frozenset({"hline", "toprule", "midrule", "bottomrule", "endhead", "endfirsthead"})
_BLANKS = re.compile(r"\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
DEEPEST = 200  # braces; each level is read over again

_KEPT, _KEPT_END, _HEADING, _HEADING_END, _BREAK = "\ue000", "\ue001", "\ue002", "\ue003", "\ue004"
_MARKS = re.compile("[\ue000-\ue004]")
_KEPT_MARK = re.compile(f"{_KEPT}(\\d+){_KEPT_END}")
_HEADING_MARK = re.compile(f"{_HEADING}(\\d+):([^{_HEADING_END}]*){_HEADING_END}")

_SPECIAL = re.compile(r"\\[a-zA-Z@]+\*?|\\.|[{}$&~]|---?|``|''", re.DOTALL)
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*(?:\n[ \t]*(?=\S))?")
_VERBATIM = re.compile(
    r"\\begin\{(?P<block>verbatim\*?|[BL]?Verbatim\*?|lstlisting|minted|alltt)\}(?:\[[^\]\n]{0,500}\])?(?:\{\w+\})?[ \t]*\n?"
    r"|\\(?:verb|lstinline)\*?(?P<mark>[^\w\s{*])(?P<inline>[^\n]{0,1000}?)(?P=mark)"
    r"|\\(?:url|nolinkurl|path)\{(?P<address>[^{}\n]{0,2000})\}|(?<=\\href\{)(?P<link>[^{}\n]{0,2000})",
)
_MATHS_END = {"\\[": "\\]", "\\(": "\\)", "$$": "$$", "$": "$"}
_OPTIONS = re.compile(r"\s*\[[^\[\]]*\]|<[\d,+\-|. a-z:]{1,20}>")
_ESCAPED = {",": " ", ";": " ", ":": " ", " ": " ", "\n": " ", "\t": " ", "!": "", "-": "", "/": "", "@": "", ">": ""}


def read(data: bytes, source: str) -> Document:
    """One Section a heading; the whole file when it has none."""
    text, kept = _protect(_MARKS.sub("", decode(data, source)))
    text = _COMMENT.sub(r"\1", text)
    if _depth(text) > DEEPEST:
        raise UnreadableDocument(f"{source} opens more than {DEEPEST} braces inside each other: check that every brace is closed")
    body = re.search(r"\\begin\{document\}(.*?)(?:\\end\{document\}|\Z)", text, re.DOTALL)
    try:
        rendered = _Scanner(body[1] if body else text, kept).render()
        title = _command_text(text, "title", kept)
        date = _command_text(text, "date", kept)
    except RecursionError as error:
        raise UnreadableDocument(f"{source} nests its commands too deeply to be read") from error
    sections = sections_of(_parts(rendered, kept))
    if not sections:
        raise UnreadableDocument(f"{source} holds no text (only definitions?)")
    headings = sections[0].location.heading
    facts = {key: value for key, value in (("title", title), ("date", date)) if value}
    return Document(title or (headings[0] if headings else stem(source)), sections, facts)


def _protect(text: str) -> tuple[str, list[str]]:
    """The source with its verbatim text put aside, where neither comments nor commands are looked for."""
    kept: list[str] = []
    pieces: list[str] = []
    unclosed: set[str] = set()  # looked for once: a file of nothing but beginnings would be searched to its end for each
    position = 0
    while match := _VERBATIM.search(text, position):
        start, position, name = position, match.end(), match["block"]
        pieces.append(text[start : match.start()])
        end = -1 if name in unclosed else text.find(f"\\end{{{name}}}", position) if name else position
        if end < 0:
            unclosed.add(name)
            pieces.append(match[0])
            continue
        kept.append(text[position:end].rstrip() if name else match["inline"] or match["address"] or match["link"] or "")
        mark = f"{_KEPT}{len(kept) - 1}{_KEPT_END}"
        pieces.append(f"\n\n{mark}\n\n" if name else mark)
        position = end + len(f"\\end{{{name}}}") if name else position
        if match.end() == match.start():  # an empty link: go on behind it
            pieces.append(text[position : position + 1])
            position += 1
    return "".join([*pieces, text[position:]]), kept


def _depth(text: str) -> int:
    """How many braces are open at the deepest place."""
    depth = deepest = 0
    for brace in _BRACE.finditer(text):
        depth = max(0, depth + {"{": 1, "}": -1}.get(brace[0], 0))
        deepest = max(deepest, depth)
    return deepest


def _command_text(text: str, name: str, kept: list[str]) -> str:
    """The plain words of the argument of the first `\\name{…}`; nothing when there is none."""
    match = re.search(rf"\\{name}(?:\[[^\]]{{0,500}}\])?\s*(?=\{{)", text)
    if not match:
        return ""
    scanner = _Scanner(text, kept, match.end())
    return one_line(_restore(_Scanner(scanner.argument(), kept).render(), kept))


def _parts(rendered: str, kept: list[str]) -> list[Part]:
    pieces = _HEADING_MARK.split(rendered)
    parts = [Part(0, "", "", _lay_out(pieces[0], kept))]
    for level, heading, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        words = one_line(_restore(heading, kept))
        parts.append(Part(int(level), words, words, _lay_out(text, kept)))
    return parts


def _lay_out(text: str, kept: list[str]) -> str:
    """Paragraphs a line each, breaks where the source asks for them, formulas and verbatim text as they were."""
    paragraphs: list[str] = []
    for paragraph in re.split(r"\n[ \t]*\n\s*", text):
        lines = (_restore(" ".join(line.split()), kept) for line in paragraph.split(_BREAK))
        paragraphs.append("\n".join(line.strip(" ") if "\n" not in line else line for line in lines if line.strip(" |")))
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(filter(None, paragraphs))).strip("\n")


def _restore(text: str, kept: list[str]) -> str:
    return _KEPT_MARK.sub(lambda match: kept[int(match[1])], text)


@dataclass
class _Scanner:
    """One pass over a piece of source. `kept` holds the formulas and verbatim texts that marks in the output stand for."""

    source: str
    kept: list[str]
    position: int = 0
    tables: int = 0
    output: list[str] = field(default_factory=list)
    unclosed: set[str] = field(default_factory=set)

    def render(self) -> str:
        while match := _SPECIAL.search(self.source, self.position):
            self.output.append(self.source[self.position : match.start()])
            self.position = match.end()
            token = match[0]
            if token in ("$", "\\[", "\\("):
                self._maths(token)
            elif len(token) > 1 and token[0] == "\\" and (token[1].isalpha() or token[1] == "@"):
                self._command(token[1:].rstrip("*"))
            elif token[0] == "\\":
                self._escape(token[1])
            else:
                plain = {"~": " ", "---": "—", "--": "–", "``": "“", "''": "”", "&": " | " if self.tables else "&"}
                self.output.append(plain.get(token, ""))
        self.output.append(self.source[self.position :])
        return "".join(self.output)

    def argument(self) -> str:
        """The source of the next argument: what stands between braces, or a single command."""
        match = re.compile(r"\s*(\\[a-zA-Z@]+|\\.|\{)").match(self.source, self.position)
        if not match:
            return ""
        self.position = match.end()
        if match[1] != "{":
            return match[1]
        depth = 1
        for brace in _BRACE.finditer(self.source, self.position):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if depth == 0:
                inside = self.source[self.position : brace.start()]
                self.position = brace.end()
                return inside
        return ""

    def options(self) -> str:
        """The text of the optional arguments that follow; a slide's overlay marks are skipped."""
        texts: list[str] = []
        while match := _OPTIONS.match(self.source, self.position):
            self.position = match.end()
            if match[0].endswith("]"):
                texts.append(match[0].strip()[1:-1])
        return ", ".join(texts)

    def _inner(self) -> str:
        return _Scanner(self.argument(), self.kept, tables=self.tables).render()

    def _keep(self, text: str) -> None:
        self.kept.append(text)
        self.output.append(f"{_KEPT}{len(self.kept) - 1}{_KEPT_END}")

    def _maths(self, opening: str) -> None:
        """Keep a formula as it is written; a dollar without its partner is a dollar."""
        if opening == "$" and self.source.startswith("$", self.position):
            opening, self.position = "$$", self.position + 1
        closing = _MATHS_END[opening]
        end = None if closing in self.unclosed else re.compile(r"(?<!\\)" + re.escape(closing)).search(self.source, self.position)
        if end is None:
            self.unclosed.add(closing)
            self.output.append(opening.lstrip("\\"))
            return
        self._keep(opening + " ".join(self.source[self.position : end.start()].split()) + closing)
        self.position = end.end()

    def _escape(self, character: str) -> None:
        if character == "\\":
            self.options()
            self.output.append(_BREAK)
        elif character in _ACCENTS and not character.isalpha():
            self._accent(character)
        else:
            self.output.append(_ESCAPED.get(character, character))

    def _accent(self, name: str) -> None:
        match = re.compile(r"\s*(?:\{\s*\\?(\w)\s*\}|\\?(\w))").match(self.source, self.position)
        if match:
            self.position = match.end()
            self.output.append(unicodedata.normalize("NFC", (match[1] or match[2]) + _ACCENTS[name]))

    def _command(self, name: str) -> None:
        """What one command leaves in the text."""
        handlers: dict[str, Callable[[], None]] = {"begin": self._begin, "end": self._end, "item": self._item, "def": self._define}
        if name in handlers:
            handlers[name]()
        elif name in LEVELS:
            self.options()
            self.output.append(f"\n\n{_HEADING}{LEVELS[name]}:{self._inner()}{_HEADING_END}")
        elif name in _DROPPED:
            for _ in range(_DROPPED[name]):
                self.options()
                self.argument()
        elif name in _RULES:  # the rest of its line is empty, which must not end a paragraph between two rows
            self.position = _BLANKS.match(self.source, self.position).end()  # type: ignore[union-attr]
        elif name in _SYMBOLS:
            self.output.append(_SYMBOLS[name])
        elif name in _ACCENTS:
            self._accent(name)
        elif name in ("href", "footnote", "caption", "bibitem") or "cite" in name or name.endswith("ref"):
            self._reference(name)
        else:  # an unknown command goes, what stands in its braces stays
            self.options()

    def _reference(self, name: str) -> None:
        note = self.options().replace("~", " ")
        if name == "href":
            address = self.argument()
            self.output.append(f"{self._inner()} ({address})")
        elif name == "footnote":
            self.output.append(f" ({self._inner().strip()})")
        elif name == "caption":
            self.output.append(f"{_BREAK}{self._inner().strip()}{_BREAK}")
        else:  # \\cite, \\ref, \\bibitem and their kin
            self.output.append(f"{_BREAK if name == 'bibitem' else ''}[{', '.join(filter(None, (self.argument(), note)))}]")

    def _item(self) -> None:
        label = self.options()
        self.output.append(f"{_BREAK}- {label + ' ' if label else ''}")

    def _define(self) -> None:
        """Skip `\\def\\name#1#2{…}`."""
        match = re.compile(r"\s*\\[a-zA-Z@]+[^{\n]*").match(self.source, self.position)
        if match:
            self.position = match.end()
            self.argument()

    def _begin(self) -> None:
        name = self.argument()
        bare = name.rstrip("*")
        if name in _MATHS or name in _HIDDEN:
            end = self.source.find(f"\\end{{{name}}}", self.position)
            end = len(self.source) if end < 0 else end
            inside = re.sub(r"\\label\{[^}]*\}", "", self.source[self.position : end]).strip()
            self.position = min(len(self.source), end + len(f"\\end{{{name}}}"))
            if name in _MATHS:
                self.output.append(_BREAK)
                self._keep(f"\\begin{{{name}}}\n{inside}\n\\end{{{name}}}")
                self.output.append(_BREAK)
            return
        note = self.options()
        for _ in range(_ARGUMENTS.get(name, 0)):
            self.argument()
            self.options()
        self.tables += bare in _TABLES
        self.output.append("\n\n" if bare in _NAMED or bare in ("frame", "quote", "abstract", "center", "figure", "table") else _BREAK)
        if bare in _NAMED:
            self.output.append(f"{bare.capitalize()}{f' ({note})' if note else ''}: ")
        elif bare == "frame" and re.match(r"\s*\{", self.source[self.position : self.position + 50]):
            self.output.append(f"\n\n{_HEADING}{LEVELS['frametitle']}:{self._inner()}{_HEADING_END}")

    def _end(self) -> None:
        bare = self.argument().rstrip("*")
        self.tables -= self.tables > 0 and bare in _TABLES
        self.output.append(
            "\n\n" if bare in _NAMED or bare in ("itemize", "enumerate", "description", "figure", "table", "frame") else _BREAK
        )
