"""What a viewer of a slide does not see: shapes that are hidden or off the slide, tiny words, and words in the colour of the background.

Colours are compared only where they are simply known: a plain background, a colour that no tint changes, nothing else behind the words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
SMALLEST_SIZE = 150  # hundredths of a point
ALIKE = 24  # of 255, in each of red, green and blue: what differs less cannot be read
HIDDEN = "{n} characters in hidden shapes"
OFF_SLIDE = "{n} characters off the slide"
TINY = "{n} characters too small to see"
SAME_COLOUR = "{n} characters in the colour of the slide"

Rectangle = tuple[float, float, float, float]
_FILLS = tuple(_A + name for name in ("solidFill", "gradFill", "blipFill", "pattFill", "grpFill"))
_SHAPES = tuple(_P + name for name in ("sp", "pic", "graphicFrame", "cxnSp", "grpSp"))


class Ground(NamedTuple):
    """A slide's size in EMU, its background as six hex digits (None: no plain colour), the theme's colours, and what is drawn on it."""

    width: int
    height: int
    colour: str | None
    scheme: dict[str, str]
    decoration: tuple[Rectangle | None, ...] = ()  # of the layout and the master; None: somewhere


@dataclass
class Place:
    """Where a group's shapes come to stand on the slide: x -> x * scale + shift, and so for y."""

    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def of(self, rectangle: Rectangle) -> Rectangle:
        x, y, width, height = rectangle
        return (x * self.scale[0] + self.shift[0], y * self.scale[1] + self.shift[1], width * self.scale[0], height * self.scale[1])

    def inside(self, group: Any) -> Place:
        """The place of the shapes in a group that itself stands here."""
        outer, inner = rectangle_of(group), _rectangle(group.find(f"{_P}grpSpPr/{_A}xfrm"), "chOff", "chExt")
        if outer is None or inner is None or not inner[2] or not inner[3]:
            return self
        x, y, width, height = self.of(outer)
        scale = (width / inner[2], height / inner[3])
        return Place(scale, (x - inner[0] * scale[0], y - inner[1] * scale[1]))


def rectangle_of(shape: Any) -> Rectangle | None:
    """Where the shape's own file entry puts it: left, top, width, height in EMU; None when its layout decides."""
    form = next(shape.iterchildren(f"{_P}spPr", f"{_P}grpSpPr"), None)
    found = shape.find(f"{_P}xfrm") if form is None else form.find(f"{_A}xfrm")
    return _rectangle(found, "off", "ext")


def _rectangle(form: Any, corner: str, extent: str) -> Rectangle | None:
    offset, size = (None, None) if form is None else (form.find(_A + corner), form.find(_A + extent))
    if offset is None or size is None:
        return None
    values = [offset.get("x"), offset.get("y"), size.get("cx"), size.get("cy")]
    numbers = [float(value) for value in values if value and value.lstrip("-").isdecimal() and len(value) < 16]
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None


def shape_fault(shape: Any, place: Place, ground: Ground) -> str:
    """Why nothing of a shape is seen; an empty text when it may be."""
    properties = next(shape.iterfind(f"{_P}*/{_P}cNvPr"), None)
    if properties is not None and properties.get("hidden") in ("1", "true"):
        return HIDDEN
    found = rectangle_of(shape)
    if found is None:
        return ""
    x, y, width, height = place.of(found)
    outside = x >= ground.width or y >= ground.height or x + width <= 0 or y + height <= 0
    return OFF_SLIDE if outside and (width > 0 or height > 0) else ""


def run_fault(run: Any, shape: Any, ground: Ground) -> str:
    """Why a run of text in a visible shape is not seen; an empty text when it may be."""
    properties = run.find(f"{_A}rPr")
    if properties is None:
        return ""
    size = properties.get("sz") or ""
    if size.isdecimal() and len(size) < 8 and int(size) <= SMALLEST_SIZE:
        return TINY
    fill = properties.find(f"{_A}solidFill")
    if fill is None:
        return SAME_COLOUR if properties.find(f"{_A}noFill") is not None and properties.find(f"{_A}ln") is None else ""
    if ground.colour is None or shape.tag != f"{_P}sp" or _is_filled(shape) or _is_placeholder(shape):
        return ""  # a placeholder has the fill of its layout
    colour = plain_colour(fill, ground.scheme)
    return SAME_COLOUR if colour and _alike(colour, ground.colour) and not _lies_on_something(shape, ground) else ""


