"""How much of a document its reader keeps, measured on real files kept beside the checkout: `python benchmarks/fidelity.py`.

Four figures. (1) Words of Docling's expected Markdown found in our text, for DOCX, PPTX, HTML and LaTeX. (2) Text files decoded as their
folder's true encoding decodes them. (3) Quotes from 39 syllabi found in the PDF, the DOCX and the TXT of the same syllabus. (4) Slides of a
course that say the same as the page of the PDF printed from them. Knows the readers and the files, nothing of the store or the models.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from html import unescape
from itertools import groupby
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ingest.readers import read_document  # noqa: E402  (run as a file, the checkout is not on the path)
from ingest.readers._common import clean, decode  # noqa: E402
from rag.errors import UnreadableDocument  # noqa: E402
from rag.types import LocationKind  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
FORMATS = {"docx": ".docx", "pptx": ".pptx", "html": ".html", "latex": ".tex"}
GRAM_WORDS = 5
GRAM_SHARE = 0.5  # of a quote's word 5-grams, as rag/evaluate.py counts a passage as right
SLIDE_SHARE = 0.9

_WORD = re.compile(r"\w+")
# What these names mean in practice: browsers read them as the wider code page of the same family.
_WIDER = {
    "gb2312": "gb18030", "euc-kr": "cp949", "shift_jis": "cp932", "big5": "big5hkscs", "tis-620": "cp874", "iso-8859-1": "cp1252",
    "iso-8859-9": "cp1254", "macroman": "mac_roman", "maccyrillic": "mac_cyrillic", "ibm855": "cp855", "ibm866": "cp866",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recall:
    """Of one file: the share of expected words found (0 to 1), and some that were not."""

    name: str
    recall: float
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Encodings:
    """Files decoded as expected, of those whose encoding Python has a codec for; the others by `folder/name`."""

    right: int
    files: int
    wrong: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.right / self.files


@dataclass(frozen=True, slots=True)
class Parity:
    """Over the quotes of all syllabi: found letter by letter per format; in all three of those in any; found by 5-grams per format."""

    quotes: int
    found: dict[str, float]
    in_any: float
    in_all: float
    in_all_of_any: float
    by_grams: dict[str, float]
    by_grams_in_all: float
    missing: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Slides:
    """Slides with words, compared with the PDF page of the same number: mean share of the page's words found, share that agree."""

    slides: int
    recall: float
    agreeing: float
    worst: tuple[str, ...]


def measure_words(data: Path, form: str) -> list[Recall]:
    """The word recall of each file of a Docling folder that has its source here, worst first."""
    folder = data / "parsing" / "docling" / form
    recalls: list[Recall] = []
    for expected in sorted((folder / "groundtruth").glob(f"*{FORMATS[form]}.md")):
        source = folder / "sources" / expected.stem
        if not source.exists():  # the papers' own sources are not in the snapshot
            continue
        text = _text_or_nothing(source)
        wanted = Counter(_words(markdown_text(expected.read_text(encoding="utf-8"))))
        if wanted:
            missing = wanted - Counter(_words(plain_text(text)))
            recalls.append(Recall(source.name, 1 - missing.total() / wanted.total(), tuple(missing)[:12]))
    return sorted(recalls, key=lambda one: one.recall)


def _text_or_nothing(path: Path) -> str:
    try:
        return read_document(path.read_bytes(), path.name).text
    except UnreadableDocument:
        return ""


def markdown_text(markdown: str) -> str:
    """Expected Markdown without what is no word of the document's own text.

    These are comments (also reviewers' ones), pictures and the kinds that Docling gives them (`Bar chart`), link targets, list numbers,
    fences, escapes, and the copies of a merged cell beside each other.
    """
    text = re.sub(r"<!--.*?-->", " ", markdown, flags=re.DOTALL)
    text = re.sub(r"^\[author: [^\]]*\]:.*$|^\w+ chart$|^\s*\d+\.\s|^```\w*$", " ", text, flags=re.MULTILINE)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", text)
    text = re.sub(r"\]\((?:[^()\s]|\([^()]*\))*(?: \"[^\"]*\")?\)", "] ", text)
    text = re.sub(r"^\|.*\|$", _without_copies, text, flags=re.MULTILINE)
    return plain_text(re.sub(r"\\(?=[_*#`\[\]()<>|~$&%{}.!-])", "", text))


