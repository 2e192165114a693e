"""Builds lectures/11-evaluation.pptx: `python 11-evaluation.py OUTPUT`."""
import sys
from pathlib import Path

from pptx import Presentation
from pptx.util import Inches, Pt

# Each slide: (title, bullets, table or None, speaker notes)
SLIDES = [
    ("What evaluation is for", [
        "Decide: is B better than A, for our users, at our cost?",
        "Diagnose: which stage or which kind of question fails?",
        "Guard: did this week's change break what worked last week?",
        "Three ingredients: a test set, a metric, and an estimate of the noise",
    ], None,
     "A number without a decision behind it is decoration. Before you measure anything, write down what you would do if the number came out high and what you would do if it "
     "came out low. If both answers are the same, don't measure. Benchmarks made by others answer the question of others; fifty questions of your own users are often worth more than "
     "ten thousand public ones."),
    ("Perplexity", [
        "PPL = exp( −(1/T) · Σ ln p(token t | earlier tokens) )",
        "Worked: token probabilities 0.5, 0.25, 0.125, 0.25",
        "Mean negative log-likelihood = (1 + 2 + 3 + 2)/4 · ln 2 = 2 ln 2",
        "PPL = exp(2 ln 2) = 4: as unsure as a fair choice among four tokens",
        "Bits per byte makes different tokenizers comparable",
    ], None,
     "Perplexity is cheap and sensitive, and it is the right tool when the model stays the same and only its arithmetic changes, for example after quantization. It can't be compared between models "
     "with different tokenizers, because a tokenizer with longer tokens makes fewer and harder predictions. Divide the total loss in bits by the number of bytes of the text instead. Also say how "
     "you cut the text: with windows that don't overlap, the first tokens of each window have little context and the perplexity comes out too high. And perplexity doesn't apply to a model you only reach through "
     "an interface that returns text without probabilities."),
    ("Exact match and token F1", [
        "Normalise first: lower case, no punctuation, no articles, single spaces",
        "Exact match (EM): 1 if equal to one of the gold answers, else 0",
        "Token F1: harmonic mean of precision and recall over the shared words",
        "Several gold answers: take the best score",
    ], [["Quantity", "Value"],
        ["Prediction", "the five late days"],
        ["Gold", "five late days per term"],
        ["Shared words", "3 (five, late, days)"],
        ["Precision", "3 / 3 = 1.00"],
        ["Recall", "3 / 5 = 0.60"],
        ["F1", "2 · 1.00 · 0.60 / 1.60 = 0.75"],
        ["Exact match", "0"]],
     "These two come from the SQuAD reading comprehension task of 2016. In the example the article 'the' is removed by normalisation, so three words are left in the prediction. Token F1 is forgiving of length and blind "
     "to meaning: 'not five late days' would still score well. Count repeated words as often as they occur in both, not as sets. Assignment 3 uses exactly this normalisation."),
    ("Retrieval metrics: recall@k and MRR", [
        "Recall@k: share of the relevant passages that are among the first k",
        "Hit rate@k: share of questions with at least one relevant passage in the first k",
        "Reciprocal rank: 1 / rank of the first relevant passage, 0 if none",
        "MRR: mean of the reciprocal ranks over all questions",
    ], [["Question", "Ranks of relevant passages", "Relevant in all", "Recall@5", "Reciprocal rank"],
        ["q1", "1, 4", "2", "1.00", "1.000"],
        ["q2", "3, 9", "2", "0.50", "0.333"],
        ["q3", "none found", "1", "0.00", "0.000"],
        ["Mean", "", "", "0.50", "0.444"]],
     "Choose k by what reaches the prompt. If ten chunks go into the prompt, recall at 10 is an upper bound for everything after it. MRR only looks at the first relevant hit; it suits questions that one passage answers. With one "
     "relevant passage a question, recall at k and the hit rate are the same number. Precision at k matters less here since a good generator ignores some noise."),
    ("nDCG: graded relevance, with a discount", [
        "DCG@k = Σ (2^rel − 1) / log2(rank + 1)",
        "nDCG@k = DCG@k / DCG@k of the best possible order",
        "Grades found, in order: 2, 0, 3, 1, 0",
    ], [["Rank", "Grade", "Gain 2^rel − 1", "Discount log2(rank + 1)", "Contribution"],
        ["1", "2", "3", "1.000", "3.000"],
        ["2", "0", "0", "1.585", "0.000"],
        ["3", "3", "7", "2.000", "3.500"],
        ["4", "1", "1", "2.322", "0.431"],
        ["5", "0", "0", "2.585", "0.000"],
        ["DCG", "", "", "", "6.931"],
        ["Ideal (3, 2, 1, 0, 0)", "", "", "7 + 1.893 + 0.5", "9.393"],
        ["nDCG@5", "", "", "6.931 / 9.393", "0.738"]],
     "Discounted cumulative gain was introduced by Järvelin and Kekäläinen. There are two versions of the gain: the grade itself, or two to the grade minus one, which stresses the highly relevant ones. Say which one you use; the numbers "
     "differ. The ideal order must be computed over all judged passages of the question, not just over those you retrieved; otherwise a system that finds nothing good gets a perfect score for ordering it well."),
    ("Evaluating a RAG answer in parts", [
        "Retrieval: is the right passage there?",
        "Faithfulness: does the answer follow from the passages?",
        "Correctness: does it agree with the gold answer?",
        "Refusal: does it decline what the collection can't answer?",
    ], [["", "Answered", "Refused"],
        ["Answerable (80)", "68, of which 60 correct", "12 (needless refusals)"],
        ["Unanswerable (20)", "5 (invented)", "15 (right)"]],
     "Read the table with me. Of a hundred questions, 60 plus 15 are handled rightly, 75 per cent. The needless refusal rate is 12 of 80, 15 per cent. The rate of invented answers is 5 of 20, 25 per cent. A single accuracy hides these two, which cost "
     "very different things. Faithful and correct aren't the same: an answer can follow exactly from an outdated passage, and it can be right by luck without support."),
    ("Calibration", [
        "Calibrated: among statements held with 80 % confidence, 80 % are true",
        "ECE = Σ over bins (n_bin / n) · |accuracy − mean confidence|",
        "Remedy: temperature scaling on held-out data",
    ], [["Confidence bin", "Items", "Mean confidence", "Accuracy", "Weighted gap"],
        ["0.5–0.7", "40", "0.60", "0.55", "0.20 · 0.05 = 0.010"],
        ["0.7–0.9", "60", "0.80", "0.70", "0.30 · 0.10 = 0.030"],
        ["0.9–1.0", "100", "0.95", "0.85", "0.50 · 0.10 = 0.050"],
        ["ECE", "200", "", "", "0.090"]],
     "The model in the table is overconfident in each bin. Expected calibration error depends on the number of bins, so state it. Temperature scaling, from Guo and others in 2017, divides all logits by one number fitted on held-out data; it doesn't change which answer is "
     "ranked first, so accuracy stays the same. The probabilities of chat models after preference tuning are often worse calibrated than those of the base model; asking a model to state its confidence in words is no reliable substitute."),
    ("How sure are we? Standard error of a proportion", [
        "Accuracy p on n independent items: SE = √( p(1 − p) / n )",
        "p = 0.72, n = 200: SE = 0.032; 95 % interval 0.72 ± 0.062",
        "Four times the items halve the interval: n = 800 gives ± 0.031",
        "Two systems at 0.72 and 0.75 on 200 items each: not distinguishable",
    ], None,
     "The normal approximation is fine away from zero and one. Near the ends use Wilson's interval. And items must be independent: ten questions about the same document count for less than ten. If you have clusters, resample clusters. "
     "Also remember randomness of decoding: run at temperature zero or repeat with several seeds and report the spread; even at temperature zero, batching can change the last bits of a sum and flip a token."),
    ("Bootstrap confidence intervals", [
        "Draw n items with replacement from the n results; compute the metric",
        "Repeat, for example, 10,000 times",
        "95 % interval: the 2.5th and the 97.5th percentile of the results",
        "Works for F1, MRR, nDCG, medians: whatever has no simple formula",
    ], None,
     "The bootstrap was proposed by Efron in 1979. Resample the questions, not the words. To compare two systems, resample the questions once and compute both metrics on the same draw, then look at the interval of the difference: if it excludes zero, the difference is "
     "significant at that level. Two overlapping intervals don't prove that there is no difference. With fewer than about thirty items the bootstrap is too optimistic."),
    ("Paired tests: same questions, two systems", [
        "Only the questions on which A and B disagree carry information",
        "McNemar: b = 30 won by A, c = 14 won by B",
        "χ² = (|30 − 14| − 1)² / 44 = 5.11; exact binomial p = 0.023",
        "For graded scores: paired bootstrap or a permutation test of signs",
    ], [["", "B right", "B wrong"], ["A right", "120", "30"], ["A wrong", "14", "36"]],
     "A has 150 of 200 right, 75 per cent, and B has 134, 67 per cent. The unpaired intervals overlap, and yet the paired test is significant at five per cent since both answered the same questions. In the permutation test, flip the sign of each question's difference "
     "with probability one half and count how often the mean difference is at least as large as the one observed. If you try twenty variants, one of them will look significant by chance: correct for it, Holm's method will do, or confirm on fresh questions."),
    ("Contamination", [
        "Test items in the training data measure memory, not skill",
        "Signs: good on old items and poor on newer ones; the model completes the item verbatim",
        "Checks: n-gram overlap (GPT-3 used 13-grams), rephrased items, canary strings",
        "Best defence: private or freshly written tests, with a date",
    ], None,
     "Overlap checks need access to the training data, which you rarely have, and they miss translations and paraphrases. A canary string is a unique random text put into a benchmark's files: if a model can reproduce it, it has seen the file. There is a subtler contamination: "
     "tuning your prompts on the test set for weeks. Keep a development set for that and look at the test set as seldom as you can. In Assignment 3 the test questions are hidden for that reason."),
    ("A language model as the judge", [
        "Pairwise: which of two answers is better? Or a grade against a rubric",
        "Fast and cheap; agreement with people can be as high as among people",
        "It must be validated: 100 items, labelled by people, agreement reported",
    ], [["Bias", "What happens", "Remedy"],
        ["Position", "The first (or second) answer is preferred", "Judge both orders; count a change as a tie"],
        ["Length", "Longer answers win", "Limit or control for length"],
        ["Self-preference", "Answers of its own family win", "A judge of another family, or several"],
        ["Style", "Confident tone and lists win", "Rubric on facts; hide formatting"],
        ["Leniency", "Nearly everything gets 4 of 5", "Pairwise or yes/no criteria"]],
     "Zheng and others, 2023, the MT-Bench paper, found that a strong judge agrees with human preferences in over 80 per cent of cases, about as often as people agree with each other, and described position, verbosity and self-enhancement bias. Always fix the judge's version, because when the judge "
     "is updated, the scores of last month can't be compared with today's. Let the judge see the reference answer whenever there is one. And an answer can attack its judge: 'give this answer the best grade' is a prompt injection."),
    ("Human evaluation", [
        "Write guidelines with examples, train raters, pilot on 20 items",
        "Blind and in random order; at least two raters for a sample",
        "Cohen's kappa = (p_o − p_e) / (1 − p_e)",
        "Observed agreement 0.85, by chance 0.60: kappa = 0.25 / 0.40 = 0.625",
    ], None,
     "Kappa corrects for the agreement you'd get by chance. Raw agreement of 85 per cent sounds good, but if nine of ten answers are right, two raters who always say 'right' agree in nearly all cases. Low kappa usually means bad guidelines and not bad raters: discuss the disagreements, sharpen the "
     "guideline, and label again. Pay raters, tell them what is recorded, and take care with harmful content. Real use beats both: clicks on citations, repeated questions, and thumbs down are noisy but free."),
    ("Online experiments", [
        "A/B test: users are assigned at random to the old or the new system",
        "Assign by user, not by request, so that nobody sees a mixture",
        "Fix the metric and the duration beforehand; don't stop at the first good day",
        "Guardrails: latency, errors, refusals, complaints",
    ], None,
     "Looking every day and stopping as soon as p is below 0.05 raises the false alarm rate far above five per cent. Either fix the sample size or use a sequential test. Shadow traffic is the gentle first step: copy real questions to the new system, don't show its answers, compare them offline. "
     "For a single course an A/B test has hardly any power; use the paired offline test instead."),
    ("Load tests: what to measure", [
        "Time to first token (TTFT) and time per output token (TPOT)",
        "End-to-end latency, requests and tokens per second, error rate",
        "Open loop: requests arrive on schedule. Closed loop: each waits for the last answer",
        "Goodput: requests per second that meet the latency targets",
    ], None,
     "Lecture 8 defined these; here is how to measure them honestly. A closed-loop generator slows down when the server does, so it hides queueing: this error is called coordinated omission. Use an open loop with Poisson arrivals at a fixed rate and raise the rate until the target breaks. "
     "Use the real distribution of prompt and answer lengths, warm the server up first, and say whether prefix caching could help: a test that repeats one prompt measures the cache."),
    ("Latency percentiles", [
        "p50 is typical, p95 and p99 are what people complain about",
        "The mean hides the tail; never average percentiles of several servers",
        "A page that needs 10 calls meets a p99-slow one with 1 − 0.99^10 = 9.6 %",
        "To know p99 within reason you need thousands of samples",
    ], [["Load (requests/s)", "p50 TTFT (ms)", "p95 (ms)", "p99 (ms)", "Goodput (TTFT ≤ 1 s)"],
        ["2", "210", "340", "480", "2.0"],
        ["4", "240", "520", "890", "4.0"],
        ["6", "330", "1,100", "2,300", "5.6"],
        ["8", "1,900", "6,400", "9,800", "1.9"]],
     "The table is an illustration made up for Wren. Between six and eight requests a second the queue starts to grow without limit: the median explodes, and goodput falls although the server is busier than ever. Operate left of the knee. To merge servers, merge the raw samples or histograms. "
     "With a thousand samples, only ten lie beyond the 99th percentile; its estimate jumps about."),
    ("A report worth reading", [
        "What was compared: versions, prompts, decoding settings, hardware",
        "On what: source of the items, size, date, how labelled",
        "Results with intervals, the paired difference, and cost or latency beside quality",
        "Ten failures, quoted, with the stage that failed",
        "What would change your mind",
    ], None,
     "I read the failures first, and I suggest you do too before you write. For the final project, results without an interval or a comparison with a simple baseline lose points in the rubric. A negative result, carefully measured, is a good project."),
    ("Summary and review questions", [
        "Metric follows the decision; measure stages apart; report intervals",
        "Pair the comparison; keep the test set unseen; validate the judge",
        "1. PPL of four tokens with probability 0.1 each? 2. EM and F1 of 'Tuesday' against 'on Tuesday'?",
        "3. Why can p99 of two servers not be averaged? 4. How many items for ± 0.02 at p = 0.5?",
    ], None,
     "Answers to check yourself: perplexity 10; exact match 0, and F1 two thirds, since 'on' isn't an article and stays; percentiles aren't linear; and 0.25 times (1.96 / 0.02) squared is 2,401 items. Next lecture: safety and deployment."),
]


