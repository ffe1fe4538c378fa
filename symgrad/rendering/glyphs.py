"""Which characters a font has: read from its file, so that a missing glyph is known before it is printed as a box."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

from symgrad.errors import ReadError
from symgrad.rendering.templates import asset_folder

__all__ = ["FONT_FOLDER", "code_points", "missing"]

FONT_FOLDER = asset_folder() / "fonts"

# What New Computer Modern has, the font of the text: Latin, Greek, Cyrillic, punctuation, currency, arrows, and
# the signs of mathematics. It comes with Typst and cannot be read from here, so this is a careful part of it.
_LATIN = (
    *((0x20, 0x7E), (0xA0, 0x17F), (0x391, 0x3A1), (0x3A3, 0x3A9), (0x3B1, 0x3C9), (0x410, 0x44F)),
    *((0x2010, 0x2014), (0x2018, 0x201E), (0x2020, 0x2022), (0x2026, 0x2026), (0x2030, 0x2030)),
    *(
        (0x20AC, 0x20AC),
        (0x2190, 0x2193),
        (0x2200, 0x2203),
        (0x2208, 0x2208),
        (0x221E, 0x221E),
        (0x2248, 0x2248),
    ),
    *((0x2260, 0x2260), (0x2264, 0x2265)),
)


def missing(text: str, folders: tuple[Path, ...] = ()) -> str:
    """The characters of a text that no font has, each once, in order.

    >>> missing("gradient 梯度 😀")
    '😀'
    """
    known = {c for low, high in _LATIN for c in range(low, high + 1)}
    for folder in (FONT_FOLDER, *folders):
        for path in sorted(p for p in folder.glob("*") if p.suffix.lower() in (".otf", ".ttf", ".ttc")):
            known |= code_points(path)
    return "".join(dict.fromkeys(c for c in text if not c.isspace() and ord(c) not in known))


@cache
def code_points(path: Path) -> frozenset[int]:
    """The characters that a font file has, all fonts of a collection together.

    Raises   ReadError if the file is no OpenType font
    """
    data = path.read_bytes()
    try:
        if data[:4] == b"ttcf":
            (count,) = struct.unpack_from(">I", data, 8)
            starts = struct.unpack_from(f">{min(count, 64)}I", data, 12)
        else:
            starts = (0,)
        return frozenset().union(*(_cmap(data, start) for start in starts))
    except (struct.error, IndexError, ValueError) as error:
        raise ReadError(f"{path} is no font that can be read") from error


def _cmap(data: bytes, start: int) -> set[int]:
    """The characters of one font: its Unicode tables of format 4 and 12."""
    (tables,) = struct.unpack_from(">H", data, start + 4)
    for i in range(tables):
        tag, _, offset, _ = struct.unpack_from(">4sIII", data, start + 12 + 16 * i)
        if tag == b"cmap":
            break
    else:
        return set()
    found: set[int] = set()
    (count,) = struct.unpack_from(">H", data, offset + 2)
    for i in range(count):
        platform, _, at = struct.unpack_from(">HHI", data, offset + 4 + 8 * i)
        if platform not in (0, 3):
            continue
        (form,) = struct.unpack_from(">H", data, offset + at)
        if form == 4:
            found |= _segments(data, offset + at)
        elif form == 12:
            (groups,) = struct.unpack_from(">I", data, offset + at + 12)
            for g in range(groups):
                low, high, _ = struct.unpack_from(">III", data, offset + at + 16 + 12 * g)
                found |= set(range(low, min(high, 0x10FFFF) + 1))
    return found


def _segments(data: bytes, at: int) -> set[int]:
    """The characters of a table of format 4, of which the private use area and noncharacters do not matter."""
    (twice,) = struct.unpack_from(">H", data, at + 6)
    ends = struct.unpack_from(f">{twice // 2}H", data, at + 14)
    lows = struct.unpack_from(f">{twice // 2}H", data, at + 16 + twice)
    return {c for low, high in zip(lows, ends, strict=True) for c in range(low, high + 1) if c < 0xFFFF}
