"""Every setting in one frozen value: defaults, then a TOML file, then flags; a later one wins, an unknown key is an error."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import ConfigError
from rag.presets import read_length, read_preset, read_prompt
from rag.types import Decoding

BUNDLED = "bundled"
NONE = "none"
LOCAL_SLOTS, REMOTE_SLOTS = 8, 16
REPLACE, DROP, MARK = UNSUPPORTED = ("replace", "drop", "mark")
"""What may become of a generated sentence that the materials do not hold."""
ACCESS = ("staff", "students", "login_hours")
"""Settings of who may enter: no figure depends on them, and addresses belong in no saved run."""
OF_THE_PAGE = ("upload_mb", "own_files", "own_files_mb", "own_files_sessions", "prepared_questions")
"""Settings of the page alone: no figure depends on them either."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a run of Lectern may be told. Build it with `Config.load`; inner functions get only the values they need."""

    store: Path = Path(".lectern")
    """The directory of the catalogue and the snapshots."""

    device: str = "auto"
    """`auto`, `cpu`, or a torch device such as `cuda:0`."""
    dtype: str = "auto"
    """Compute type of both models: `auto` (the fastest on this device that keeps the quality), `float32`, `bfloat16` or `float16`.
    `int8` is the embedder's and the reader's alone, on a CPU."""
    allow_downloads: bool = False
    """Whether a model named by hub id may be fetched. Off: nothing leaves this machine."""

    embedder: str = BUNDLED
    """`bundled`, a folder, or a sentence-transformers hub id."""
    chunk_tokens: int = 200
    """Longest chunk, the piece that is searched, in word pieces of the embedder; its titles and headings not counted."""
    whole_section_tokens: int = 230
    """A page, slide, cell or section with no more word pieces stays one chunk: with its headings the embedder reads it whole."""

    hits: int = 10
    """Passages a search returns."""
    candidates: int = 100
    """Passages each leg brings to the fusion."""
    dense_weight: float = 0.4
    """Share of the similarity in the fused score; the rest is BM25's."""
    foreign_dense_weight: float = 0.2
    """The same for questions in a language that the embedder was not made for."""
    phrase_weight: float = 0.5
    """What two words of the question side by side count in BM25; a word counts 1."""
    passage_tokens: int = 400
    """A found chunk grows over its neighbours up to so many word pieces, within its page, slide, cell or section; 0 leaves it as it is."""
    collapse_duplicates: bool = True
    """Whether passages of several places that say the same in nearly the same words are one hit."""
    correct_spelling: bool = True
    """Whether words that the course does not hold are taken for the ones it holds that are a slip or two away; it is told."""
    prefer_named_parts: bool = True
    """Whether passages of a week, lecture, assignment or material that the question names come before others."""
    hits_per_document: int = 3
    """At most so many passages of one document where a question is broad (an overview, a comparison); 0 for any number."""
    reranker: str = NONE
    """`none`, a folder, or a hub id of a CrossEncoder."""
    rerank_candidates: int = 30
    """Chunks that the reranker reads."""
    reader: str = BUNDLED
    """`bundled`, `none`, or a folder of `python -m rag tune reader`."""
    reader_passages: int = 10
    """Chunks that the reader reads."""
    reader_weight: float = 0.2
    """Its share in a hit's score, 0 to 1."""

    generator: str = BUNDLED
    """`bundled`, a folder, a hub id of a causal LM, or `none` for extractive answers only."""
    base_url: str = ""
    """An OpenAI-compatible server; when set, `generator` is the model's name there."""
    api_key_variable: str = "LECTERN_API_KEY"
    """Name of the environment variable that holds the server's key. Keys do not belong in files."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    num_beams: int = 1
    """More than 1 searches for the likeliest text along so many beams: slower, one question at a time, shown when it is finished."""
    max_new_tokens: int = 160
    seed: int = 0
    prompt_lookup_tokens: int = 4
    """Tokens guessed at once from the prompt; same greedy output, faster. 0 turns it off."""
    generator_cache_mb: int = 512
    """Memory for the keys and values of answers in work and of prompts read before (the prefix cache)."""
    prefix_cache: bool = True
    """Whether what a prompt shares with an earlier one is taken from memory instead of read again."""
    own_decoder: bool = True
    """Whether models of the Llama kind are computed by our own decoder, many answers at once; off: by transformers, one at a time."""
    quantize: str = NONE
    """`none`, `8bit` or `4bit`: the generator's weights packed by bitsandbytes, on a GPU."""
    adapter: str = BUNDLED
    """`bundled` (Lectern's own, for the bundled generator alone), `none`, or a folder with a LoRA adapter as peft saves it."""

    connect_timeout_s: float = 5.0
    """Longest wait for a generator's server to take the connection,"""
    timeout_s: float = 30.0
    """for its first token,"""
    token_timeout_s: float = 20.0
    """and from one token to the next."""
    server_retries: int = 2
    """Further tries before the first token, where the failure may pass (nobody listens, 429, 502 to 504, a time-out)."""
    breaker_failures: int = 3
    """Failed answers in a row after which a server is left alone: answers are then extractive at once."""
    breaker_open_s: float = 30.0
    """For so long; then one question tries it."""

    slots: int = 0
    """Questions generated at once; 0 for what suits: 8 in this process, 16 with a server."""
    waiting: int = 32
    """Questions that wait for a slot; further ones are answered extractively at once."""
    deadline_s: float = 60.0
    """Longest time for generating an answer, waiting included. What is written and checked by then is the answer."""
    cached_answers: int = 500
    """Answers kept in memory to be given again to the same question; 0 for none."""
    prepared_questions: int = 60
    """Suggested questions for which retrieval is done while the reader reads, and kept in memory; 0 for none."""
    server_context_tokens: int = 8192
    """What the model of a generator's server reads and writes in all; one in this process says so itself."""

    preset: str = ""
    """A named set of settings (`exact`, `explain`, `quick`, `large-server`) that the file's and the flags' settings change further."""
    prompt: str = "short"
    """What the generator is told: a table of rag/presets/prompts.toml."""
    length: str = "medium"
    """`short`, `medium` or `long` answers: sets `answer_sentences` and `max_new_tokens` where these are not set beside it."""
    language: str = "auto"
    """Language of the answers: `auto`, the question's, or an ISO 639-1 code. The bundled generator writes English."""
    history_tokens: int = 400
    """Tokens of earlier messages in a prompt, at most; 0 for none."""

    context_tokens: int = 700
    """Word pieces of evidence in a prompt."""
    sources: int = 4
    """Passages an answer may draw on."""
    answer_sentences: int = 3
    """Generation ends with so many supported sentences."""
    unsupported: str = "replace"
    """What becomes of generated sentences that the materials do not hold in full: `replace` (the strongest statement stands in for them),
    `drop`, or `mark` (they are shown, marked; for a strong generator on a server. A small one's are mostly wrong)."""
    prompt_statements: int = 3
    """Sentences of the materials that the generator is given. A small model copies right from two or three and gets lost in more."""
    skip_instructions: bool = True
    """Whether statements of the materials that speak to an assistant ("ignore previous instructions") are no evidence; it is told."""
    confidence_floor: float = 0.33
    """Below it Lectern says that the materials do not hold the answer. From a cost (`evidence.floor_of_cost`): to answer a question that
    has no answer is twice as bad as to refuse one that has, and one question in five has none."""
    judge_base_url: str = ""
    """An OpenAI-compatible server whose model judges answers in `rag evaluate --answers`; none is asked by default."""
    judge_model: str = ""
    """The model's name there; it should be a good deal stronger than the generator."""
    question_characters: int = 2000
    """Longest question taken."""
    upload_mb: int = 50
    """Largest file that can be added on the page. The server takes none larger than `server.maxUploadSize` in .streamlit/config.toml."""
    own_files: int = 20
    """Files of their own that visitors may add for the length of a session,"""
    own_files_mb: int = 50
    """so large together,"""
    own_files_sessions: int = 20
    """and so many sessions at once; 0 for none."""

    staff: tuple[str, ...] = ()
    """E-mail addresses of those who may do everything, where the page asks for a login (README); all others are students."""
    students: tuple[str, ...] = ()
    """Addresses, or domains such as `@uni.edu`, of those who may log in at all; empty: whoever the provider knows."""
    login_hours: float = 12.0
    """For so long a login counts."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("dense_weight", 0.0, 1.0),
            ("foreign_dense_weight", 0.0, 1.0),
            ("phrase_weight", 0.0, 10.0),
            ("passage_tokens", 0, 100_000),
            ("hits_per_document", 0, 1000),
            ("rerank_candidates", 1, 1000),
            ("reader_passages", 1, 1000),
            ("reader_weight", 0.0, 1.0),
            ("confidence_floor", 0.0, 1.0),
            ("top_p", 0.0, 1.0),
            ("temperature", 0.0, 10.0),
            ("chunk_tokens", 16, 100_000),
            ("whole_section_tokens", 0, 100_000),
            ("hits", 1, 1000),
            ("candidates", 1, 10_000),
            ("sources", 1, 100),
            ("max_new_tokens", 1, 100_000),
            ("num_beams", 1, 16),
            ("generator_cache_mb", 1, 1_000_000),
            ("repetition_penalty", 0.1, 10.0),
            ("top_k", 0, 1_000_000),
            ("connect_timeout_s", 0.001, 3600.0),
            ("timeout_s", 0.001, 3600.0),
            ("token_timeout_s", 0.001, 3600.0),
            ("server_retries", 0, 10),
            ("breaker_failures", 1, 1000),
            ("breaker_open_s", 0.0, 86_400.0),
            ("slots", 0, 10_000),
            ("waiting", 0, 100_000),
            ("deadline_s", 0.001, 86_400.0),
            ("cached_answers", 0, 1_000_000),
            ("prepared_questions", 0, 100_000),
            ("server_context_tokens", 256, 100_000_000),
            ("history_tokens", 0, 100_000_000),
            ("context_tokens", 1, 100_000_000),
            ("prompt_statements", 1, 10_000),
            ("answer_sentences", 1, 10_000),
            ("login_hours", 0.01, 720.0),
            ("upload_mb", 1, 10_000),
            ("own_files", 1, 10_000),
            ("own_files_mb", 1, 100_000),
            ("own_files_sessions", 0, 10_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}; expected {low} to {high}")
        read_prompt(self.prompt)
        read_length(self.length)
        if not re.fullmatch(r"auto|[a-z]{2}", self.language):
            raise ConfigError(f"language is {self.language!r}; expected auto or a code of two letters such as en (ISO 639-1)")
        if self.quantize not in (NONE, "8bit", "4bit"):
            raise ConfigError(f"quantize is {self.quantize!r}; expected none, 8bit or 4bit")
        if self.unsupported not in UNSUPPORTED:
            raise ConfigError(f"unsupported is {self.unsupported!r}; expected {', '.join(UNSUPPORTED)}")

        for name in ("staff", "students"):
            for one in getattr(self, name):
                if not re.fullmatch(r"[^@\s]+@[^@\s]+" if name == "staff" else r"[^@\s]*@[^@\s]+", one):
                    raise ConfigError(f"{name} holds {one!r}; expected e-mail addresses" + " or @domains" * (name == "students"))

    @property
    def generation_slots(self) -> int:
        """Answers generated at once: more in this process make each of them slow, a server queues by itself."""
        return self.slots or (REMOTE_SLOTS if self.base_url else LOCAL_SLOTS)

    @property
    def names_adapter(self) -> bool:
        """Whether `adapter` is a folder of one's own."""
        return self.adapter not in ("", NONE, BUNDLED)

    @property
    def decoding(self) -> Decoding:
        return Decoding(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Decoding)})

    @classmethod
    def load(cls, path: Path | None = None, **flags: Any) -> Config:
        """The settings of this run: defaults, then the preset, then the file, then flags.

        Args:
            path: a TOML file; without one `$LECTERN_CONFIG`, then `lectern.toml` in the working directory if it is there.
            flags: settings from the command line; those that are None were not given.

        Raises:
            ConfigError: the file is missing or no TOML, a key or preset is unknown, a value has the wrong type or is out of range.
        """
        values: dict[str, Any] = {}
        if store := os.environ.get("LECTERN_STORE"):
            values["store"] = store
        told = {key: value for key, value in flags.items() if value is not None}
        file = _read_toml(path)
        for layer in (_preset_of(file | told), file, told):
            values |= _with_length(layer)
        return cls(**_checked(values))

    def adjusted(self, **changes: Any) -> Config:
        """These settings with some changed, checked as in `load`; a preset or a length among them brings its own.

        Raises:
            ConfigError: a setting is unknown, or a value has the wrong type or is out of range.
        """
        values = _with_length(_preset_of(changes)) | _with_length(changes)
        return dataclasses.replace(self, **_checked(values))

    def replace(self, **changes: Any) -> Config:
        return dataclasses.replace(self, **changes)