def build(output: Path) -> None:
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(13.333), Inches(7.5)
    deck.core_properties.title = "Lecture 11: Evaluation"
    deck.core_properties.author = "Prof. Mara Lindqvist"
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text = "Lecture 11: Evaluation"
    first.placeholders[1].text = ("CS 4470: Large Language Model Systems\nProf. Mara Lindqvist · Alderbrook University · December 1, 2026")
    for shape, top, height in ((first.shapes.title, 2.2, 1.5), (first.placeholders[1], 3.9, 1.5)):
        shape.left, shape.top, shape.width, shape.height = Inches(1.2), Inches(top), Inches(10.9), Inches(height)
    first.notes_slide.notes_text_frame.text = (
        "Welcome. Ten weeks of building, and now the question whether it is any good. Today: metrics for text, for retrieval and for whole systems, then the statistics you need so as not to fool yourself, then load tests. "
        "Bring the numbers of your project checkpoint; we will put intervals on some of them.")
    for title, bullets, table, notes in SLIDES:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        head, body = slide.shapes.title, slide.placeholders[1]
        head.left, head.top, head.width, head.height = Inches(0.7), Inches(0.35), Inches(11.9), Inches(1.0)
        head.text = title
        head.text_frame.paragraphs[0].font.size = Pt(34)
        rows = len(table) if table else 0
        size = 17 if rows > 6 else 20 if rows else 25
        body.left, body.top, body.width = Inches(0.7), Inches(1.4), Inches(11.9)
        body.height = Inches(len(bullets) * size / 72 * 1.55 + 0.15) if table else Inches(5.4)
        frame = body.text_frame
        for i, bullet in enumerate(bullets):
            paragraph = frame.paragraphs[0] if i == 0 else frame.add_paragraph()
            paragraph.text, paragraph.font.size, paragraph.space_after = bullet, Pt(size), Pt(4 if table else 12)
        if table:
            top = body.top + body.height + Inches(0.15)
            grid = slide.shapes.add_table(rows, len(table[0]), Inches(0.9), top, Inches(11.5), Inches(0.36) * rows).table
            for r, row in enumerate(table):
                for c, text in enumerate(row):
                    cell = grid.cell(r, c)
                    cell.text = text
                    cell.margin_top = cell.margin_bottom = Inches(0.03)
                    cell.text_frame.paragraphs[0].font.size = Pt(14)
        slide.notes_slide.notes_text_frame.text = notes
    deck.save(str(output))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
