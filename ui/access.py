"""Who is at the page: without a login whoever sits at the machine, who may do everything; with one, students and the staff of a list.

A login is asked for where Streamlit's secrets have an `[auth]` section (OpenID Connect, `st.login`). What a provider says of a person is
judged again at each run of the page, so that a changed list counts at once; Streamlit itself would believe a cookie for thirty days.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from streamlit.errors import StreamlitAuthError

from rag.config import Config
from rag.errors import ConfigError, LecternError
from ui import errors, render

AUTH = "auth"
"""The section of Streamlit's secrets that asks for a login."""
CLOCKS_APART_S = 300.0
"""A provider's clock may be ahead of ours by so much."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """`owner` names whose conversations are shown, without telling who that is; empty: of whoever sits at the machine."""

    name: str = ""
    owner: str = ""
    staff: bool = True


class Refusal(Enum):
    """Why nobody is let in, as the page says it."""

    UNKNOWN = "Log in to ask about your courses."
    EXPIRED = "Your login has expired. Log in again to go on."
    NOT_LISTED = "You are logged in, but this account may not use Lectern here. Ask the staff of your course, or use another account."


def admit(config: Config) -> Visitor:
    """The visitor of this run of the page. Whoever may not enter sees the login alone, and the run ends.

    Raises:
        ConfigError: the secrets cannot be read, or say too little.
    """
    found = recognise(config)
    if isinstance(found, Refusal):
        show_login(found)
        st.stop()
    return found


def recognise(config: Config) -> Visitor | Refusal:
    """The visitor, or why there is none; shows nothing."""
    return judge(st.user.to_dict(), config, time.time()) if login_required() else Visitor()


def current() -> Visitor | None:
    """Who is at the page; None where nobody is let in, or the settings cannot be read: the page itself says which."""
    try:
        found = recognise(Config.load())
    except LecternError:
        return None
    return found if isinstance(found, Visitor) else None


def watch() -> Callable[[], bool]:
    """Whether the visitor of this run is the one of now, in the same role: for what runs later without the page.

    Fragments, dialogs and callbacks do: a login that has expired meanwhile, or a role that was taken away, would not be noticed.
    """
    before = current()
    return lambda: current() == before


def login_required() -> bool:
    """Whether there is an `[auth]` section in the secrets.

    Raises:
        ConfigError: there are secrets that cannot be read. Streamlit takes them for none, which would let everybody in.
    """
    if st.secrets.load_if_toml_exists():
        return AUTH in st.secrets
    for path in st.get_option("secrets.files"):
        if Path(path).exists():
            raise ConfigError(f"{path} cannot be read as TOML; it may ask for a login, so nobody is let in until it is mended or removed")
    return False


def judge(claims: Mapping[str, Any], config: Config, now: float) -> Visitor | Refusal:
    """Who a provider's claims speak of, and whether he may enter at `now` (Unix time): a pure function."""
    if claims.get("is_logged_in") is not True or not claims.get("sub"):
        return Refusal.UNKNOWN
    issued = claims.get("iat")
    if not isinstance(issued, (int, float)) or not -CLOCKS_APART_S <= now - issued <= 3600 * config.login_hours:
        return Refusal.EXPIRED
    address = _address(claims)
    staff = bool(address) and _is_listed(address, config.staff)
    if not staff and config.students and not _is_listed(address, config.students):
        return Refusal.NOT_LISTED
    name = next((str(claims[key]) for key in ("name", "preferred_username", "email") if claims.get(key)), "")
    return Visitor(name, owner_of(str(claims.get("iss", "")), str(claims["sub"])), staff)


def owner_of(issuer: str, subject: str) -> str:
    """A name for a person in the catalogue: always the same for the same account, and no address."""
    return hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest()[:32]


def _address(claims: Mapping[str, Any]) -> str:
    """The e-mail address, casefolded; empty where the provider says that it is not verified, as a boolean or, like some, as a word."""
    if str(claims.get("email_verified", True)).casefold() == "false":
        return ""
    return str(claims.get("email") or "").strip().casefold()


def _is_listed(address: str, listed: Sequence[str]) -> bool:
    """Whether the address, or its domain as `@domain`, is among those listed."""
    return any(address == one or (one.startswith("@") and address.endswith(one)) for one in map(str.casefold, listed))


def served_over_https() -> bool:
    """Whether browsers reach the page by HTTPS, as the address says that a login comes back to."""
    return login_required() and urlsplit(str(st.secrets[AUTH].get("redirect_uri", ""))).scheme == "https"


# --- on the page


def show_login(refusal: Refusal) -> None:
    """The page of whoever is not let in: one sentence, one button, nothing of any course."""
    st.title("Lectern", anchor=False)
    st.write(refusal.value)
    if st.button("Log in", key="log-in"):
        try:
            st.login()
        except StreamlitAuthError as e:
            errors.show_error(ConfigError(f"the login cannot begin: {e}"))
    if refusal is Refusal.NOT_LISTED:
        _offer_logout()


def show_visitor(visitor: Visitor) -> None:
    """Who is logged in, and the way out; nothing where there is no login."""
    if not visitor.owner:
        return
    with st.sidebar:
        role = " · staff" if visitor.staff else ""
        st.caption(f"{render.label(visitor.name, 60)}{role}")
        _offer_logout()


def _offer_logout() -> None:
    if st.button("Log out", key="log-out", type="tertiary", icon=":material/logout:"):
        st.logout()
