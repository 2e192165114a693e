"""Small documents built by hand, so that every position and word in them is known."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")  # PDF 32000-1, algorithm 2
_FONTS = {"F1": "Helvetica", "F2": "Courier"}


class Words(NamedTuple):
    """A piece of text on a page: where its baseline begins, its size in points, its font, its colour (`1 1 1`) and PDF's rendering mode."""

    x: float
    y: float
    text: str
    size: float = 12
    font: str = "F1"
    colour: str = "0 0 0"
    mode: int = 0


class PdfMaker:
    """Writes a PDF of pages 612 by 792 points, in Helvetica (F1) and Courier (F2)."""

    def make(
        self,
        pages: list[list[Words]],
        title: str = "",
        outline: list[tuple[str, int]] | None = None,
        password: str = "",
        behind: bytes = b"",
        media_box: str = "0 0 612 792",
    ) -> bytes:
        """The file; `behind` is drawn beneath the words of every page."""
        objects: list[bytes] = [b""]  # numbers count from 1
        fonts = " ".join(
            f"/{key} << /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>" for key, name in _FONTS.items()
        )
        first_page = 3
        kids = " ".join(f"{first_page + 2 * number} 0 R" for number in range(len(pages)))
        outline_number = first_page + 2 * len(pages)
        objects.append(f"<< /Type /Catalog /Pages 2 0 R {f'/Outlines {outline_number} 0 R' if outline else ''} >>".encode())
        objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
        for number, words in enumerate(pages):
            content = b"\n".join([behind, *(self._show(piece) for piece in words)])
            page = f"<< /Type /Page /Parent 2 0 R /MediaBox [{media_box}] /Resources << /Font << {fonts} >> >> "
            objects.append(f"{page} /Contents {first_page + 2 * number + 1} 0 R >>".encode())
            objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        if outline:
            objects += self._outline(outline, outline_number, first_page)
        trailer = ""
        if title:
            objects.append(f"<< /Title ({title}) >>".encode())
            trailer += f" /Info {len(objects) - 1} 0 R"
        if password:
            objects.append(self._encryption(password))
            trailer += f" /Encrypt {len(objects) - 1} 0 R /ID [<00> <00>]"
        return self._file(objects, trailer)

    @staticmethod
    def _show(words: Words) -> bytes:
        text = words.text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode("cp1252")
        look = b"%s rg %d Tr" % (words.colour.encode(), words.mode)
        return b"BT %s /%s %g Tf %g %g Td (%s) Tj ET" % (look, words.font.encode(), words.size, words.x, words.y, text)

    @staticmethod
    def _outline(entries: list[tuple[str, int]], number: int, first_page: int) -> list[bytes]:
        """A flat outline; each entry leads to the top of its page (from 0)."""
        objects = [f"<< /First {number + 1} 0 R /Last {number + len(entries)} 0 R /Count {len(entries)} >>".encode()]
        for index, (title, page) in enumerate(entries):
            following = f"/Next {number + index + 2} 0 R" if index + 1 < len(entries) else ""
            destination = f"/Dest [{first_page + 2 * page} 0 R /XYZ 0 792 0]"
            objects.append(f"<< /Title ({title}) /Parent {number} 0 R {following} {destination} >>".encode())
        return objects

    @staticmethod
    def _encryption(password: str) -> bytes:
        """The standard security handler, revision 2: enough for a reader to ask for the password."""
        secret = (password.encode() + _PADDING)[:32]
        owner = _rc4(hashlib.md5(secret).digest()[:5], secret)
        key = hashlib.md5(secret + owner + (-4).to_bytes(4, "little", signed=True) + b"\0").digest()[:5]
        return b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (owner.hex().encode(), _rc4(key, _PADDING).hex().encode())

    @staticmethod
    def _file(objects: list[bytes], trailer: str) -> bytes:
        data = bytearray(b"%PDF-1.4\n")
        offsets: list[int] = []
        for number, content in enumerate(objects[1:], start=1):
            offsets.append(len(data))
            data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
        start = len(data)
        data += b"xref\n0 %d\n0000000000 65535 f \n" % len(objects)
        data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        data += f"trailer << /Size {len(objects)} /Root 1 0 R{trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()
        return bytes(data)


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    output = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        output.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(output)
