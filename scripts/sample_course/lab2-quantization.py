"""Builds labs/lab2-quantization.ipynb and runs it, so that its outputs are real: `python lab2-quantization.py OUTPUT`."""
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CELLS = [
    ("md", """# Lab 2: Quantization

CS 4470: Large Language Model Systems, Fall 2026. Due Friday, November 6, 2026, 23:59. Worth 5 % of the grade. Questions to Tomás Okafor (Mondays 16:00–17:30, Hollis B12).

You quantize matrices of the size of a small transformer layer in numpy and measure what is lost. The lab is self-contained: what you need of lecture 9 is explained here. Run all cells in order, then do the work described in the last cell. AI tools may not be used to write the reflection."""),
    ("code", """import numpy as np

rng = np.random.default_rng(4470)
np.set_printoptions(precision=4, suppress=True, linewidth=110)
print("numpy is ready; the random generator has the seed 4470")"""),
    ("md", """## 1. Symmetric int8 and back

Symmetric quantization divides by a scale so that the largest magnitude becomes 127, rounds, and multiplies back. The function below takes the axis over which the maximum is computed: `None` gives one scale for the whole array."""),
    ("code", """def quantize(x, bits=8, axis=None):
    \"\"\"Symmetric quantization: integer codes and the scale(s).\"\"\"
    top = 2 ** (bits - 1) - 1
    scale = np.abs(x).max(axis=axis, keepdims=axis is not None) / top
    return np.clip(np.round(x / scale), -top, top).astype(np.int8), scale

def dequantize(codes, scale):
    return codes * scale

x = np.array([0.314, -1.27, 0.846, 0.049])
codes, scale = quantize(x)
print("scale:", scale)
print("codes:", codes)
print("back: ", dequantize(codes, scale))"""),
    ("md", """## 2. Round-trip error of a weight matrix

Weights of a trained layer look roughly normal with a small standard deviation. We take a 512 × 512 matrix with standard deviation 0.02, and compare the measured error with the formula: for rounding, the mean squared error should be $s^2/12$, and no single error should exceed half a step. The second cell repeats the round trip with fewer bits."""),
    ("code", """W = rng.normal(0, 0.02, size=(512, 512))

def relative_error(true, approx):
    return np.linalg.norm(true - approx) / np.linalg.norm(true)

codes, scale = quantize(W)
back = dequantize(codes, scale)
print(f"scale               {scale:.6f}")
print(f"measured MSE        {np.mean((W - back) ** 2):.3e}")
print(f"predicted s^2/12    {scale ** 2 / 12:.3e}")
print(f"largest error / s   {np.abs(W - back).max() / scale:.4f}")
print(f"relative error      {relative_error(W, back):.4%}")"""),
    ("code", """print("bits  relative error  ratio to the row above")
previous = None
for bits in (8, 7, 6, 5, 4, 3):
    e = relative_error(W, dequantize(*quantize(W, bits)))
    print(f"{bits:4d}  {e:14.4%}  {'' if previous is None else f'{e / previous:.2f}'}")
    previous = e"""),
    ("md", """## 3. One outlier column

In large transformers a few hidden dimensions carry activations that are far larger than the rest. We imitate that by multiplying one input column of the activations by 60, and use one scale for the whole matrix."""),
    ("code", """X = rng.normal(0, 1, size=(256, 512))
X_out = X.copy()
X_out[:, 100] *= 60

for name, A in (("no outlier", X), ("outlier column", X_out)):
    codes, scale = quantize(A)
    back = dequantize(codes, scale)
    rest = np.delete(np.arange(512), 100)
    print(f"{name:15s} scale {scale:.4f}   relative error of the other columns {relative_error(A[:, rest], back[:, rest]):8.3%}"
          f"   codes equal to 0: {np.mean(codes[:, rest] == 0):.1%}")"""),
    ("md", """The outlier stretches the step for everybody: most ordinary activations now fall on very few codes, and many become zero. A scale per row (per token) helps only in part: each row contains an entry of the outlier's column, and where that entry is large the whole row suffers. Only a scale per column isolates it. Check it:"""),
    ("code", """rest = np.delete(np.arange(512), 100)
for name, axis in (("per tensor", None), ("per token (row)", 1), ("per column", 0)):
    back = dequantize(*quantize(X_out, axis=axis))
    print(f"{name:16s} relative error of the other columns {relative_error(X_out[:, rest], back[:, rest]):8.3%}")"""),
    ("md", """## 4. Scales per channel for the weights

Weights differ in size from channel to channel. Give the output channels (columns of `V`) standard deviations between 0.002 and 0.2 and compare one scale with one scale a column. The worst channel matters: it's the one whose information is lost."""),
    ("code", """spread = np.geomspace(0.002, 0.2, 512)
V = rng.normal(0, 1, size=(512, 512)) * spread

for name, axis in (("per tensor", None), ("per channel", 0)):
    back = dequantize(*quantize(V, axis=axis))
    by_channel = np.linalg.norm(V - back, axis=0) / np.linalg.norm(V, axis=0)
    print(f"{name:12s} whole matrix {relative_error(V, back):7.3%}   best channel {by_channel.min():7.3%}   worst channel {by_channel.max():8.3%}")"""),
    ("md", """## 5. Four bits in groups

With four bits there are 15 symmetric codes, from −7 to 7. One scale for each group of $g$ consecutive weights along the input dimension repairs much of the damage. With 16 bits a scale, the price is $16/g$ bits a weight. Some weights are heavy-tailed; we draw them from a Student $t$ distribution with 4 degrees of freedom to make the effect visible."""),
    ("code", """H = rng.standard_t(4, size=(512, 512)) * 0.02

def quantize_groups(w, g, bits=4):
    grouped = w.reshape(w.shape[0] // g, g, w.shape[1])
    return dequantize(*quantize(grouped, bits, axis=1)).reshape(w.shape)

print("layout          bits/weight  relative error")
print(f"per tensor      {4 + 16 / H.size:11.3f}  {relative_error(H, dequantize(*quantize(H, 4))):14.2%}")
for g in (512, 128, 64, 32, 16):
    print(f"group of {g:4d}   {4 + 16 / g:11.3f}  {relative_error(H, quantize_groups(H, g)):14.2%}")"""),
    ("md", """## 6. What the matrix product feels

The layer's output is what counts. We multiply activations with an outlier column by weights and compare four schemes: everything in int8 per tensor; int8 with a scale per token and per channel; the decomposition of LLM.int8(), which keeps columns with a magnitude of 6 or more in floating point; and weights in 4-bit groups of 64 with exact activations."""),
    ("code", """def int8_matmul(A, B, per_vector):
    qa, sa = quantize(A, axis=1 if per_vector else None)
    qb, sb = quantize(B, axis=0 if per_vector else None)
    return (qa.astype(np.int32) @ qb.astype(np.int32)) * sa * sb

exact = X_out @ W
outlier = np.abs(X_out).max(axis=0) >= 6.0
mixed = X_out[:, outlier] @ W[outlier] + int8_matmul(X_out[:, ~outlier], W[~outlier], True)

print("columns kept in floating point:", np.flatnonzero(outlier))
print(f"int8, per tensor             {relative_error(exact, int8_matmul(X_out, W, False)):7.3%}")
print(f"int8, per token and channel  {relative_error(exact, int8_matmul(X_out, W, True)):7.3%}")
print(f"LLM.int8() decomposition     {relative_error(exact, mixed):7.3%}")
print(f"4-bit weights, groups of 64  {relative_error(exact, X_out @ quantize_groups(W, 64)):7.3%}")"""),
    ("md", """## 7. Wren's size

The last computation: how many gigabytes do Wren's 1.3 billion weights take in each layout, if each group has a 16-bit scale?"""),
    ("code", """n = 1.3e9
for name, bits in (("fp16", 16), ("int8, scale per channel of 2048", 8 + 16 / 2048), ("int4, g=128", 4 + 16 / 128), ("int4, g=64", 4 + 16 / 64), ("int4, g=32", 4 + 16 / 32)):
    print(f"{name:32s} {bits:7.3f} bits   {n * bits / 8 / 1e9:.3f} GB")"""),
    ("md", """## To hand in

Add your cells below this one and upload the notebook with all outputs as `lab2-<netid>.ipynb`. The lab has five points, each worth one per cent of the course grade: three for code and two for the reflection.

**Code (3 points)**

- A. (1.5 points) Write `quantize_affine(x, bits)`, which returns codes, scale and zero point. For the range from −1 to 3 and 8 bits it must give the scale 0.015686, the zero point 64, and the code 96 for the value 0.5; check this with `assert`.
- B. (1.5 points) Search for a clipping point: quantize `H` of section 5 to 4 bits per tensor, but replace the largest magnitude by $c$ times itself, for $c$ from 0.05 to 1. Plot or print the relative error against $c$. The best one must be below the error without clipping.

**Reflection (2 points, in your own words, about 300 words in all, no AI tools)**

1. (0.5 points) In section 2 the error roughly doubles with each bit removed. Why does the ratio grow beyond 2 at the lowest widths?
2. (0.5 points) Explain why scales per token don't cure an outlier *column*, and why scales per column, which do, can't be used in an integer matrix product.
3. (0.5 points) In section 5, which group size would you choose for Wren, and why? Use bits per weight and error.
4. (0.5 points) In section 6 the outlier column also dominates the exact result. How would you change the measure so that errors in the other columns aren't hidden?"""),
]


def build(output: Path) -> None:
    notebook = new_notebook(cells=[(new_markdown_cell if kind == "md" else new_code_cell)(text) for kind, text in CELLS])
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}, "language_info": {"name": "python"},
                         "title": "Lab 2: Quantization"}
    NotebookClient(notebook, timeout=120, kernel_name="python3", coalesce_streams=True).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, str(output))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
