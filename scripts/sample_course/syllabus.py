"""Builds syllabus.docx with Word's own heading and table styles."""

import sys
from pathlib import Path

from docx import Document
from docx.shared import Pt

TITLE = "CS 4470: Large Language Model Systems"
SUBTITLE = "Syllabus · Fall 2026 · Alderbrook University, Department of Computer Science"

FACTS = [
    ["Lectures", "Tuesday and Thursday, 10:30–11:50, Hollis Hall 204"],
    ["First and last lecture", "Tuesday, September 8, 2026; Thursday, December 10, 2026"],
    ["Credits", "4"],
    ["Prerequisites", "CS 3310 (operating systems) and CS 3650 (machine learning), or the instructor's consent"],
    ["Textbook", "None to buy; our own notes are on the course site"],
]
STAFF = [
    ["Role", "Name", "Responsible for", "Office hours"],
    ["Instructor", "Prof. Mara Lindqvist (mlindqvist@alderbrook.example)", "Lectures, midterm, project", "Wednesday 14:00–16:00, Hollis 318"],
    ["Teaching assistant", "Tomás Okafor", "Labs and the Fenwick cluster", "Monday 16:00–17:30, Hollis B12"],
    ["Teaching assistant", "Priya Venkataraman", "Assignments", "Friday 11:00–12:30, online"],
]
GRADING = [
    ["Component", "Weight", "Remarks"],
    ["Three assignments", "30 %", "10 % each"],
    ["Two labs", "10 %", "5 % each"],
    ["Midterm", "20 %", "October 22, in class"],
    ["Final project", "30 %", "Teams of two to four; replaces a final exam"],
    ["Participation", "10 %", "See section 6"],
    ["Total", "100 %", ""],
]
LETTERS = [["Letter", "A", "B", "C", "D", "F"], ["Total in per cent", "90 and above", "80 to below 90", "70 to below 80", "60 to below 70", "below 60"]]
DEADLINES = [
    ["Work", "Due", "Topic"],
    ["Assignment 1", "Friday, September 25, 23:59", "A tokenizer"],
    ["Lab 1", "Friday, October 2, 23:59", "Attention by hand"],
    ["Assignment 2", "Friday, October 16, 23:59", "KV cache and batching simulator"],
    ["Midterm", "Thursday, October 22, in class", "Lectures 1–6"],
    ["Project proposal", "Friday, October 30, 23:59", "One page"],
    ["Lab 2", "Friday, November 6, 23:59", "Quantization"],
    ["Assignment 3", "Friday, November 20, 23:59", "Retrieval-augmented question answering"],
    ["Project checkpoint", "Tuesday, November 24, in class", "A baseline, in one figure or table"],
    ["Project presentations", "Tuesday, December 8, and Thursday, December 10", "In class"],
    ["Project report", "Tuesday, December 15, 23:59", "At most six pages"],
]
SCHEDULE = [
    ["Week", "Dates", "Topic", "Reading before class", "Due"],
    ["1", "Sept 8, 10", "1 What a language model is", "Notes 1", ""],
    ["2", "Sept 15, 17", "2 Tokenization", "Notes 2; handout of Assignment 1", ""],
    ["3", "Sept 22, 24", "3 The transformer", "Notes 3", "Assignment 1 (Sept 25)"],
    ["4", "Sept 29, Oct 1", "4 Training", "Slides 4; Notes 3, section on counting", "Lab 1 (Oct 2)"],
    ["5", "Oct 6, 8", "5 Distributed training", "Notes 5; Slides 4 on memory", ""],
    ["6", "Oct 13, 15", "6 GPU performance", "Slides 6", "Assignment 2 (Oct 16)"],
    ["7", "Oct 20, 22", "Review (Oct 20); midterm (Oct 22)", "Review questions of lectures 1–6", "Midterm"],
    ["8", "Oct 27, 29", "7 Inference and the KV cache", "Notes 7", "Proposal (Oct 30)"],
    ["9", "Nov 3, 5", "8 Serving", "Notes 8", "Lab 2 (Nov 6)"],
    ["10", "Nov 10, 12", "9 Quantization and other compression", "Notes 9; your Lab 2", ""],
    ["11", "Nov 17, 19", "10 Retrieval-augmented generation", "Notes 10", "Assignment 3 (Nov 20)"],
    ["12", "Nov 24", "Project checkpoint; no class on Nov 26 (Thanksgiving)", "", "Checkpoint"],
    ["13", "Dec 1", "11 Evaluation", "Slides 11", ""],
    ["13", "Dec 3", "12 Safety and deployment", "Notes 12", ""],
    ["14", "Dec 8, 10", "Project presentations", "", "Report (Dec 15)"],
]

