import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.walk import Known, SourceFile, compare, course_folders, walk
from rag.errors import CorpusError


def test_walk_takes_files_in_order_and_leaves_out_what_is_hidden(course_folder: Path) -> None:
    (course_folder / ".git").mkdir()
    (course_folder / ".git" / "config").write_text("x")
    (course_folder / ".hidden").write_text("x")
    (course_folder / "course.toml").write_text("")
    (course_folder / "questions.jsonl").write_text("{}")
    files, refused = walk(course_folder)
    assert [file.source for file in files] == ["notes/week02-lenses.md", "syllabus.md"]
    assert refused == {}


def test_symbolic_links_are_refused_not_followed(course_folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    (course_folder / "link.txt").symlink_to(secret)
    (course_folder / "linked").symlink_to(tmp_path)
    files, refused = walk(course_folder)
    assert len(files) == 2
    assert set(refused) == {"link.txt", "linked"}
    assert "symbolic link" in refused["link.txt"]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no files; put the course's materials there"):
        walk(tmp_path)


@pytest.mark.parametrize(("name", "message"), [("none", "is missing"), ("file", "is not a folder")])
def test_a_path_that_is_no_folder_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CorpusError, match=message):
        course_folders(tmp_path / name)


def test_a_collection_is_its_courses_and_a_course_is_itself(tmp_path: Path) -> None:
    corpora = tmp_path / "corpora"
    for course in ("b", "a", ".hidden"):
        (corpora / course / "lectures").mkdir(parents=True)
    assert course_folders(corpora) == [corpora / "a", corpora / "b"]
    assert course_folders(corpora / "a") == [corpora / "a"]
    assert course_folders(corpora, as_course=True) == [corpora]
    other = tmp_path / "other"
    (other / "c").mkdir(parents=True)
    assert course_folders(other) == [other]
    (other / "c" / "course.toml").write_text("")
    assert course_folders(other) == [other / "c"]


def file(source: str, sha256: str) -> SourceFile:
    return SourceFile(source, Path(source), sha256)


def test_compare_tells_new_changed_unchanged_renamed_and_removed() -> None:
    known = {"same": Known("1"), "changed": Known("2"), "old-name": Known("3"), "gone": Known("4")}
    files = [file("same", "1"), file("changed", "22"), file("new-name", "3"), file("new", "5")]
    changes = compare(files, known)
    assert [f.source for f in changes.unchanged] == ["same"]
    assert [f.source for f in changes.changed] == ["changed"]
    assert {old: f.source for old, f in changes.renamed.items()} == {"old-name": "new-name"}
    assert [f.source for f in changes.new] == ["new"]
    assert changes.removed == ["gone"]


STATE = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"))


@given(known=STATE, now=STATE)
def test_every_file_and_every_known_source_is_accounted_for_once(known: dict[str, str], now: dict[str, str]) -> None:
    changes = compare([file(source, sha256) for source, sha256 in now.items()], {source: Known(sha256) for source, sha256 in known.items()})
    accounted = [f.source for f in (*changes.new, *changes.changed, *changes.unchanged, *changes.renamed.values())]
    assert sorted(accounted) == sorted(now)
    assert sorted([*changes.renamed, *changes.removed]) == sorted(set(known) - set(now))


def test_a_folder_that_cannot_be_listed_is_an_error(course_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("notes"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(CorpusError, match=r"notes cannot be listed \(Permission denied\); nothing of the course was changed"):
        walk(course_folder)


def test_a_name_that_is_not_utf8_is_refused(course_folder: Path) -> None:
    (course_folder / os.fsdecode(b"\xfcbung.md")).write_text("x")
    files, refused = walk(course_folder)
    assert len(files) == 2
    assert refused == {"\\udcfcbung.md": "has a name that is not UTF-8; rename it"}


def touched_long_ago(path: Path) -> None:
    os.utime(path, (1_700_000_000, 1_700_000_000))


def known_of(folder: Path) -> dict[str, Known]:
    return {file.source: Known(file.sha256, file.recipe, file.fingerprint) for file in walk(folder)[0]}


def test_a_file_with_the_known_fingerprint_is_not_read_again(course_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.walk.SETTLED_NS", -(10**12))  # these files are as good as old
    known = known_of(course_folder)
    monkeypatch.setattr("hashlib.file_digest", None)
    files, _ = walk(course_folder, known)
    assert {file.source: file.sha256 for file in files} == {source: file.sha256 for source, file in known.items()}


def test_a_file_of_the_same_size_and_time_but_other_content_is_noticed(course_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.walk.SETTLED_NS", -(10**12))
    path = course_folder / "syllabus.md"
    touched_long_ago(path)
    known = known_of(course_folder)
    path.write_text(path.read_text().replace("5 points", "9 points"))
    touched_long_ago(path)  # the time of the change itself cannot be set back
    changes = compare(walk(course_folder, known)[0], known)
    assert [file.source for file in changes.changed] == ["syllabus.md"]


def test_a_file_touched_a_moment_ago_has_no_fingerprint(course_folder: Path) -> None:
    (course_folder / "tomorrow.md").write_text("x")
    os.utime(course_folder / "tomorrow.md", (4_000_000_000, 4_000_000_000))
    assert {file.fingerprint for file in walk(course_folder)[0]} == {""}
