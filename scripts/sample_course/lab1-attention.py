"""Builds labs/lab1-attention.ipynb and runs it, so that its outputs are real."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

# (kind, text): md or code
CELLS = [
    ("md", """# Lab 1: Attention by hand

CS 4470: Large Language Model Systems, Fall 2026. **Due Friday, October 2, 2026, 23:59.** Worth 5 % of the grade. Questions to Tomás Okafor (Mondays 16:00–17:30, Hollis B12).

You build attention from its parts in numpy, check every step against a calculation on paper, and measure how its time grows with the length of the sequence. All you need stands in Lecture 3 and runs on a laptop. Run all cells in order, then do the work in the last cell. AI tools may not be used to write the reflection."""),
    ("code", """import time

import numpy as np

rng = np.random.default_rng(4470)
np.set_printoptions(precision=4, suppress=True)"""),
    ("md", """## 1. Softmax

$\\mathrm{softmax}(z)_i = e^{z_i} / \\sum_j e^{z_j}$. The first version follows the formula and fails for large inputs. The second subtracts the maximum first, which changes nothing mathematically, because the factor $e^{-\\max z}$ cancels."""),
    ("code", """def softmax_naive(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


small, large = np.array([1.0, 2.0, 0.0]), np.array([1001.0, 1002.0, 1000.0])
with np.errstate(over="ignore", invalid="ignore"):
    print("naive, small inputs: ", softmax_naive(small))
    print("naive, large inputs: ", softmax_naive(large))
print("stable, small inputs:", softmax(small))
print("stable, large inputs:", softmax(large))"""),
    ("md", """Both rows of the stable version agree, since only differences between inputs matter. The naive version overflows: `exp(1001)` exceeds the largest double, about $1.8 \\times 10^{308}$, and infinity divided by infinity is `nan`."""),
    ("md", """## 2. Scaled dot-product attention

The example of Lecture 3, section 2.2: one query, three keys of dimension 4, values of dimension 2. Do it on paper first."""),
    ("code", """def attention(q, k, v, mask=None):
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    weights = softmax(scores)
    return weights @ v, weights


q = np.array([[2.0, 1.0, 0.0, 1.0]])
k = np.array([[1.0, 0.0, 1.0, 0.0], [2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
v = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
out, weights = attention(q, k, v)
print("scores :", q @ k.T)
print("weights:", weights)
print("output :", out)"""),
    ("md", """### 2.1 Why divide by the square root?

For random queries and keys with variance 1 the raw scores have a standard deviation of about $\\sqrt{d_h}$. The next cell measures this and shows what it does to the largest of 64 attention weights."""),
    ("code", """print("  d_h   std of scores   largest weight, unscaled   scaled")
for dh in (16, 64, 128, 512):
    queries, keys = rng.normal(size=(400, dh)), rng.normal(size=(64, dh))
    raw = queries @ keys.T
    top_raw = softmax(raw).max(axis=-1).mean()
    top_scaled = softmax(raw / np.sqrt(dh)).max(axis=-1).mean()
    print(f"{dh:5d}   {raw.std():13.2f}   {top_raw:24.3f}   {top_scaled:6.3f}")"""),
    ("md", """Without the scaling, one key takes nearly everything as soon as the heads have a realistic size. With it the largest weight hardly depends on $d_h$."""),
    ("md", """## 3. The causal mask

Position $t$ may see positions up to $t$. The mask is a lower triangle of `True`."""),
    ("code", """T, d = 5, 8
x = rng.normal(size=(T, d))
causal = np.tril(np.ones((T, T), dtype=bool))
out, weights = attention(x, x, x, causal)
print(weights)
print("row sums:", weights.sum(axis=-1))"""),
    ("md", """A test that finds most mask errors: change the **last** token and look whether any **earlier** output moves. It mustn't."""),
    ("code", """changed = x.copy()
changed[-1] += 10.0
out_causal, _ = attention(changed, changed, changed, causal)
out_before, _ = attention(x, x, x)
out_after, _ = attention(changed, changed, changed)
print("largest change in positions 1-4, with the mask:   ", np.abs(out_causal - out)[:-1].max())
print("largest change in positions 1-4, without the mask:", round(np.abs(out_after - out_before)[:-1].max(), 4))"""),
    ("md", """## 4. Several heads

The $d$ columns are cut into $h$ groups, attention runs in each, and an output matrix mixes the joined results. The reshapes are where errors hide: first `(T, d)` to `(T, heads, d_h)`, then the head axis to the front."""),
    ("code", """def multi_head(x, wq, wk, wv, wo, heads, mask):
    T, d = x.shape

    def split(m):
        return m.reshape(T, heads, d // heads).transpose(1, 0, 2)

    out, weights = attention(split(x @ wq), split(x @ wk), split(x @ wv), mask)
    return out.transpose(1, 0, 2).reshape(T, d) @ wo, weights


T, d, heads = 6, 32, 4
x = rng.normal(size=(T, d))
wq, wk, wv, wo = (rng.normal(size=(d, d)) / np.sqrt(d) for _ in range(4))
causal = np.tril(np.ones((T, T), dtype=bool))
y, weights = multi_head(x, wq, wk, wv, wo, heads, causal)
print("output", y.shape, " weights", weights.shape)

# The same, head by head with plain slices
dh = d // heads
parts = []
for i in range(heads):
    cols = slice(i * dh, (i + 1) * dh)
    parts.append(attention((x @ wq)[:, cols], (x @ wk)[:, cols], (x @ wv)[:, cols], causal)[0])
print("agrees with the loop:", np.allclose(y, np.concatenate(parts, axis=1) @ wo))"""),
    ("md", """### 4.1 One new token with a cache

In generation, keys and values of old tokens don't change. So the last row can be computed from stored keys and values and a single new query. This is the idea of the KV cache (Lecture 7)."""),
    ("code", """K, V = x @ wk, x @ wv          # a server keeps the first T - 1 rows of these and appends one
q_new = x[-1:] @ wq
parts = []
for i in range(heads):
    cols = slice(i * dh, (i + 1) * dh)
    parts.append(attention(q_new[:, cols], K[:, cols], V[:, cols])[0])
step = np.concatenate(parts, axis=1) @ wo
print("same as the last row of the full pass:", np.allclose(step[0], y[-1]))"""),
    ("md", """## 5. Time against length

The score matrix has $T^2$ entries, so doubling $T$ should multiply the time by about four once $T$ is large. We time one head of dimension 128, the size in Wren, in single precision, and take the best of five runs. Your times will differ; the ratios shouldn't differ much."""),
    ("code", """def best_time(f, runs=5):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


print("    T    scores in MB    time in ms    ratio")
previous = None
for T in (256, 512, 1024, 2048, 4096):
    a = rng.normal(size=(T, 128)).astype(np.float32)
    seconds = best_time(lambda: attention(a, a, a))
    ratio = "" if previous is None else f"{seconds / previous:.1f}"
    print(f"{T:5d}    {T * T * 4 / 1e6:12.1f}    {seconds * 1e3:10.2f}    {ratio:>5}")
    previous = seconds"""),
    ("md", """## 6. What to hand in

Complete the notebook below this cell and upload it as `lab1-<netid>.ipynb`. Five points in all:

1. **(1 point) Permutation.** Show in code that attention *without* a mask, applied to a permuted sequence, gives the permuted output. Explain in two sentences why this makes position information necessary.
2. **(1 point) A wrong mask.** Set the forbidden *weights* to zero after the softmax instead of masking the scores. Print the row sums and say which rows are most wrong.
3. **(1 point) Grouped queries.** Change `multi_head` so that 4 query heads share 2 key-value heads. Give the shapes of `wk` and `wv`, and say by what factor the cache shrinks.
4. **(1 point) Timing.** Plot or tabulate your times of section 5 with a logarithmic scale on both axes. At which length does the ratio come close to 4, and why not earlier?
5. **(1 point) Reflection.** In 150 to 200 words of your own: which step did you get wrong first, and how did you notice? AI tools may not be used for this part."""),
]


def build(output: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, (kind, text) in enumerate(CELLS, start=1):
        make = nbformat.v4.new_markdown_cell if kind == "md" else nbformat.v4.new_code_cell
        notebook.cells.append(make(text, id=f"cell-{number:02d}"))
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # time stamps that would differ at each build
    nbformat.write(notebook, str(output))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
