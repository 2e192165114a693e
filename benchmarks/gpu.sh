#!/usr/bin/env bash
# Runs what needs an NVIDIA GPU: the GPU tests, the embedder's speed beside sentence-transformers' defaults, the search by size, and the
# generator beside generate(); the memory that a configuration takes, and the table of short fits of a reader and of an adapter.
# Writes both, with the date and the hardware, to benchmarks/results/. Run from anywhere, with the project installed in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
"$python" -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else "torch finds no CUDA device here; nothing to measure")'

mkdir -p benchmarks/results
results="benchmarks/results/gpu-$(date -u +%Y%m%dT%H%M%SZ)"
{
  date -u +%FT%TZ
  nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
  "$python" -c 'import torch; print("torch", torch.__version__, "cuda", torch.version.cuda)'
} | tee "$results.txt"

"$python" -m pytest -q -m models tests/rag/test_embed.py tests/rag/test_models.py tests/rag/test_bench.py | tee -a "$results.txt"
"$python" -m pytest -q tests/rag/test_vectors.py tests/rag/test_snapshots.py tests/rag/test_decoder.py | tee -a "$results.txt"
"$python" -m pytest -q -m models tests/rag/test_reader.py tests/tuning | tee -a "$results.txt"
"$python" -m rag bench embed --device cuda --json | tee "$results.json"
"$python" -m rag bench search --device cuda --json | tee -a "$results.json"
"$python" -m rag bench answer --device cuda --json | tee -a "$results.json"
"$python" -m rag footprint --device cuda | tee -a "$results.txt"
for task in reader generator; do
  "$python" -m rag tune "$task" --data fitting/courses/* --device cuda --steps 20 --workers 4 \
    --grid batch=8,16,32,64 accumulation=1,2,4 checkpointing=on,off precision=fp32,bf16 | tee -a "$results.txt"
done
echo "written: $results.txt $results.json"
