"""What answering needs, loaded once: search, generator, the queue in front of it, what is kept to be given again or asked next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from langchain_core.language_models import BaseChatModel

from rag.admission import Admission
from rag.answer_cache import AnswerCache
from rag.config import Config
from rag.errors import GeneratorUnavailable, LecternError
from rag.generate import forget_prompts, is_loaded, load, load_chat_model
from rag.ground import forget_texts
from rag.prepared import Prepared
from rag.retrieve import Searcher
from rag.store import Store
from rag.types import Scope, Turn

_LOG = logging.getLogger("lectern")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Engine:
    """What answering needs, loaded once and shared by all askers."""

    searcher: Searcher
    chat_model: BaseChatModel | None
    config: Config
    admission: Admission = field(default_factory=Admission)
    cache: AnswerCache = field(default_factory=AnswerCache)
    prepared: Prepared = field(default_factory=Prepared)

    @classmethod
    def from_config(cls, config: Config, notify: Callable[[str], None] = _LOG.warning) -> Engine:
        """Everything the config names. A generator that cannot be had is a notice, not an error: answers are then extractive.

        Args:
            notify: told, in a sentence, of whatever is missing or had to be repaired, now or later.
        """
        searcher = Searcher.from_config(config, notify)
        try:
            chat_model = load_chat_model(config)
        except GeneratorUnavailable as e:
            chat_model = None
            notify(f"answers are extractive: {e}")
        return cls.of(searcher, chat_model, config)

    @classmethod
    def of(cls, searcher: Searcher, chat_model: BaseChatModel | None, config: Config) -> Engine:
        """An engine over what is already open, with the queue and the cache that the config names."""
        prepared = Prepared(config.prepared_questions)
        cache = AnswerCache(config.cached_answers, partial(_forget_texts, chat_model))
        return cls(searcher, chat_model, config, Admission(config.generation_slots, config.waiting), cache, prepared)

    def prepare(self, questions: Sequence[str], scope: Scope, history: Sequence[Turn] = (), asker: str = "") -> None:
        """Begins to retrieve, in the background, for questions that an asker may ask next; returns at once.

        Args:
            history: as it will be when one of them is asked.
        """
        self.prepared.prepare(questions, scope, self.searcher, self.config.sources, history, asker)

    def over(self, store: Store) -> Engine:
        """An engine over another store, with the models, the queue and the settings of this one; the answers it keeps are its own."""
        engine = Engine.of(self.searcher.over(store), self.chat_model, self.config.replace(store=store.directory))
        return replace(engine, admission=self.admission)

    def close(self) -> None:
        """Lets go of every text that is kept between questions, and of the threads that search. The models stay loaded."""
        self.prepared.close()  # first: its thread searches
        self.cache.clear()
        _forget_texts(self.chat_model)
        self.searcher.close()

    def load_in_background(self) -> None:
        """Begins to load the weights of the reader and the generator, so that the first question does not wait for all of them."""
        reader, model = self.searcher.reader, self.chat_model
        if (reader is not None and not reader.is_loaded) or (model is not None and not is_loaded(model)):
            threading.Thread(target=self._load, name="load the models", daemon=True).start()

    def _load(self) -> None:
        with suppress(LecternError):  # the first question meets it too, and tells its reader
            if self.searcher.reader is not None:
                self.searcher.reader.load()
            if self.chat_model is not None and not is_loaded(self.chat_model):
                load(self.chat_model)

    @property
    def identity(self) -> Hashable:
        """What, beside question, scope and history, an answer depends on."""
        model, reader = self.chat_model, self.searcher.reader
        return (
            self.config,
            None if reader is None else reader.revision,
            None if model is None else (model._llm_type, repr(model._identifying_params)),
        )


def _forget_texts(chat_model: BaseChatModel | None) -> None:
    """Whatever holds texts of an earlier state of the store and does not watch it: grounding, the generator's prefix cache."""
    forget_texts()
    if chat_model is not None:
        forget_prompts(chat_model)
