"""Builds the sample course's binary files from the sources beside this script: `make course`.

Markdown, HTML, TeX, text and subtitles are written by hand in corpora/llm-systems itself.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import typst

SOURCES = Path(__file__).parent
COURSE = SOURCES.parent.parent / "corpora" / "llm-systems"
TARGETS = {
    "01-language-models.typ": "lectures/01-language-models.pdf",
    "03-transformer.typ": "lectures/03-transformer.pdf",
    "04-training.py": "lectures/04-training.pptx",
    "05-distributed-training.typ": "lectures/05-distributed-training.pdf",
    "06-gpu-performance.py": "lectures/06-gpu-performance.pptx",
    "07-inference-kv-cache.typ": "lectures/07-inference-kv-cache.pdf",
    "10-retrieval-augmented-generation.typ": "lectures/10-retrieval-augmented-generation.pdf",
    "11-evaluation.py": "lectures/11-evaluation.pptx",
    "assignment-2.py": "assignments/assignment-2.docx",
    "assignment-3.py": "assignments/assignment-3.docx",
    "lab1-attention.py": "labs/lab1-attention.ipynb",
    "lab2-quantization.py": "labs/lab2-quantization.ipynb",
    "syllabus.py": "syllabus.docx",
}


def main() -> None:
    for source, target in TARGETS.items():
        path, output = SOURCES / source, COURSE / target
        if path.suffix == ".typ":
            typst.compile(str(path), output=str(output))
        else:
            runpy.run_path(str(path))["build"](output)
        print(target)


if __name__ == "__main__":
    main()
