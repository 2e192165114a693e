"""Which code page a text without a declaration is in: told by whether its letters stand where a language puts them."""

import pytest

from ingest.readers._common import decode

TEXTS = {
    "cp1252": "The café’s menu – “crème brûlée” for £5 … It’s naïve.",
    "mac_roman": "The course’s grading – “homework” counts 40 %, café: • exam",
    "cp1250": "Příliš žluťoučký kůň úpěl ďábelské ódy; student musí napsat „zkoušku“ včas.",
    "iso8859_2": "Příliš žluťoučký kůň úpěl ďábelské ódy a student musí napsat zkoušku včas.",
    "cp1254": "Öğrencilerin ödevleri zamanında teslim etmesi gerekir; sınav kâğıtları değerlendirilir, ışık.",
    "cp850": "Die Prüfung zählt für alle Übungen; schöne Grüße.",
    "cp1251": "Лекция начинается в девять часов утра, студенты должны прийти вовремя и принести тетради.",
    "cp932": "講義は九時に始まります〜学生は時間通りに来てください。宿題は金曜日までです。",
    "cp949": "강의는 아홉 시에 시작합니다. 학생들은 제시간에 와야 합니다. 숙제는 금요일까지입니다.",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_code_pages(encoding: str) -> None:
    raw = (TEXTS[encoding].replace("〜", "～") + "\n").encode(encoding) * 8
    assert decode(raw, "a.txt") == raw.decode(encoding)


def test_the_encoding_that_an_xml_declaration_names() -> None:
    text = '<?xml version="1.0" encoding="iso-8859-7"?><p>Καλημέρα</p>'
    assert decode(text.encode("iso8859_7"), "a.xhtml") == text


@pytest.mark.parametrize("name", ["no-such-encoding", "rot13", "utf-16", "ascii"])
def test_a_declaration_that_the_bytes_do_not_bear_out_is_passed_over(name: str) -> None:
    text = f'<?xml version="1.0" encoding="{name}"?><p>The café’s menu costs £5</p>'
    assert decode(text.encode("cp1252"), "a.xhtml") == text