# (style, content): h1, h2, p, li (bullet), table, table-plain (first column is the header)
CONTENT = [
    ("table-plain", FACTS),
    ("h1", "1. Course description"),
    ("p", "A large language model is a simple function that is very expensive to compute. This course is about both halves of that sentence. We build up the function, from n-grams to the transformer, and then study the systems which train it on many processors, serve it to many people, make it smaller, connect it to documents, measure whether its answers are right, and keep it from doing harm."),
    ("p", "We count throughout: parameters, bytes, operations, seconds. One imaginary model, Wren, with 1.3 billion parameters, goes with us through the term, so that numbers from different lectures can be compared. You will write code each fortnight, and you should be comfortable with Python, with matrices and with a Unix shell."),
    ("h1", "2. Learning outcomes"),
    ("p", "By the end of the course you will be able to"),
    ("li", "explain how a decoder-only transformer turns text into a distribution over next tokens, and count its parameters and operations;"),
    ("li", "build a tokenizer and say why different texts cost different numbers of tokens;"),
    ("li", "account for the memory and time of training, and choose a way of spreading it over several GPUs;"),
    ("li", "tell with a roofline argument whether a computation is bound by arithmetic or by memory traffic;"),
    ("li", "estimate the size of a KV cache and design the batching of a server around it;"),
    ("li", "quantize a model and measure what was lost;"),
    ("li", "build a system that answers from documents with citations, and evaluate it honestly, refusals included;"),
    ("li", "report measurements so that others can repeat them."),
    ("h1", "3. Staff and how to reach us"),
    ("table", STAFF),
    ("p", "Ask technical questions on the forum of the course site, where everyone profits from the answer; use e-mail for personal matters only. We answer on working days, mostly within 24 hours. In the two hours before a deadline don't count on an answer."),
    ("h1", "4. Grading"),
    ("table", GRADING),
    ("table-plain", LETTERS),
    ("p", "Totals are not rounded: 89.9 is a B. There is no curve; if everybody earns an A, everybody gets one. We may lower a boundary in your favour but never raise it. There is no final exam: the project replaces it."),
    ("h2", "4.1 Midterm"),
    ("p", "Thursday, October 22, 2026, in the usual room, during class. You have 75 minutes. It is closed book, but you may bring one A4 sheet, handwritten by yourself, both sides. It covers lectures 1–6. A pocket calculator without communication is allowed; phones, watches and laptops are not. Most questions are small calculations like those in the review questions of the notes."),
    ("h2", "4.2 Regrading"),
    ("p", "Ask within seven days of the day the grade was published, in writing, to the teaching assistant in charge. We then grade the whole task again, so that the result can be higher or lower."),
    ("h1", "5. Assignments, labs and project"),
    ("table", DEADLINES),
    ("p", "Some work runs ahead of its lecture on purpose: Assignment 2 comes before lectures 7 and 8, and Lab 2 comes before lecture 9. Each handout explains what it needs, and you'll get more from the lecture once you have met the problem yourself."),
    ("h2", "5.1 Final project"),
    ("p", "Teams of two to four build or measure a system. The proposal (one page) is due on October 30, the checkpoint is on November 24, presentations are on December 8 and 10, and the report of at most six pages is due on December 15. References don't count towards the six pages. The project handout has the topics and the rubric."),
    ("h2", "5.2 Late work"),
    ("p", "You have five late days for the whole term, to use on assignments and labs without asking. At most two can be used on one piece of work. A late day is a full 24 hours, and a fraction counts as a whole day. Once your late days are used up, or beyond two on one piece of work, you lose 10 percentage points for each day. The project has no late days: its deadlines are shared with other people. Unused late days have no value at the end."),
    ("h2", "5.3 Illness and emergencies"),
    ("p", "If you are ill for more than two days or have an emergency, write to Prof. Lindqvist as soon as you can. We'll find an arrangement which doesn't use your late days; for the midterm a note from the health service is needed."),
    ("h1", "6. Attendance and participation"),
    ("p", "There is no roll call, and nobody has to explain an absence, with two exceptions: the midterm and the project presentations, where attendance is required. Participation is nevertheless 10 % of the grade and is earned as follows:"),
    ("li", "4 points: contributions in class, that is questions and answers; quality counts more than number;"),
    ("li", "3 points: helpful posts on the forum, at least three in the term;"),
    ("li", "3 points: written questions to at least four other teams during the project presentations."),
    ("p", "If speaking in class is hard for you, talk to Prof. Lindqvist in the first two weeks; posts can take the place of the first item. Laptops are welcome for taking notes; in return we ask those who use them for anything else to sit in the last two rows."),
    ("h1", "7. Academic integrity"),
    ("p", "Assignments are done alone. You may discuss ideas, draw on a whiteboard together and explain an error message to each other. You may not share code, read someone else's solution or copy one from an earlier year. Name the people with whom you discussed. In the project, code is shared within the team, and outside code must be cited with its source and licence."),
    ("p", "A first violation gives zero points for the work concerned and is reported to the university's integrity board; a second one means failing the course. Passing code on counts the same as receiving it."),
    ("h2", "7.1 AI tools"),
    ("p", "AI tools are allowed for coding if you disclose them: a short note in the work you hand in says which tool you used and what for. You answer for every line, and we may ask you to explain it; what you can't explain earns no points. AI tools are not allowed in the midterm, nor for writing lab reflections, because these are about your own understanding. Undisclosed use is treated as a violation of academic integrity."),
    ("h1", "8. Computing"),
    ("p", "The Fenwick cluster (host name fenwick) has 8 nodes with 4 GPUs of 48 GB each. Each student has 40 GPU-hours for the term; a job may run for at most 4 hours. The queue short is for jobs of up to 30 minutes, the queue standard for all others. Assignments 1 and 2 and both labs need no GPU, so save your hours for Assignment 3 and the project. Write checkpoints: a job that reaches its limit is ended."),
    ("h1", "9. Accommodation and wellbeing"),
    ("p", "If you have a disability or a condition that affects your work, please register with the university's accessibility office and send us its letter, if possible by the end of the third week, so that there is time to arrange rooms and extra time for the midterm. You needn't tell us any reasons. If a deadline falls on a religious holiday, write to us two weeks before and we move it for you."),
    ("p", "The term is long. If you fall behind, come to office hours early: we can help in week 5 in ways that we can't in week 13. The university's counselling service is free and confidential."),
    ("h1", "10. Week by week"),
    ("p", "Reading means our own notes and slides on the course site, which appear at least three days before the first lecture of a week. Read them before class: the lecture spends its time on the hard parts and on questions."),
    ("table", SCHEDULE),
    ("h1", "11. Changes"),
    ("p", "We'll announce changes to this syllabus in class and on the course site. No deadline will be moved forward, and the weights of the components won't change after September 22."),
]


def add_table(document, rows: list[list[str]], header_row: bool) -> None:
    table = document.add_table(rows=len(rows), cols=len(rows[0]), style="Table Grid")
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            paragraph = table.cell(r, c).paragraphs[0]
            run = paragraph.add_run(text)
            run.font.size = Pt(10)
            run.bold = r == 0 if header_row else c == 0
    document.add_paragraph()


def build(output: Path) -> None:
    document = Document()
    document.core_properties.title, document.core_properties.author = f"Syllabus, {TITLE}", "Mara Lindqvist"
    document.styles["Normal"].font.name, document.styles["Normal"].font.size = "Calibri", Pt(11)
    document.add_paragraph(TITLE, style="Title")
    document.add_paragraph(SUBTITLE, style="Subtitle")
    for kind, content in CONTENT:
        if kind in ("h1", "h2"):
            document.add_heading(content, level=int(kind[1]))
        elif kind == "p":
            document.add_paragraph(content)
        elif kind == "li":
            document.add_paragraph(content, style="List Bullet")
        else:
            add_table(document, content, header_row=kind == "table")
    document.save(str(output))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
