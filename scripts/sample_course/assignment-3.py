"""Builds assignments/assignment-3.docx: `python assignment-3.py OUTPUT`."""
import sys
from pathlib import Path

from docx import Document
from docx.shared import Pt

# (kind, content): h1/h2 headings, p paragraph, ul/ol lists, table with its header row first
CONTENT = [
    ("p", "CS 4470: Large Language Model Systems, Alderbrook University, Fall 2026. Handed out on Tuesday, November 3; due on Friday, November 20, 2026, 23:59. Worth 10 % of the course grade. "
          "Questions to Priya Venkataraman (Fridays 11:00–12:30, online) or in Prof. Lindqvist's office hours."),
    ("h1", "1. What you will build"),
    ("p", "You will build a question answering system over a collection of documents: it searches by words and by embeddings, fuses the two lists, reranks, prompts a small language model, cites the passages it used, and declines questions "
          "which the collection doesn't answer. Then you will measure each stage and show with numbers which of your decisions helped. The measuring counts for more than the model: a plain system with an honest evaluation gets a better grade than a clever one without."),
    ("p", "By the end you should be able to write BM25 from its formula, to explain why two retrievers fail on different questions, to choose a refusal threshold, and to compare two systems with a paired test. Lectures 10 and 11 treat the material. Because lecture 11 comes after the deadline, its slides, like the notes of lecture 10, are on the course site from the first day of this assignment."),
    ("h1", "2. Data"),
    ("p", "The folder /course/cs4470/a3 on fenwick (also a download of 38 MB on the course site) holds a fictional university's handbook, made for this course:"),
    ("ul", ["docs/: 1,184 pages of handbook as plain text with headings, about 620,000 words;",
            "dev.jsonl: 300 questions with gold answers and the identifiers of the relevant pages; 240 can be answered and 60 can't;",
            "test-sample.jsonl: 20 questions in the format of the hidden test set, so that you can check your output;",
            "embeddings.npy: 384-dimensional vectors of our reference chunks, in case you don't want to compute your own;",
            "check_format.py: verifies the format of your output file before you hand in."]),
    ("p", "The hidden test set has 400 questions, 320 answerable and 80 not. We run your system on it once, after the deadline. Don't try to obtain it, and don't send the handbook to an outside service: some pages are under a licence which permits use in this course only."),
    ("h1", "3. Tasks and points"),
    ("table", [["Task", "What to do", "Points"],
               ["A. Chunking and BM25", "Split the pages; write BM25 yourself (k1 and b as parameters). No search library.", "20"],
               ["B. Dense retrieval", "Embed the chunks, exact cosine search in numpy; explain your choice of model.", "15"],
               ["C. Fusion", "RRF and a convex combination; tune on dev; compare both with A and B.", "15"],
               ["D. Reranking and generation", "Rerank at most 50 candidates; build the prompt; answer with citations.", "15"],
               ["E. Refusal", "Choose a threshold on dev; draw needless refusals against invented answers.", "10"],
               ["F. Evaluation and report", "All metrics of section 4 with intervals, one paired test, analysis of 20 failures.", "25"],
               ["Total", "", "100"]]),
    ("h2", "Rules for the tasks"),
    ("ol", ["BM25 must agree with the reference scores in tests/bm25.json to within 0.001. The tests are public.",
            "The generator is the model we provide on fenwick (3 billion parameters, 4-bit weights). A larger or hosted model is not allowed, so that results can be compared.",
            "The embedding model and the reranker are free, up to 200 million parameters each.",
            "The whole test run must finish in 45 minutes on one GPU of the standard queue; what isn't finished counts as wrong. Plan for about 6 of your 40 GPU-hours in all.",
            "Each answer has at most 60 words and one to three citations of page identifiers. A refusal is the exact string NO_ANSWER without citations."]),
    ("h1", "4. Metrics to report"),
    ("ul", ["Retrieval, on answerable questions: recall@5, recall@20 and MRR of tasks A, B, C and D.",
            "Answers: exact match and token F1 with the normalisation of lecture 11, slide 4 (lower case, without punctuation and articles).",
            "Citations: precision against the gold pages.",
            "Refusal: share of answerable questions declined, share of unanswerable questions answered.",
            "Cost: median and 95th percentile of the seconds per question, and the GPU model.",
            "For each headline figure a 95 % bootstrap interval with 10,000 draws; for your best system against our baseline a paired bootstrap test."]),
    ("h1", "5. Baselines to beat"),
    ("p", "Our systems were measured on dev.jsonl. The points for tasks A to E don't depend on beating them, except where section 7 says so."),
    ("table", [["System", "Recall@5", "MRR", "EM", "Token F1", "Unanswerable answered"],
               ["BM25, whole pages, no refusal", "0.61", "0.47", "0.29", "0.41", "100 %"],
               ["Dense, 300-token chunks, no refusal", "0.66", "0.50", "0.31", "0.44", "100 %"],
               ["Hybrid (RRF, k = 60)", "0.74", "0.57", "0.35", "0.49", "100 %"],
               ["Hybrid, reranked, threshold (reference)", "0.82", "0.68", "0.41", "0.55", "30 %"]]),
    ("p", "The reference system declines 9 % of the answerable questions. Its median time is 1.4 seconds a question on one Fenwick GPU."),
    ("h1", "6. Handing in"),
    ("p", "Upload one archive a3-<netid>.zip of at most 20 MB to the course site. It contains:"),
    ("ul", ["the code, with a README that gives one command to build the index and one to answer a file of questions;",
            "requirements.txt with pinned versions;",
            "dev-output.jsonl, as check_format.py accepts it;",
            "report.pdf, at most four pages including figures, 11 pt;",
            "ai-note.txt: which AI tools you used and what for, or the word none."]),
    ("p", "Leave models, embeddings and the handbook out of the archive. You may upload as often as you like; the last upload before the deadline counts. If you upload after it, late days are used automatically: five for the whole term, at most two on this assignment, so that Sunday, November 22, 23:59 is the last moment without a deduction. "
          "After that, 10 percentage points a day are taken off."),
    ("h1", "7. Grading"),
    ("ul", ["Tasks A to C: half of the points for passing the tests, half for the explanation in the report.",
            "Task D: 5 of the 15 points are for reaching a token F1 of at least 0.49 on the hidden test set, that is, the level of our plain hybrid system.",
            "Task E: full points need at most 30 % of the unanswerable and at most 15 % needless refusals on the hidden test set, or a good argument in the report for another trade.",
            "Task F: 10 points for correct metrics and intervals, 5 for the paired test, 10 for the failure analysis.",
            "Bonus: the three systems with the best token F1 on the hidden set get 3 points each; the total can't exceed 100.",
            "Code that doesn't run with the given commands loses 10 points; we try for ten minutes and then write to you once."]),
    ("p", "Work alone. You may discuss ideas and compare figures with others, but not share code. AI tools are allowed for coding if they are disclosed in ai-note.txt. Grades come back within two weeks, with the results of the hidden test set."),
    ("h1", "8. Hints"),
    ("ol", ["Make the whole pipeline run on ten questions first, then improve one stage at a time.",
            "Store the candidates of each stage in a file. Failure analysis is then a matter of reading.",
            "Compute the embeddings once and keep them; each run of the full collection takes about eight minutes on a GPU.",
            "Check the length limit of the reranker; many stop reading after 512 tokens.",
            "Put the heading path in front of each chunk: in our trials, recall@5 of dense retrieval rose by about 4 points."]),
]


