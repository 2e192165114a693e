"""Builds lectures/04-training.pptx: the content as data, then one short function that lays it out."""

import sys
from pathlib import Path

from pptx import Presentation
from pptx.util import Inches, Pt

TITLE = "Lecture 4: Training"
SUBTITLE = (
    "CS 4470: Large Language Model Systems\nProf. Mara Lindqvist · Alderbrook University · September 29 and October 1, 2026"
)
TITLE_NOTES = (
    "Today we turn the transformer of Lecture 3 from a random function into a useful one. We stay on one GPU; Lecture 5 spreads the same "
    "work over many. Please remember that Lab 1 is due on Friday, October 2."
)

# One dict a slide: title, and any of bullets, table (first row is the header), notes.
SLIDES = [
    {
        "title": "Three stages make an assistant",
        "table": [
            ["Stage", "Data", "Objective", "Typical amount"],
            ["Pretraining", "Web pages, books, code", "Predict the next token", "10¹⁰ to 10¹³ tokens"],
            ["Instruction tuning", "Prompts with good answers", "Predict the answer's tokens", "10⁴ to 10⁶ examples"],
            ["Preference tuning", "Pairs: better and worse answer", "Prefer the better one", "10⁴ to 10⁶ pairs"],
        ],
        "bullets": ["Nearly all the compute goes into the first stage; much of the visible behaviour comes from the other two."],
        "notes": "Pretraining gives the model its knowledge of language and facts. The later stages mostly select, among the behaviours the model is "
        "already capable of, the ones we want. They are short: for Wren a pass over fifty thousand instruction examples of 500 tokens is 25 million tokens, "
        "about a thousandth of pretraining's 26 billion.",
    },
    {
        "title": "Data: what goes in decides what comes out",
        "bullets": [
            "Extract text from pages; drop menus and boilerplate",
            "Filter: language, quality classifiers, personal data",
            "Deduplicate: exact (hashes) and near (MinHash)",
            "Decontaminate: remove the evaluation sets",
            "Mix the sources by weight, then tokenize, pack and shuffle",
        ],
        "notes": "Deduplication pays three times: compute isn't spent on copies, the model memorizes less, and the test set leaks less. Lee and others showed this "
        "in 2022. Packing means that documents are joined with an end token between them and cut into windows of exactly 4,096 tokens, so that no position is "
        "wasted on padding. For Wren, 26 billion tokens at about 4.2 bytes each are roughly 109 gigabytes of text; two bytes are enough to store a token number because the "
        "vocabulary of 32,000 is smaller than 65,536, so the tokenized data takes 52 gigabytes.",
    },
    {
        "title": "The objective: next-token cross-entropy",
        "bullets": [
            "L = −(1/T) Σₜ ln P(xₜ | x₁ … xₜ₋₁)",
            "Teacher forcing: the true history is the input, not the model's own output",
            "One forward pass over T tokens gives T predictions at once",
            "Gradient with respect to the logits: p − onehot(x)",
            "Sanity check: the first loss is ln 32,000 ≈ 10.4",
        ],
        "notes": "This is the cross-entropy of Lecture 1. The gradient is simple: the predicted distribution minus one at the true token. So the push on a token's logit is "
        "proportional to how wrong the model was. Teacher forcing makes training parallel over positions, which generation isn't. Its price is called exposure bias: in "
        "use, the model sees its own mistakes, which it never saw in training.",
    },
    {
        "title": "AdamW: the update rule",
        "bullets": [
            "m ← β₁ m + (1 − β₁) g     (running mean of the gradient)",
            "v ← β₂ v + (1 − β₂) g²     (running mean of its square)",
            "m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)     (bias correction)",
            "w ← w − η ( m̂ / (√v̂ + ε) + λ w )",
            "The W: weight decay λ acts on the weight directly, not through g",
        ],
        "notes": "Adam is by Kingma and Ba, 2015; AdamW by Loshchilov and Hutter, 2019. Dividing by the root of v gives each parameter a step of about the same size, "
        "whatever the scale of its gradient. If you add weight decay to the gradient instead, it is divided by root v too, so that parameters with large gradients are decayed less; that is the "
        "mistake which AdamW repairs. The two running means are the reason for eight of the sixteen bytes a parameter that we'll count in a moment.",
    },
    {
        "title": "Hyperparameters for Wren",
        "table": [
            ["Setting", "Value", "Comment"],
            ["Peak learning rate η", "2 × 10⁻⁴", "Smaller for larger models"],
            ["β₁, β₂", "0.9, 0.95", "0.999 for β₂ reacts too slowly to spikes"],
            ["ε", "10⁻⁸", "Keeps the division finite"],
            ["Weight decay λ", "0.1", "Not on norm gains"],
            ["Gradient clipping", "global norm 1.0", "Before the update"],
            ["Batch", "524,288 tokens", "128 sequences of 4,096"],
            ["Steps", "49,600", "26 billion tokens"],
        ],
        "notes": "These are values of the usual size, not magic numbers. The batch is 128 sequences times 4,096 tokens, 524,288 tokens. 26 billion divided by that is about 49,600 steps. Global norm clipping takes the "
        "norm of the whole gradient vector; if it is above one, the vector is scaled down to length one. The direction stays the same.",
    },
    {
        "title": "Learning-rate schedule: warm up, then decay",
        "bullets": [
            "Warm-up: linear from 0 to 2 × 10⁻⁴ over 2,000 steps",
            "Cosine decay down to a tenth of the peak, 2 × 10⁻⁵",
            "Half-way through the decay: 1.1 × 10⁻⁴",
            "Alternative: warm-up, constant, short decay at the end (WSD)",
        ],
        "notes": "Why warm up? In the first steps v is an average of very few gradients, so the step sizes are unreliable, and large steps early can do lasting damage. The cosine has a practical fault: you "
        "must know the total number of steps in advance. If you stop at half the steps, the rate is still high and the loss is worse than that of a run planned for that length. "
        "The warm-up, stable, decay schedule avoids this: you may branch off a decay whenever you like.",
    },
    {
        "title": "Gradient accumulation: a large batch on a small GPU",
        "bullets": [
            "Run k micro-batches, add up the gradients, then take one step",
            "Global batch = micro-batch × accumulation steps × GPUs",
            "Wren: 128 = 4 × 32 × 1 on one GPU, or 4 × 1 × 32 on all of Fenwick",
            "Same result as the large batch, if the loss is averaged over all tokens",
        ],
        "notes": "Accumulation costs no extra memory except that the gradient buffer stays alive, and no extra operations. It costs time only in that the micro-batches run one after another. The classic bug: averaging each "
        "micro-batch on its own, then averaging the averages. When micro-batches have different numbers of real tokens, as in instruction tuning, the tokens in short ones get too much weight. Divide by the total "
        "number of tokens instead. Beyond a so-called critical batch size, larger batches bring less and less per token (McCandlish and others, 2018).",
    },
    {
        "title": "Mixed precision: three number formats",
        "table": [
            ["Format", "Exponent bits", "Fraction bits", "Largest value", "Smallest normal"],
            ["fp32", "8", "23", "3.4 × 10³⁸", "1.2 × 10⁻³⁸"],
            ["fp16", "5", "10", "65,504", "6.1 × 10⁻⁵"],
            ["bf16", "8", "7", "3.4 × 10³⁸", "1.2 × 10⁻³⁸"],
        ],
        "bullets": [
            "Matrices in 16 bits, sums and the optimizer in 32",
            "Why an fp32 master copy: 1 + 0.0001 = 1 in fp16",
        ],
        "notes": "Sixteen bits halve the memory traffic and let the tensor cores run. fp16 has more precision, bf16 has the range of fp32. Near 1, neighbouring fp16 numbers are about 0.001 apart, and bf16 numbers 0.008 apart. A learning-rate-sized "
        "update of 0.0001 to a weight near 1 is rounded away in both. So the optimizer works on an fp32 master copy and casts it down after each step. Softmax, norms and the loss are also computed in fp32.",
    },
    {
        "title": "Loss scaling keeps fp16 gradients alive",
        "bullets": [
            "Many gradients are below 6 × 10⁻⁸, the smallest fp16 number: they become 0",
            "Multiply the loss by S, for example 2¹⁶; unscale the gradients in fp32 before the update",
            "Dynamic: on inf or NaN skip the step and halve S; after 2,000 good steps double it",
            "bf16 has the range of fp32 and needs no loss scaling",
        ],
        "notes": "Micikevicius and others introduced this in 2018. Because of the chain rule, scaling the loss scales every gradient. Order matters: unscale first, then clip, then step. If you clip the scaled gradients, you clip everything. A skipped step "
        "now and then is normal; a scale that falls to one and stays there means that the run has diverged. On GPUs with bf16 most people use bf16 for this reason.",
    },
    {
        "title": "Memory: 16 bytes for every parameter",
        "table": [
            ["Item", "Bytes a parameter", "Wren (1.3 billion)"],
            ["Weights, fp16", "2", "2.6 GB"],
            ["Gradients, fp16", "2", "2.6 GB"],
            ["Master weights, fp32", "4", "5.2 GB"],
            ["First moment m, fp32", "4", "5.2 GB"],
            ["Second moment v, fp32", "4", "5.2 GB"],
            ["Total", "16", "20.8 GB"],
        ],
        "notes": "Inference needs two bytes a parameter, training sixteen, and this is before a single activation is stored. On a 48-gigabyte card Wren's state leaves 27.2 gigabytes. The largest model whose state alone would fit into 48 gigabytes has "
        "three billion parameters. Twelve of the sixteen bytes belong to the optimizer; Lecture 5 spreads them over many GPUs.",
    },
    {
        "title": "Activations: the part that grows with the batch",
        "bullets": [
            "The backward pass needs the inputs of every operation",
            "Per layer about s·b·h·(34 + 5·a·s/h) bytes in fp16 (Korthikanti et al., 2022)",
            "Wren, one sequence of 4,096: 1.63 GB a layer, 39 GB in all",
            "The term with a·s/h is the score matrices: without storing them 285 MB a layer, 6.8 GB in all",
        ],
        "notes": "s is the sequence length, b the batch, h the hidden size, a the number of heads. For Wren s times h is 8.39 million. The bracket is 34 plus 160, so 194, since 5 times 16 times 4,096 over 2,048 is 160. "
        "So more than four fifths of the activations are attention scores, which FlashAttention never stores. 20.8 plus 39 gigabytes wouldn't fit on a Fenwick GPU; 20.8 plus 6.8 does. "
        "The logits come on top: 4,096 times 32,000 times 4 bytes, 524 megabytes a sequence.",
    },
    {
        "title": "Gradient checkpointing: trade compute for memory",
        "table": [
            ["Strategy (one sequence of 4,096)", "Activations", "Extra compute"],
            ["Store everything", "39 GB", "none"],
            ["Don't store scores (FlashAttention)", "6.8 GB", "small"],
            ["Store only each layer's input", "0.40 GB + 0.29 GB", "about one third"],
        ],
        "bullets": ["Recompute a layer's activations when the backward pass reaches it"],
        "notes": "With full checkpointing, also called activation recomputation, we keep only the input of each layer: two bytes times 4,096 times 2,048, which is 16.8 megabytes, times 24 layers makes 0.40 gigabytes. When the backward pass reaches a layer, we "
        "run its forward pass again, which needs the 0.29 gigabytes of one layer at a time. The forward pass is done twice, so that the cost rises from 6N to 8N per token: one third more. The idea for deep networks is by Chen and others, 2016.",
    },
    {
        "title": "Compute: 6ND",
        "bullets": [
            "Forward 2N, backward 4N operations per token: 6N",
            "Wren: 6 × 1.3·10⁹ × 26·10⁹ = 2.0 × 10²⁰ operations",
            "A Fenwick GPU at 40 % of 160 TFLOP/s: 64 TFLOP/s",
            "One GPU: 3.2 million seconds, 37 days, 880 GPU-hours",
            "Your allowance of 40 GPU-hours is 4.5 % of that",
        ],
        "notes": "The backward pass costs twice the forward pass because each matrix multiplication has two gradients: one for its input and one for its weights. The formula leaves out the attention scores; at full context of 4,096 with a causal mask they add around 15 percent for Wren. "
        "The share of the peak that does useful work is called model FLOPs utilization, MFU. 30 to 50 percent is typical for a well-tuned run. The 880 GPU-hours ignore all losses of running on many GPUs, which Lecture 5 puts in.",
    },
    {
        "title": "Scaling laws: how to spend a budget",
        "table": [
            ["Compute C", "Parameters N = √(C/120)", "Tokens D = 20 N"],
            ["10¹⁸", "91 million", "1.8 billion"],
            ["2 × 10²⁰ (Wren)", "1.3 billion", "26 billion"],
            ["10²²", "9.1 billion", "183 billion"],
            ["10²⁴", "91 billion", "1.8 trillion"],
        ],
        "bullets": ["L(N, D) ≈ E + A/N^α + B/D^β (Hoffmann et al., 2022)"],
        "notes": "Put D equal to 20 N into C equal to 6 N D: C is 120 N squared. E is the loss that no model can get below, the entropy of the text itself. The rule minimizes training cost only. A model that will answer many requests should be smaller and trained for longer, as inference costs "
        "2N per token for as long as it is in service; therefore many published small models use hundreds or thousands of tokens a parameter. Kaplan and others in 2020 had recommended far larger models for the same budget; part of the difference was that their learning-rate schedule "
        "was not fitted to the length of each run.",
    },
    {
        "title": "When the loss misbehaves",
        "bullets": [
            "NaN at once: learning rate, missing mask, division by zero",
            "A spike, then recovery: usually harmless; note the batch",
            "A spike without recovery: go back to a checkpoint, skip the batches, lower the rate",
            "Too good too soon: the labels aren't shifted",
            "Training falls, held-out rises: too many passes over too little data",
        ],
        "notes": "Log at every step: loss, gradient norm before clipping, learning rate, loss scale, tokens a second. The gradient norm is the early warning; it often rises some steps before the loss does. First test of any training code: overfit a single batch. "
        "If the loss of one batch repeated a few hundred times doesn't go towards zero, there is a bug, and no amount of data will help.",
    },
    {
        "title": "Instruction tuning",
        "bullets": [
            "Supervised training on (prompt, answer) pairs in a chat template",
            "Loss on the answer's tokens only: mask the prompt",
            "Learning rate about a tenth of pretraining's; one to three epochs",
            "Risks: forgetting, and learning to assert what the model doesn't know",
        ],
        "notes": "The chat template puts special tokens around each turn. Use exactly the same template in training and in use; a missing newline can cost several points. Quality beats quantity: Zhou and others in 2023 obtained a usable assistant from 1,000 carefully chosen examples. "
        "If the answers in the data state facts which the model never saw in pretraining, it is taught to assert things it has no basis for, which encourages hallucination.",
    },
    {
        "title": "Preference tuning: RLHF and DPO",
        "bullets": [
            "RLHF: reward model from pairs, then PPO with a KL penalty to the reference (Ouyang et al., 2022)",
            "DPO: no reward model, no sampling (Rafailov et al., 2023)",
            "L = −ln σ( β [ ln π(y⁺)/π₀(y⁺) − ln π(y⁻)/π₀(y⁻) ] )",
            "Example: β = 0.1, log-ratios +2 and −3: L = −ln σ(0.5) = 0.474",
        ],
        "notes": "y plus is the preferred answer, y minus the other one, pi zero the frozen model that we started from. At the start both ratios are zero, and the loss is ln 2, 0.693. RLHF with PPO holds up to four models in memory: policy, reference, reward and value model. DPO needs two: policy and reference, "
        "and the reference's log probabilities may be computed beforehand. The penalty matters: without it the policy finds answers that the reward model likes and people don't, which is called reward hacking. A known one is length: raters like longer answers.",
    },
    {
        "title": "LoRA: train a small correction",
        "bullets": [
            "W′ = W + (α/r) · B A, with W frozen; A is r × d, B is d × r (Hu et al., 2021)",
            "Start: A random, B zero, so that W′ = W",
            "Wren, r = 8 on W_Q and W_V: 2 × 24 × 8 × 4,096 = 1,572,864 parameters, 0.12 %",
            "State: 25 MB for the adapter + 2.6 GB frozen weights, instead of 20.8 GB",
            "Afterwards merge B A into W: no cost at inference",
        ],
        "notes": "Each adapted matrix gets r times (2,048 plus 2,048) parameters. Gradients and optimizer states exist only for them: 1.57 million times 16 bytes is 25 megabytes. Activations are still needed in nearly full size, because the gradient passes through all the layers: LoRA saves state, not activations, and only little compute. "
        "Unmerged, many adapters can share one base model in a server. QLoRA (Dettmers and others, 2023) also stores the frozen weights in 4 bits; see Lecture 9.",
    },
    {
        "title": "Summary and review questions",
        "bullets": [
            "Data, then cross-entropy, then AdamW with warm-up and decay",
            "16 bytes a parameter, plus activations; checkpointing buys memory with a third more compute",
            "C = 6ND, and about 20 tokens a parameter if only training cost counts",
            "Q1: How much state does a 7-billion-parameter model need? (112 GB)",
            "Q2: Why unscale before clipping?",
            "Q3: Why does LoRA not shrink the activations much?",
        ],
        "notes": "Next week: the same training on the 32 GPUs of Fenwick. Bring the table with the 16 bytes; we'll cut it into pieces. Answer to question 3: to reach the adapters in the lower layers, the gradient must pass through every layer above them, and for this the intermediate results of those layers are needed.",
    },
]


