"""axe-core on a page: what keeps people with screen reader, keyboard or weak eyes out, by rule, as far as rules can tell.

https://github.com/dequelabs/axe-core (MPL-2.0), from npm, used in tests alone: `make browser` puts it into .venv/axe.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page
from running_app import ROOT

SCRIPT = Path(os.environ.get("LECTERN_AXE", ROOT / ".venv/axe")) / "node_modules/axe-core/axe.min.js"
WORST = ("serious", "critical")
_RUN = """() => axe.run(document, {resultTypes: ["violations"]}).then(found => found.violations.flatMap(rule => rule.nodes.map(node => ({
    rule: rule.id, impact: node.impact ?? rule.impact, where: node.target.join(" "), html: node.html.slice(0, 200),
    why: [...node.any, ...node.all, ...node.none].map(check => check.message).join("; "),
}))))"""


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    impact: str
    where: str
    html: str
    why: str

    def __str__(self) -> str:
        return f"{self.impact} {self.rule} at {self.where}\n    {self.html}\n    {self.why}"


@dataclass(frozen=True, slots=True)
class Known:
    """A violation of Streamlit's own, which no setting of ours mends: `within` stands in the element's HTML or path."""

    rule: str
    within: str
    reason: str

    def covers(self, violation: Violation) -> bool:
        return violation.rule == self.rule and (self.within in violation.html or self.within in violation.where)


STREAMLITS_OWN: tuple[Known, ...] = ()
"""What is let pass. Keep it short and say why."""


def need_axe() -> None:
    """Skips the test where axe-core is not installed; fails it in CI."""
    if not SCRIPT.exists():
        message = f"there is no {SCRIPT.relative_to(ROOT) if SCRIPT.is_relative_to(ROOT) else SCRIPT}; install it with: make browser"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)


def violations(page: Page) -> list[Violation]:
    """Everything that axe-core finds in the page as it stands, all impacts."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(SCRIPT.read_text("utf-8"))
    return [Violation(**one) for one in page.evaluate(_RUN)]


def worst(found: Sequence[Violation]) -> list[Violation]:
    """The serious and critical ones that are not known to be Streamlit's own."""
    return [one for one in found if one.impact in WORST and not any(known.covers(one) for known in STREAMLITS_OWN)]