def plain_colour(fill: Any, scheme: dict[str, str]) -> str | None:
    """A solid fill's colour as six hex digits; None when it is tinted or not of a kind looked up here."""
    for one in fill:
        if len(one):  # lumMod, alpha and their kin
            return None
        if one.tag == f"{_A}srgbClr":
            return str(one.get("val"))
        if one.tag == f"{_A}sysClr":
            return one.get("lastClr")
        if one.tag == f"{_A}schemeClr":
            return scheme.get(str(one.get("val")))
    return None


def background(slide: Any, layout: Any, master: Any, scheme: dict[str, str]) -> str | None:
    """The colour of the first of slide, layout and master that names a background; None when it is none or not plain."""
    for level in (slide, layout, master):
        found = level.find(f"{_P}cSld/{_P}bg")
        if found is None:
            continue
        fill = found.find(f"{_P}bgPr/{_A}solidFill")
        if fill is not None:
            return plain_colour(fill, scheme)
        named = found.find(f"{_P}bgRef")
        return plain_colour(named, scheme) if named is not None and named.get("idx") == "1001" else None
    return None


def colour_scheme(theme: Any, master: Any, *overrides: Any) -> dict[str, str]:
    """The theme's colours by name, and by the names that the master maps to them; empty where a slide maps them anew."""
    if any(level.find(f"{_P}clrMapOvr/{_A}overrideClrMapping") is not None for level in overrides):
        return {}
    named: dict[str, str] = {}
    for one in theme.iterfind(f"{_A}themeElements/{_A}clrScheme/*"):
        colour = plain_colour(one, {})
        if colour:
            named[one.tag.removeprefix(_A)] = colour
    mapping = master.find(f"{_P}clrMap")
    mapped = {} if mapping is None else {key: named[value] for key, value in mapping.attrib.items() if value in named}
    return {**named, **mapped}


def _is_filled(shape: Any) -> bool:
    """Whether a shape has, or may have, a fill of its own behind its words."""
    form, style = shape.find(f"{_P}spPr"), shape.find(f"{_P}style/{_A}fillRef")
    own = form is not None and any(child.tag in _FILLS for child in form)
    open_to_style = form is None or form.find(f"{_A}noFill") is None
    return own or (open_to_style and style is not None and style.get("idx") != "0")


def decoration(*levels: Any) -> tuple[Rectangle | None, ...]:
    """Where the layout and the master draw something that may be behind a slide's words."""
    drawn = (shape for level in levels for shape in level.iterfind(f"{_P}cSld/{_P}spTree/*") if shape.tag in _SHAPES)
    return tuple(rectangle_of(shape) for shape in drawn if not _is_placeholder(shape) and (shape.tag != f"{_P}sp" or _is_filled(shape)))


def _is_placeholder(shape: Any) -> bool:
    return shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph") is not None


def _lies_on_something(shape: Any, ground: Ground) -> bool:
    """Whether another shape overlaps this one, or where it stands is not known: then what is behind the words is not simply known."""
    own = rectangle_of(shape)
    parent = shape.getparent()
    if own is None or parent.tag != f"{_P}spTree":
        return True
    others = [other for other in parent.iterchildren(*_SHAPES) if other is not shape and (other.tag != f"{_P}sp" or _is_filled(other))]
    boxes = [*map(rectangle_of, others), *ground.decoration]
    return any(box is None or _overlap(own, box) for box in boxes)


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return all(one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2] for axis in (0, 1))


def _alike(one: str, other: str) -> bool:
    try:
        return all(abs(int(one[place : place + 2], 16) - int(other[place : place + 2], 16)) <= ALIKE for place in (0, 2, 4))
    except ValueError:
        return False
