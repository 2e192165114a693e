"""Everything Lectern raises on purpose. A message says what was found, what was expected and what to do.

LecternError
├── ConfigError            an unknown key, a value out of range
├── ModelError             a model file is missing, damaged, or not of the kind needed
│   └── GeneratorUnavailable   no generator can be had; answers can still be extractive
│       ├── GeneratorBusy      as many questions wait for it as may
│       └── OutOfTime          the time for one answer is used up
├── StoreError             the catalogue or the snapshot cannot be used
│   ├── StoreMissing       there is no store at that path
│   ├── StoreMismatch      it was made with another embedder or by a newer version
│   ├── StoreBusy          another process is writing
│   ├── DiskFull           there is no room to write; what is saved stays and is served
│   └── UnknownCourse      the store has no such course
├── QuestionError          an empty or enormous question, or a filter that means nothing
├── CorpusError            the folder to ingest is missing, empty, or not a folder
└── UnreadableDocument     one file cannot be read; the run sets it aside with this reason and goes on
    └── NotReadThisTime    for a reason that is not the file's; the next run tries again
"""


class LecternError(Exception):
    """Base of all: `str(error)` is one line for the person at the keyboard."""


class ConfigError(LecternError):
    pass


class ModelError(LecternError):
    pass


class GeneratorUnavailable(ModelError):
    pass


class GeneratorBusy(GeneratorUnavailable):
    pass


class OutOfTime(GeneratorUnavailable):
    pass


class StoreError(LecternError):
    pass


class StoreMissing(StoreError):
    pass


class StoreMismatch(StoreError):
    pass


class StoreBusy(StoreError):
    pass


class DiskFull(StoreError):
    pass


class UnknownCourse(StoreError):
    pass


class QuestionError(LecternError):
    pass


class CorpusError(LecternError):
    pass


class UnreadableDocument(LecternError):
    pass


class NotReadThisTime(UnreadableDocument):
    pass
