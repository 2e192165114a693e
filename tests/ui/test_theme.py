"""The colours of .streamlit/config.toml against WCAG 2.2, criterion 1.4.3: text at least 4.5:1 on what it stands on."""

from __future__ import annotations

import re
import tomllib

import pytest

from support import ROOT

THEME = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())["theme"]
ENOUGH = 4.5
CAPTION_OPACITY = 0.6
"""Streamlit shows captions in the text's colour, so much of it."""


def rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def luminance(colour: tuple[float, ...]) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(text: tuple[float, ...], ground: tuple[float, ...]) -> float:
    light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def over(text: tuple[float, ...], ground: tuple[float, ...], opacity: float) -> tuple[float, ...]:
    return tuple(opacity * t + (1 - opacity) * g for t, g in zip(text, ground, strict=True))


def test_the_formula() -> None:
    assert contrast(rgb("#000000"), rgb("#ffffff")) == pytest.approx(21)
    assert contrast(rgb("#767676"), rgb("#ffffff")) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("ground", ["backgroundColor", "secondaryBackgroundColor"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_captions_and_links_can_be_read(scheme: str, ground: str) -> None:
    colours = THEME[scheme]
    below = rgb(colours[ground])
    assert contrast(rgb(colours["textColor"]), below) >= 7
    assert contrast(over(rgb(colours["textColor"]), below, CAPTION_OPACITY), below) >= ENOUGH
    for name in ("linkColor", "primaryColor", "grayTextColor", "orangeTextColor", "redTextColor"):
        assert contrast(rgb(colours[name]), below) >= ENOUGH, name


def test_no_button_is_white_on_the_light_blue_of_the_dark_theme() -> None:
    """Streamlit writes white on primary buttons. A blue that is dark enough for that would be too dark for blue words on a dark page."""
    assert contrast(rgb("#ffffff"), rgb(THEME["dark"]["primaryColor"])) < ENOUGH
    found = [path.name for path in (ROOT / "ui").glob("*.py") if re.search(r"type=\W?primary", path.read_text())]
    assert found == []