def _without_copies(row: re.Match[str]) -> str:
    return " | ".join(cell for cell, _ in groupby(cell.strip() for cell in row[0].split("|")))


def plain_text(text: str) -> str:
    """A text as both sides are compared: entities resolved, compatibility forms made plain, formula commands and emphasis marks gone."""
    text = unicodedata.normalize("NFKC", unescape(text))
    return re.sub(r"\\[A-Za-z]+|(?<!\w)_+|_+(?!\w)|_(?=\{)", " ", text)


def measure_encodings(data: Path) -> Encodings:
    """How many files of each encoding's folder are decoded to the text that the true encoding gives."""
    right = files = 0
    wrong: list[str] = []
    for folder in sorted((data / "parsing" / "encodings" / "tests").iterdir()):
        encoding = _codec_name(folder.name)
        if encoding is None:
            continue
        for path in sorted(folder.iterdir()):
            raw = path.read_bytes()
            files += 1
            if _decoded(raw, path.name) == _squeezed(clean(raw.decode(encoding, errors="replace"))):
                right += 1
            else:
                wrong.append(f"{folder.name}/{path.name}")
    return Encodings(right, files, tuple(wrong))


def _codec_name(folder: str) -> str | None:
    """Python's name for the encoding a folder is named after (`iso-8859-2-czech`); None for EUC-TW, which Python lacks."""
    name = re.sub(r"^((?:iso-8859|windows)-\d+)-\w+$", r"\1", folder.lower())
    return None if name == "euc-tw" else _WIDER.get(name, name)


def _decoded(raw: bytes, name: str) -> str | None:
    try:
        return _squeezed(decode(raw, name))
    except UnreadableDocument:
        return None


def measure_syllabi(data: Path) -> Parity:
    """Whether each quote stands in its syllabus as PDF, as DOCX and as TXT: letter by letter, and by word 5-grams."""
    folder = data / "eval" / "syllabi"
    letters: dict[tuple[str, str], str] = {}
    grams: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for form, place in (("pdf", "corpus"), ("docx", "corpus-docx"), ("txt", "corpus-txt")):
        for path in sorted((folder / place).iterdir()):
            text = read_document(path.read_bytes(), path.name).text
            letters[form, path.stem] = letters_only(text)
            words = _words(plain_text(text))
            grams[form, path.stem] = {gram for size in range(1, GRAM_WORDS + 1) for gram in _grams(words, size)}
    quotes = [
        (Path(entry["source"]).stem, entry["quote"]) for entry in _relevant(folder / "questions.jsonl") if letters_only(entry["quote"])
    ]
    return _parity(quotes, letters, grams)


def _parity(
    quotes: list[tuple[str, str]], letters: dict[tuple[str, str], str], grams: dict[tuple[str, str], set[tuple[str, ...]]]
) -> Parity:
    forms = ("pdf", "docx", "txt")
    held = [{form: letters_only(quote) in letters[form, name] for form in forms} for name, quote in quotes]
    shared = [{form: _share(quote, grams[form, name]) >= GRAM_SHARE for form in forms} for name, quote in quotes]
    in_any = [row for row in held if any(row.values())]
    missing = {
        form: [f"{name}: {quote}" for (name, quote), row in zip(quotes, held, strict=True) if any(row.values()) and not row[form]]
        for form in forms
    }
    return Parity(
        quotes=len(quotes),
        found={form: mean(row[form] for row in held) for form in forms},
        in_any=len(in_any) / len(held),
        in_all=mean(all(row.values()) for row in held),
        in_all_of_any=mean(all(row.values()) for row in in_any),
        by_grams={form: mean(row[form] for row in shared) for form in forms},
        by_grams_in_all=mean(all(row.values()) for row in shared if any(row.values())),
        missing=missing,
    )


