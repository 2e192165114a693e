"""Changes to a course's files, for those who may: adding, replacing, deleting, reading again. The work itself is `ui/indexing.py`'s."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ingest.readers import READ
from ingest.uploads import safe_name
from rag.config import Config
from rag.errors import LecternError, UnreadableDocument
from ui import errors, indexing, own_files, render, state
from ui.frame import Frame
from ui.indexing import Run

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

UPLOADS = "uploads"
"""Where files that are added here go, in the folder of a shared course."""
QUICK_S = 1.0
"""A job that ends so soon is waited for, so that the page changes once."""
MB = 1 << 20
_DELETING, _CONFIRMED = "deleting", "deletion_confirmed"
_UPLOADS, _OVER_LIMITS = "uploads_taken", "uploads_over_limits"


def ask_to_delete(shown: Frame, source: str) -> None:
    """Has the page ask whether a file shall go."""
    st.session_state[_DELETING] = shown.course, source


def show_deletion(shown: Frame) -> bool:
    """Asks whether a file shall go, and says what goes with it, if that is to be asked; else False.

    What is asked is kept in the session: a job that ends runs the page again, which would close a dialog that only a click has opened.
    """
    course, source = st.session_state.get(_DELETING, ("", ""))
    if course != shown.course:
        return False

    @st.dialog("Delete this file?", on_dismiss=_keep)
    def confirm() -> None:
        st.markdown(f"**{render.label(source)}**")
        where = "" if shown.place.own else " The file itself is removed from the course's folder on the machine that runs Lectern."
        st.markdown(f"Its passages go, and the words that earlier answers quote from it.{where} This cannot be undone.")
        with st.container(horizontal=True):
            if st.button("Delete it", key="delete-it", disabled=shown.place.indexer.busy):
                # A dialog runs without the page, which alone judges who the visitor is: the page deletes.
                st.session_state[_CONFIRMED] = course, source
                st.rerun()
            if st.button("Keep it", key="keep-it"):
                _keep()
                st.rerun()

    confirm()
    return True


def delete_confirmed(shown: Frame) -> None:
    """Deletes the file that the visitor was asked about and said shall go, if he may."""
    confirmed = st.session_state.pop(_CONFIRMED, None)
    if confirmed is None or confirmed != st.session_state.get(_DELETING) or not shown.place.may_change(shown.visitor):
        return
    course, source = confirmed
    if course == shown.course:
        _keep()
        _start_and_look(lambda: indexing.delete(shown.place, course, [source]))


def _keep() -> None:
    st.session_state.pop(_DELETING, None)


def show_changes(shown: Frame, is_empty: bool) -> None:
    """Adding files, and for a shared course reading its folder again."""
    busy, own = shown.place.indexer.busy, shown.place.own
    label = "Add files" if own else "Add files, update the index"
    with st.expander(label, is_empty, key=f"changes-{shown.course}", icon=":material/upload_file:"):
        _show_upload(shown, busy)
        if own:
            _offer_end(busy)
        else:
            st.divider()
            _offer_update(shown, busy)


def _offer_end(busy: bool) -> None:
    if st.button("Delete all of your files", key="end-own", disabled=busy):
        own_files.end()
        state.go_to_page(state.MATERIALS)


def _offer_update(shown: Frame, busy: bool) -> None:
    st.markdown("When files in the course's folder have changed:")
    with st.container(horizontal=True):
        if st.button("Read what has changed", key="update", disabled=busy):
            _start_and_look(lambda: indexing.update(shown.place, shown.course))
        last = shown.place.indexer.latest
        with st.popover("Read every file again", disabled=busy, key=f"rebuild-after-{last.id if last else ''}"):  # another job closes it
            st.markdown("This takes minutes for a large course. Questions are answered meanwhile.")
            if st.button("Begin", key="rebuild"):
                _start_and_look(lambda: indexing.update(shown.place, shown.course, rebuild=True))


def _show_upload(shown: Frame, busy: bool) -> None:
    limit = min(shown.config.upload_mb, st.get_option("server.maxUploadSize"))
    below = "" if shown.place.own else UPLOADS
    key = f"upload-{st.session_state.get(_UPLOADS, 0)}"
    chosen = st.file_uploader("Files to add", accept_multiple_files=True, key=key, max_upload_size=limit, disabled=busy)
    st.markdown(f":small[{READ}. Up to {limit} MB each{_own_limits(shown)}.]")
    if problem := st.session_state.pop(_OVER_LIMITS, ""):
        st.warning(problem)
    files, refused = check_uploads({file.file_id: (file.name, file.size) for file in chosen}, limit)
    for name, reason in refused:
        st.warning(indexing.reason_words(name, reason), icon=":material/block:")
    folder = shown.place.store.course_folder(shown.course) or Path()
    there = sorted(name for name in files if (folder / below / name).exists())  # in the catalogue or not
    if (own := own_files.of_session()) is not None and shown.place.own:
        sizes = {name: size for name, (_, size) in files.items()}
        if problem := over_own_limits(own.files() | sizes, shown.config):
            st.session_state[_OVER_LIMITS] = problem
            _forget_uploads(chosen)  # what cannot be added must not stay in the server's memory
            st.rerun()
    replace = True
    if there:
        st.warning(f"Already here: {render.label(', '.join(there), 400)}", icon=":material/content_copy:")
        replace = st.checkbox("Replace with the new files", key=f"replace-{key}")
    taken = {name: file_id for name, (file_id, _) in files.items() if replace or name not in there}
    if not taken:
        return
    if st.button(f"Add {indexing.counted(len(taken), 'file')}", key="add", disabled=busy):
        by_id = {file.file_id: file for file in chosen}
        data = {name: by_id[file_id].getvalue() for name, file_id in taken.items()}
        _start_and_look(lambda: indexing.add_files(shown.place, shown.course, data, below, there), begun=lambda: _forget_uploads(chosen))


def check_uploads(files: Mapping[str, tuple[str, int]], limit_mb: int) -> tuple[dict[str, tuple[str, int]], list[tuple[str, str]]]:
    """The files that can be taken, by the name each gets: its id and size; and those that cannot, each with the reason.

    Args:
        files: by id, name and size in bytes.
    """
    taken: dict[str, tuple[str, int]] = {}
    refused = []
    for file_id, (name, size) in files.items():
        try:
            safe = safe_name(name)
        except UnreadableDocument as e:
            refused.append((name, str(e)))
            continue
        if size > limit_mb * MB:
            refused.append((name, f"is larger than {limit_mb} MB: split it, or let whoever runs Lectern put it into the course's folder"))
        elif safe in taken:
            refused.append((name, "has the same name as another of these files: give it another, or add it after that"))
        else:
            taken[safe] = file_id, size
    return taken, refused


def _own_limits(shown: Frame) -> str:
    config = shown.config
    return f", {config.own_files} files and {config.own_files_mb} MB in all" if shown.place.own else ""


def over_own_limits(together: Mapping[str, int], config: Config) -> str:
    """Why a visitor's own files, their sizes by name, are too many or too large, in words; empty when they are not."""
    if len(together) > config.own_files:
        return f"These would be {len(together)} files; {config.own_files} are the most. Delete some, or add fewer."
    if (size := sum(together.values())) > config.own_files_mb * MB:
        return f"These would be {size / MB:.1f} MB; {config.own_files_mb} MB are the most. Delete some, or add fewer."
    return ""


def _start_and_look(start: Callable[[], Run], begun: Callable[[], None] = lambda: None) -> None:
    """Begins a job and shows the page anew; what cannot begin is told, and what was chosen stays chosen.

    Args:
        begun: called when it has begun.
    """
    try:
        with st.spinner("Loading the models…"):
            run = start()
    except LecternError as e:
        errors.show_error(e)
        return
    begun()
    run.job.wait(QUICK_S)
    st.rerun()


def _forget_uploads(files: Sequence[UploadedFile]) -> None:
    """Empties the field with the files, and frees what Streamlit would hold of them until the session ends."""
    st.session_state[_UPLOADS] = st.session_state.get(_UPLOADS, 0) + 1
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for file in files:
            context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