def _preset_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    name = settings.get("preset")
    return read_preset(name) if isinstance(name, str) and name else {}


def _with_length(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with what their `length` stands for; what is set beside it wins."""
    name = settings.get("length")
    if not isinstance(name, str):
        return dict(settings)
    return {key: value for key, value in read_length(name).items() if key != "asked_for"} | dict(settings)


def _read_toml(path: Path | None) -> dict[str, Any]:
    named = path or (Path(os.environ["LECTERN_CONFIG"]) if "LECTERN_CONFIG" in os.environ else None)
    file = named or Path("lectern.toml")
    if not file.exists():
        if named is None:
            return {}
        raise ConfigError(f"there is no config file {file}; name an existing one or leave it out")
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{file} is not valid TOML: {e}") from e


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Config)}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in kinds:
            raise ConfigError(f"unknown setting {key!r}; the settings are: {', '.join(sorted(kinds))}")
        kind = kinds[key]
        if issubclass(kind, Path) and isinstance(value, str):
            value = Path(value)
        elif kind is float and type(value) is int:
            value = float(value)
        elif kind is tuple and isinstance(value, list) and all(isinstance(one, str) for one in value):
            value = tuple(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"{key} is {value!r}; expected {'a list of texts' if kind is tuple else kind.__name__}")
        checked[key] = value
    return checked
