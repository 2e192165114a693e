import pytest

from ingest.readers import read_document
from rag.errors import UnreadableDocument

PAPER = r"""% a comment
\documentclass[a4paper]{article}
\usepackage{amsmath}
\title{A \emph{Study} of $x^2$}
\date{May 2026}
\newcommand{\R}{\mathbb{R}}
\begin{document}
\maketitle
Intro text~here, 50\% of it \cite[p.~3]{knuth84}. % gone
Caf\'e and na\"{\i}ve, \textbf{bold \emph{nested}}.

\section{First $a+b$}\label{sec:first}
Line one
continues---see \ref{sec:first} and \url{http://a.example/~c_d%20}.
\begin{itemize}
  \item One thing
  \item[Key] Another
\end{itemize}
\begin{equation}\label{eq:e}
  E = mc^2
\end{equation}
\subsection*{Table}
\begin{tabular}{l|c}
\hline
Name & Points \\
\hline
R \& D & $e$ \\[2pt]
\end{tabular}

\begin{verbatim}
x = 1  % kept
    \section{no}
\end{verbatim}
Use \verb|a_b%c| now\footnote{A note.}.
\end{document}
not this
"""


def test_sections_and_their_text() -> None:
    document = read_document(PAPER.encode(), "paper.tex")
    assert [(section.location.heading, section.text) for section in document.sections] == [
        ((), "Intro text here, 50% of it [knuth84, p. 3]. Café and naïve, bold nested."),
        (
            ("First $a+b$",),
            "First $a+b$\n\nLine one continues—see [sec:first] and http://a.example/~c_d%20.\n- One thing\n- Key Another\n\n"
            "\\begin{equation}\nE = mc^2\n\\end{equation}",
        ),
        (
            ("First $a+b$", "Table"),
            "Table\n\nName | Points\nR & D | $e$\n\nx = 1  % kept\n    \\section{no}\n\nUse a_b%c now (A note.).",
        ),
    ]
    assert document.title == "A Study of $x^2$"
    assert document.facts == {"title": "A Study of $x^2$", "date": "May 2026"}


def test_a_file_that_another_one_includes_has_no_preamble() -> None:
    document = read_document(rb"\chapter{Trees} A tree is a graph. \input{more}", "chapters/trees.tex")
    assert [(section.location.heading, section.text) for section in document.sections] == [(("Trees",), "Trees\n\nA tree is a graph.")]
    assert document.title == "Trees"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"It costs \$5, then $x < 5$.", r"It costs \$5, then $x < 5$.".replace(r"\$", "$")),
        (r"\[ a \\ b \] and \(c\)", r"\[a \\ b\] and \(c\)"),
        (r"\begin{align*} a &= b \\ c &= d \end{align*}", "\\begin{align*}\na &= b \\\\ c &= d\n\\end{align*}"),
        (r"\begin{theorem}[Euler] All $n$. \end{theorem}", "Theorem (Euler): All $n$."),
        (r"``Quoted'' \textcolor{red}{red} \unknown{kept} {\large big}", "“Quoted” red kept big"),
        (r"A\def\x#1{gone}B \newcommand{\y}[2]{gone}C", "AB C"),
        (r"\href{http://a.example}{the page}", "the page (http://a.example)"),
        (r"100\% % comment \% still", "100%"),
        ("one %\n  two", "one two"),
        (r"an open $ alone", "an open $ alone"),
        (r"\begin{tikzpicture} \draw (0,0); \end{tikzpicture} after", "after"),
        (r"\begin{lstlisting}[language=C]" + "\nint x; // 100%\n\\end{lstlisting}", "int x; // 100%"),
    ],
)
def test_commands(source: str, text: str) -> None:
    assert read_document(source.encode(), "a.tex").text == text


def test_slides() -> None:
    source = rb"\section{Sorting}\begin{frame}[fragile]{Quicksort}\begin{itemize}\item<1-> Pivot\end{itemize}\end{frame}"
    assert [(section.location.heading, section.text) for section in read_document(source, "a.tex").sections] == [
        (("Sorting", "Quicksort"), "Sorting\n\nQuicksort\n\n- Pivot")
    ]


def test_only_definitions() -> None:
    with pytest.raises(UnreadableDocument, match="holds no text"):
        read_document(rb"\newcommand{\x}{y}", "macros.tex")
    with pytest.raises(UnreadableDocument, match="opens more than 200 braces inside each other: check that every brace is closed"):
        read_document(rb"\footnote{" * 2000 + b"x" + b"}" * 2000, "deep.tex")
