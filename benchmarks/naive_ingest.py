"""`python benchmarks/naive_ingest.py FOLDER OUT`: PDFs to a FAISS file as most tutorials write it. The yardstick of `rag bench ingest`.

One process, one step after the other: all pages read, all text cut at 1,000 characters with 200 of overlap, all pieces embedded by
sentence-transformers as it comes, one flat index. Reading is pypdfium2's, as Lectern's is: the usual loaders are 20 times slower.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import faiss
import pypdfium2
from langchain_text_splitters import RecursiveCharacterTextSplitter
from sentence_transformers import SentenceTransformer


def main(folder: Path, out: Path, model: str) -> None:
    pages = [page.get_textpage().get_text_range() for path in sorted(folder.rglob("*.pdf")) for page in pypdfium2.PdfDocument(path)]
    pieces = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200).split_text("\n\n".join(pages))
    vectors = SentenceTransformer(model).encode(pieces, show_progress_bar=False)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(out / "index.faiss"))
    (out / "pieces.json").write_text(json.dumps(pieces))
    print(json.dumps({"pages": len(pages), "pieces": len(pieces)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