def build(output: Path) -> None:
    document = Document()
    document.core_properties.title = "Assignment 3: Retrieval-Augmented Question Answering"
    document.core_properties.author = "CS 4470 staff"
    document.styles["Normal"].font.size = Pt(11)
    document.add_heading("Assignment 3: Retrieval-Augmented Question Answering", level=0)
    for kind, content in CONTENT:
        if kind in ("h1", "h2"):
            document.add_heading(content, level=int(kind[1]))
        elif kind == "p":
            document.add_paragraph(content)
        elif kind == "table":
            table = document.add_table(rows=0, cols=len(content[0]), style="Light Grid Accent 1")
            for row in content:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = text
            document.add_paragraph()
        else:
            for item in content:
                document.add_paragraph(item, style="List Bullet" if kind == "ul" else "List Number")
    restart_numbering(document)
    document.save(str(output))


def restart_numbering(document) -> None:
    """Give each numbered list its own numbering, so that each starts at 1."""
    numbering = document.part.numbering_part.numbering_definitions._numbering
    abstract = numbering.num_having_numId(document.styles["List Number"].element.pPr.numPr.numId.val).abstractNumId.val
    previous, num = False, None
    for paragraph in document.paragraphs:
        listed = paragraph.style.name == "List Number"
        if listed:
            if not previous:
                num = numbering.add_num(abstract)
                num.add_lvlOverride(ilvl=0).add_startOverride(1)
            properties = paragraph._p.get_or_add_pPr().get_or_add_numPr()
            properties.get_or_add_numId().val = num.numId
            properties.get_or_add_ilvl().val = 0
        previous = listed


if __name__ == "__main__":
    build(Path(sys.argv[1]))
