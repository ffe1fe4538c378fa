"""Makes the Chinese fonts that are embedded in handouts: subsets of Debian's fonts-noto-cjk.

Usage: fonts.py FOLDER, where FOLDER holds NotoSerifCJK-Regular.ttc and NotoSansCJK-Bold.ttc. Needs fonttools.
The subsets hold every character of GB 2312 and the punctuation and signs around it. They have names of their own, as
the licence (OFL.txt beside them) asks of changed versions of fonts with a reserved name.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection

TARGET = Path(__file__).parents[1] / "symgrad" / "rendering" / "assets" / "fonts"
FONTS = (
    ("NotoSerifCJK-Regular.ttc", "Noto Serif CJK SC", "Symgrad Song", "Regular"),
    ("NotoSansCJK-Bold.ttc", "Noto Sans CJK SC", "Symgrad Hei", "Bold"),
)


def characters() -> set[int]:
    """GB 2312, CJK and general punctuation, full-width forms, and the signs that documents use."""
    found = {
        ord(bytes([0xA0 + row, 0xA0 + cell]).decode("gb2312", "ignore") or " ")
        for row in range(1, 88)
        for cell in range(1, 95)
    }
    found |= {*range(0x3000, 0x3020), *range(0xFF01, 0xFF5F), *range(0x2010, 0x2028), *range(0x20, 0x7F)}
    return found | {ord(c) for c in "●○▲■□✓→←↑↓·×÷°"}


def main(folder: Path) -> None:
    """Write the subsets."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for file, family, name, style in FONTS:
        collection = TTCollection(folder / file)
        font = next(f for f in collection.fonts if f["name"].getBestFamilyName() == family)
        options = subset.Options(layout_features=["locl", "kern", "palt", "halt"], name_IDs=[0, 1, 2, 13, 14])
        options.desubroutinize = True
        options.hinting = False
        options.notdef_outline = True
        options.recalc_timestamp = False
        worker = subset.Subsetter(options)
        worker.populate(unicodes=characters())
        worker.subset(font)
        names = font["name"]
        for record in list(names.names):
            if record.nameID not in (0, 13, 14):
                names.removeNames(nameID=record.nameID)
        for number, text in (
            (1, name),
            (2, style),
            (3, f"{name} {style}"),
            (4, f"{name} {style}"),
            (6, f"{name} {style}".replace(" ", "")),
        ):
            names.setName(text, number, 3, 1, 0x409)
        if "CFF " in font:
            font["CFF "].cff.fontNames[0] = f"{name} {style}".replace(" ", "")
            top = font["CFF "].cff.topDictIndex[0]
            top.FullName, top.FamilyName = f"{name} {style}", name
        for table in ("vhea", "vmtx", "VORG", "BASE", "DSIG"):
            if table in font:
                del font[table]
        font.save(TARGET / f"{name.replace(' ', '')}-{style}.otf")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