def add_bullets(frame, bullets: list[str], size: int) -> None:
    frame.word_wrap = True
    for number, text in enumerate(bullets):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        paragraph.text = text
        paragraph.font.size = Pt(size)
        paragraph.space_after = Pt(10)


def add_table(slide, rows: list[list[str]]) -> float:
    """Adds the table below the title and returns where it ends, in inches."""
    height = 0.5 * len(rows)
    shape = slide.shapes.add_table(len(rows), len(rows[0]), Inches(0.7), Inches(1.6), Inches(11.9), Inches(height))
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            cell = shape.table.cell(r, c)
            cell.text = text
            cell.text_frame.paragraphs[0].font.size = Pt(18)
            cell.text_frame.paragraphs[0].font.bold = r == 0
    return 1.6 + height


def build(output: Path) -> None:
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(13.333), Inches(7.5)
    deck.core_properties.title, deck.core_properties.author = TITLE, "Mara Lindqvist"

    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text = TITLE
    first.placeholders[1].text = SUBTITLE
    first.notes_slide.notes_text_frame.text = TITLE_NOTES
    for shape, top, height in ((first.shapes.title, 2.0, 1.5), (first.placeholders[1], 3.7, 1.6)):
        shape.left, shape.top, shape.width, shape.height = Inches(0.7), Inches(top), Inches(11.9), Inches(height)

    for content in SLIDES:
        has_table = "table" in content
        slide = deck.slides.add_slide(deck.slide_layouts[5 if has_table else 1])
        title = slide.shapes.title
        title.left, title.top, title.width, title.height = Inches(0.7), Inches(0.35), Inches(11.9), Inches(1.0)
        title.text = content["title"]
        title.text_frame.paragraphs[0].font.size = Pt(34)
        if has_table:
            end = add_table(slide, content["table"])
            if "bullets" in content:
                box = slide.shapes.add_textbox(Inches(0.7), Inches(end + 0.3), Inches(11.9), Inches(1.2))
                add_bullets(box.text_frame, content["bullets"], 20)
        else:
            body = slide.placeholders[1]
            body.left, body.top, body.width, body.height = Inches(0.7), Inches(1.6), Inches(11.9), Inches(5.3)
            add_bullets(body.text_frame, content["bullets"], 24)
        slide.notes_slide.notes_text_frame.text = content["notes"]
    deck.save(str(output))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
