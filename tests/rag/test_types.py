import pytest

from rag.types import Latency, Location, LocationKind

PLACES = {
    "page": (Location(LocationKind.PAGE, 4), "page 4", {"kind": "page", "page": 4}),
    "slide": (Location(LocationKind.SLIDE, 2, heading=("Intro",)), "slide 2", {"kind": "slide", "slide": 2, "heading": ["Intro"]}),
    "cell": (Location(LocationKind.CELL, 7, cell="code"), "cell 7 (code)", {"kind": "cell", "cell": 7, "cell_kind": "code"}),
    "heading": (
        Location(LocationKind.HEADING, heading=("Grading", "Late days")),
        "Grading › Late days",
        {"kind": "heading", "heading": ["Grading", "Late days"]},
    ),
    "no heading": (Location(LocationKind.HEADING), "beginning", {"kind": "heading", "heading": []}),
    "lines": (Location(LocationKind.LINE, 3, last=9), "lines 3–9", {"kind": "line", "line": 3, "last": 9}),
    "one line": (Location(LocationKind.LINE, 3, last=3), "line 3", {"kind": "line", "line": 3, "last": 3}),
    "time": (Location(LocationKind.TIME, 751), "12:31", {"kind": "time", "time": 751}),
}


@pytest.mark.parametrize(("location", "label", "json"), PLACES.values(), ids=PLACES.keys())
def test_location_has_a_label_and_a_json_form_that_comes_back(location: Location, label: str, json: dict[str, object]) -> None:
    assert location.label == label
    assert location.to_json() == json
    assert Location.from_json(json) == location


def test_latency_json_ends_with_the_total() -> None:
    assert list(Latency({"embed": 1.0, "other": 0.5}, 1.5).to_json().items()) == [("embed", 1.0), ("other", 0.5), ("total", 1.5)]
