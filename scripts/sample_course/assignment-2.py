"""Assignment 2 of the sample course as a Word document. The content is the list BLOCKS; build() lays it out."""

import sys
from pathlib import Path

from docx import Document
from docx.shared import Pt

# One block: (kind, content); the kinds are h1, h2, p, bullets, numbers, table (rows, the first is the header) and code.
BLOCKS = [
    ("p", "CS 4470: Large Language Model Systems · Alderbrook University · Fall 2026"),
    ("p", "Due Friday October 16, 2026, 23:59 · 100 points · 10 % of the course grade · Questions: Priya Venkataraman, Friday 11:00–12:30, online"),
    ("h1", "1 Goal"),
    ("p", "You write a simulator of a language model server and use it to find out what batching and paging bring. No model and no GPU are involved: the simulator adds up time and memory from the cost model below, so everything runs on a laptop in seconds. In the end you will have measured two of the most important results on serving yourself."),
    ("p", "The assignment runs ahead of the lectures on purpose. All you need is in section 2; lectures 7 and 8 will come back to your results. Plan for about 18 hours of work, half of it for task 4 and the experiments."),
    ("h1", "2 Background and cost model"),
    ("p", "A request has a prompt, which is processed in one pass (prefill), and an output, which is generated one token at a time (decode). For each token of prompt and output the server keeps keys and values in memory, the KV cache. The simulated model is Wren on one GPU:"),
    ("table", [["Constant", "Value", "Name in the code"], ["Memory for the cache", "43.4 × 10⁹ bytes", "CACHE_BYTES"], ["Cache per token", "196,608 bytes", "TOKEN_BYTES"], ["Weights read in each decode step", "2.6 × 10⁹ bytes", "WEIGHT_BYTES"],
               ["Memory bandwidth", "800 × 10⁹ bytes/s", "BANDWIDTH"], ["Prefill speed", "30,000 tokens/s", "PREFILL_RATE"], ["Fixed overhead of a step", "0.5 ms", "STEP_OVERHEAD"], ["Largest context", "4,096 tokens", "MAX_CONTEXT"]]),
    ("p", "A decode step for a set of running sequences lasts (WEIGHT_BYTES + sum of their cache bytes) ÷ BANDWIDTH + STEP_OVERHEAD and gives each of them one token. In a step a sequence counts with its prompt and all tokens generated before that step. Prefill of n tokens lasts n ÷ PREFILL_RATE + STEP_OVERHEAD, yields the first output token, and no decode step runs meanwhile. Check: one sequence with 1,000 cached tokens takes 3.996 ms a step."),
    ("h1", "3 Input and output"),
    ("p", "The trace is a file of JSON lines, one request a line, sorted by arrival time:"),
    ("code", '{"id": "r0001", "arrival_ms": 0, "prompt_tokens": 412, "output_tokens": 128}\n{"id": "r0002", "arrival_ms": 37, "prompt_tokens": 95, "output_tokens": 301}'),
    ("bullets", ["arrival_ms is an integer, the time since the start of the trace in milliseconds.", "output_tokens is the true length of the output. Your scheduler must not look at it except to see that a sequence is finished.",
                 "A request with prompt_tokens + output_tokens above 4,096 is rejected on arrival: it appears in the result with status \"rejected\" and takes no time."]),
    ("p", "Three traces come with the starter code: tiny.jsonl (20 requests, with the expected results), chat.jsonl (2,000 requests, short prompts) and documents.jsonl (500 requests, long prompts). Grading uses a fourth one that you don't get."),
    ("p", "The program is called as follows and writes one JSON object a request, in the order of completion:"),
    ("code", "python simulate.py --trace chat.jsonl --policy continuous --memory paged --block 16 --out result.jsonl\n\n{\"id\": \"r0001\", \"status\": \"ok\", \"first_token_ms\": 14.2, \"done_ms\": 513.6, \"preempted\": 0}"),
    ("h1", "4 Tasks"),
    ("h2", "Task 1: Cache calculator (10 points)"),
    ("p", "Write kv_bytes(layers, kv_heads, head_dim, tokens, bytes_per_value) and use it to fill in a table for Wren with 16, 8, 4 and 1 KV heads, at 1,000 and 4,096 tokens, in fp16 and with 8-bit values."),
    ("h2", "Task 2: Static batching (15 points)"),
    ("p", "Batches of at most 16 requests in order of arrival; a batch starts when 16 are waiting or when the server is idle and at least one is waiting. All members are prefilled one after another and then decoded together until the longest is done. Finished members still cost time, as their cache is still read. Reserve MAX_CONTEXT tokens for each member."),
    ("h2", "Task 3: Continuous batching (20 points)"),
    ("p", "Finished sequences leave after each step; waiting requests are admitted before the next one, first come, first served, as far as memory allows with MAX_CONTEXT reserved for each. At most one prefill between two decode steps."),
    ("h2", "Task 4: Paged memory (20 points)"),
    ("p", "Implement a block allocator with allocate, extend and free, and use it in place of the reservation. A request is admitted if the blocks for its prompt are free plus a reserve of 1 % of all blocks. If a running sequence needs a block and none is free, preempt the sequence that was admitted last: free its blocks and put it at the front of the queue. When it comes back, prefill its prompt and the tokens generated so far."),
    ("h2", "Task 5: Metrics (15 points)"),
    ("p", "Compute from a result file: throughput in output tokens per second, p50, p95 and p99 of TTFT and of TPOT (nearest rank), the share of the cache memory in use averaged over time, and the goodput for the targets TTFT ≤ 1 s and TPOT ≤ 40 ms."),
    ("h2", "Task 6: Experiments and report (20 points)"),
    ("p", "In a report of at most three pages, with a figure for each of the first two questions:"),
    ("numbers", ["How do throughput and p99 TTFT of the policies (static; continuous with reservation; continuous with paging) compare on chat.jsonl?", "How does the block size (1, 4, 16, 64, 256 tokens) affect memory use and throughput on documents.jsonl?",
                 "Scale the arrival times so that the load rises. At which load does goodput collapse, and does throughput collapse at the same point?", "Name one effect of a real server that this cost model leaves out, and say in which direction it would change your results."]),
    ("h1", "5 Points"),
    ("table", [["Task", "Points", "Graded by"], ["1 Cache calculator", "10", "automatic tests"], ["2 Static batching", "15", "automatic tests"], ["3 Continuous batching", "20", "automatic tests"], ["4 Paged memory", "20", "tests (15) and reading the code (5)"],
               ["5 Metrics", "15", "automatic tests"], ["6 Experiments and report", "20", "reading: 5 points a question"], ["Total", "100", ""]]),
    ("p", "The tests compare times with a tolerance of 0.1 % or 0.01 ms, whichever is larger. A simulation of chat.jsonl must finish within 60 seconds on one core; slower programs lose 5 points in each task concerned. If a task fails its tests altogether, a person reads the code and can give up to 40 % of its points."),
    ("h1", "6 Hand-in"),
    ("p", "Upload one zip file to the course site, named a2-<netid>.zip, with:"),
    ("bullets", ["simulate.py and your other Python files (Python 3.11 or later, standard library and numpy only);", "report.pdf, at most three pages, figures included;", "AI.txt: which AI tools you used and what for, or the single word none;", "no result files and no traces: the zip must stay below 5 MB."]),
    ("p", "You may upload as often as you like; the last upload counts, and its time decides about late days. At most two late days can be used here, after that 10 percentage points are taken off for each day. The tiny test runs on every upload and its outcome is shown within ten minutes. Work alone: discussing ideas is fine, sharing code is not."),
    ("h1", "7 Hints"),
    ("bullets", ["Keep time in integer nanoseconds, or sums of floats will drift and the tiny test fails in the last digit.", "Drive the simulation by events: while nothing runs, jump to the next arrival instead of counting milliseconds.",
                 "Keep a running total of cached tokens. Summing over all sequences in each step makes chat.jsonl take minutes.", "Write an assertion that free blocks plus used blocks is constant, and check it after each step. It finds nearly all errors of task 4.",
                 "Try task 4 with 10 blocks in all. Preemption happens constantly there, and by hand you can still follow it."]),
    ("h1", "8 Common mistakes"),
    ("bullets", ["Counting the first token twice: prefill already yields it, so an output of n tokens needs n − 1 decode steps.", "Computing TPOT with n rather than n − 1 gaps. For an output of a single token TPOT is not defined; leave such requests out of its percentiles.",
                 "Letting a preempted sequence keep its old first-token time but starting its output anew. Tokens already sent stay sent.", "Admitting a request whose prompt fits while an earlier one still waits. First come, first served means nobody overtakes.",
                 "Averaging percentiles of parts of the trace instead of computing them over all requests."]),
]


def build(output: Path) -> None:
    document = Document()
    document.core_properties.title, document.core_properties.author = "CS 4470 Assignment 2: KV cache and batching simulator", "Priya Venkataraman"
    document.styles["Normal"].font.name, document.styles["Normal"].font.size = "Calibri", Pt(11)
    document.add_heading("Assignment 2: KV cache and batching simulator", 0)
    for kind, content in BLOCKS:
        if kind in ("h1", "h2"):
            document.add_heading(content, int(kind[1]))
        elif kind in ("bullets", "numbers"):
            for item in content:
                document.add_paragraph(item, style="List Bullet" if kind == "bullets" else "List Number")
        elif kind == "table":
            table = document.add_table(len(content), len(content[0]), style="Light Grid Accent 1")
            for r, row in enumerate(content):
                for c, text in enumerate(row):
                    table.cell(r, c).text = text
            document.add_paragraph()
        elif kind == "code":
            run = document.add_paragraph().add_run(content)
            run.font.name, run.font.size = "Courier New", Pt(9)
        else:
            document.add_paragraph(content)
    output.parent.mkdir(parents=True, exist_ok=True)
    document.save(output)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