def _relevant(path: Path) -> Iterator[dict[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield from (entry for entry in json.loads(line)["relevant"] if "quote" in entry)


def letters_only(text: str) -> str:
    """The letters and digits of a text in their plainest form: spacing, hyphens, quotes and bullets make no difference."""
    plain = unicodedata.normalize("NFKD", re.sub(r"<[A-Z_]+>", "", text)).casefold()
    return "".join(character for character in plain if character.isalnum())


def _share(quote: str, held: set[tuple[str, ...]]) -> float:
    words = _words(plain_text(quote))
    wanted = set(_grams(words, min(GRAM_WORDS, len(words))))
    return len(wanted & held) / len(wanted) if wanted else 1.0


def _grams(words: list[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def measure_slides(data: Path) -> Slides:
    """The lectures that exist as PPTX and as PDF, slide n beside page n; speaker notes do not count, they are not printed."""
    recalls: list[tuple[float, str]] = []
    for deck in sorted((data / "courses" / "py4e" / "lectures").glob("*.pptx")):
        printed = deck.with_suffix(".pdf")
        if not printed.exists():
            continue
        slides = _numbered(deck, LocationKind.SLIDE)
        pages = _numbered(printed, LocationKind.PAGE)
        for number in sorted(slides.keys() & pages.keys()):
            wanted, found = pages[number], slides[number]
            recalls.append(((wanted & found).total() / wanted.total(), f"{deck.name} slide {number}"))
    worst = tuple(f"{name}: {recall:.2f}" for recall, name in sorted(recalls)[:15])
    return Slides(len(recalls), mean(recall for recall, _ in recalls), mean(recall >= SLIDE_SHARE for recall, _ in recalls), worst)


def _numbered(path: Path, kind: LocationKind) -> dict[int, Counter[str]]:
    """The words at each number of a document, where there are any."""
    sections = read_document(path.read_bytes(), path.name).sections
    texts = {section.location.number or 0: section.text.split("\n\nNotes:\n")[0] for section in sections if section.location.kind is kind}
    return {number: words for number, text in texts.items() if (words := Counter(_words(plain_text(text))))}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _squeezed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def report(data: Path) -> dict[str, object]:
    """All figures as JSON values."""
    words = {form: measure_words(data, form) for form in FORMATS}
    encodings, parity, slides = measure_encodings(data), measure_syllabi(data), measure_slides(data)
    return {
        "words": {
            form: {"mean": mean(one.recall for one in found), "files": len(found), "worst": found[:5]} for form, found in words.items()
        },
        "encodings": {**asdict(encodings), "share": encodings.share},
        "syllabi": asdict(parity),
        "slides": asdict(slides),
    }


def print_table(data: Path) -> Iterable[str]:
    """The figures as lines for people."""
    for form in FORMATS:
        found = measure_words(data, form)
        yield f"words of {form:5} {mean(one.recall for one in found):.4f} mean of {len(found)} files"
        yield from (f"    {one.recall:.3f} {one.name}: {' '.join(one.missing)}" for one in found[:5] if one.recall < 1)
    encodings = measure_encodings(data)
    yield f"encodings      {encodings.share:.4f} = {encodings.right} of {encodings.files} files; wrong: {', '.join(encodings.wrong)}"
    parity = measure_syllabi(data)
    yield f"syllabi        {parity.in_all_of_any:.4f} of the quotes in any text are in all; {parity.in_any:.4f} of {parity.quotes} in any"
    for form in ("pdf", "docx", "txt"):
        yield f"    {form:4} {parity.found[form]:.4f} letter by letter, {parity.by_grams[form]:.4f} by 5-grams"
    yield f"    all three {parity.in_all:.4f} letter by letter, {parity.by_grams_in_all:.4f} by 5-grams of those in any"
    slides = measure_slides(data)
    yield f"slides         {slides.agreeing:.4f} of {slides.slides} agree with their page (>= {SLIDE_SHARE}); recall {slides.recall:.4f}"
    yield f"    worst: {'; '.join(slides.worst)}"


def main() -> int:
    parser = argparse.ArgumentParser(description="How much of a document its reader keeps.")
    parser.add_argument("--data", type=Path, default=DATA, help="the measuring data (default: ../shared/data)")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    arguments = parser.parse_args()
    if not arguments.data.exists():
        parser.error(f"{arguments.data} is not there: name the measuring data with --data")
    if arguments.json:
        print(json.dumps(report(arguments.data), indent=2, ensure_ascii=False, default=asdict))
        return 0
    for line in print_table(arguments.data):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
