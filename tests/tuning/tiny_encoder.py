"""An encoder of two layers and random weights, as a sentence-transformers folder; and hand-made examples for it."""

from __future__ import annotations

import json
from pathlib import Path

from tuning.examples import Example, LabelledPassage

TOPICS = {
    "What is the late policy?": "Each late day costs ten points and no work is accepted after one week.",
    "When is the midterm?": "The midterm takes place on March 9 in the big hall.",
    "Who teaches the course?": "Professor Okafor gives the lectures and Dr. Lindqvist the labs.",
    "Where are office hours?": "Office hours are held in room 214 on Tuesdays.",
    "How much does the project count?": "The project counts forty percent of the grade.",
    "Which book is used?": "We follow the book by Hecht on optics.",
    "What is focal length?": "The focal length is the distance at which parallel rays meet.",
    "What is aberration?": "Spherical aberration blurs the image since marginal rays meet closer.",
    "What is refraction?": "Light bends when it enters a denser medium.",
    "What must a lab report hold?": "A lab report holds aim, method, data and a discussion.",
    "How is attendance counted?": "Two missed labs are excused, further ones lower the grade.",
    "What is a diffraction grating?": "Many parallel slits split light by wavelength.",
}


def examples() -> list[Example]:
    """A dozen questions: of each the right passage, behind three of other questions."""
    questions = list(TOPICS)
    made = []
    for number, question in enumerate(questions):
        others = [TOPICS[questions[(number + step) % len(questions)]] for step in (1, 4, 7)]
        passages = tuple(LabelledPassage("Optics", text, answers=False, relevant=False) for text in others)
        right = LabelledPassage("Optics", TOPICS[question], answers=True, relevant=True)
        made.append(Example(question, (*passages, right), (), "fact", f"optics/{number % 4}"))
    return made


def save_tiny_encoder(folder: Path) -> Path:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(5)
    words = sorted(
        {
            word
            for text in (*TOPICS, *TOPICS.values(), "Optics")
            for word in text.lower().replace(".", "").replace("?", "").replace(",", "").split()
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "?", *words]) + "\n")
    tokenizer = BertTokenizerFast(str(vocabulary), model_max_length=64)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    modules = [("", "models.Transformer"), ("1_Pooling", "models.Pooling"), ("2_Normalize", "models.Normalize")]
    rows = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}))
    return folder
