r"""What the text around the formulas says: shapes, assumptions, how samples stand.

`W \in \mathbb{R}^{m \times n}` and its forms in English and Chinese prose; one-hot labels, distributions, symmetric and
positive definite matrices, positive numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from symgrad.errors import SymgradError
from symgrad.expr import Model
from symgrad.reading.claim import Context
from symgrad.reading.latex.define import name_of
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tree import parse_statements

__all__ = ["GENERIC", "LAYERS", "Said", "is_general", "said_by_formula", "said_by_sentence", "symbols_in"]

GENERIC = 2
"""A general layer or step is read as the second one, so that those before and after it have names too."""

LAYERS = (1, 2, 3)
_GENERAL = {
    letter: re.compile(
        rf"[\^_]\s*(?:\{{\s*)?(?:[\[(<]\s*)?{letter}\s*(?:[-+]\s*1\s*)?(?:[\])>}},]|(?![A-Za-z]))"
    )
    for letter in "lt"
}


def is_general(text: str, mark: str = "l") -> bool:
    """Whether a text has a mark of a general layer, ^{(l)}, _l, ^{l-1}, or of a general step.

    >>> is_general("W^{(l)} x"), is_general("h_{t-1}", "t"), is_general("W_1 x")
    (True, True, False)
    """
    return bool(_GENERAL[mark].search(text))


_SPACE = re.compile(
    r"^(?P<names>.+?)\s*\\in\s*(?P<set>\\mathbb\s*\{?\s*R\s*\}?|\\R\b|\\mathbf\s*\{?\s*R\s*\}?"
    r"|\\\{\s*0\s*,\s*1\s*\\\}|\\lbrace\s*0\s*,\s*1\s*\\rbrace|\\\{\s*-\s*1\s*,\s*\+?1\s*\\\}"
    r"|\[\s*0\s*,\s*1\s*\]|\(\s*0\s*,\s*1\s*\))"
    r"\s*(?P<sign>_\s*\{?\s*(?:\+|>\s*0|\+\+)\s*\}?)?(?:\^\s*(?P<dims>\{.*\}|.))?\s*$",
    re.DOTALL,
)
_ONE_OF_MANY = re.compile(r"[a-z}]\s*_\s*\{?\s*[ijkmnt]\s*\}?(?![A-Za-z])|\^\s*\{?\s*\(\s*[ijkmnt]\s*\)")
_POSITIVE = re.compile(r"^(?P<names>[^<>=]+?)\s*(?:>|\\gt)\s*0$")
_OPEN_UNIT = re.compile(r"^0\s*<\s*(?P<names>[^<>=]+?)\s*<\s*1$")
_LISTED = re.compile(
    r"^[^=]+=\s*[\[(]\s*(?P<names>[^\[\]()=]*,[^\[\]()=]*)\s*[\])]\s*(?:\^\s*(?:\\top|T|\{.*\}))?$"
)
_SCRIPT = r"(?:\{[^{}]*\}|\w)"
_SUMS_TO_ONE = re.compile(
    rf"^\\sum(?:\s*_\s*{_SCRIPT})?(?:\s*\^\s*{_SCRIPT})?\s*(?P<name>.+?)\s*_\s*\{{?\w\}}?\s*=\s*1$"
)

WORDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("onehot", re.compile(r"one[- ]?hot|独热", re.IGNORECASE)),
    ("positive_definite", re.compile(r"positive[- ]definite|正定", re.IGNORECASE)),
    ("symmetric", re.compile(r"\bsymmetric\b|对称(?!性)", re.IGNORECASE)),
    ("orthogonal", re.compile(r"\borthogonal\b|正交", re.IGNORECASE)),
    ("invertible", re.compile(r"\binvertible\b|\bnonsingular\b|可逆", re.IGNORECASE)),
    (
        "prob",
        re.compile(r"sums? to (?:one|1)|probability (?:vector|distribution)|概率(?:分布|向量)|和为\s*1"),
    ),
    ("unit_norm", re.compile(r"unit (?:norm|vector|length)|单位向量", re.IGNORECASE)),
)
_COLUMNS = re.compile(r"(?:every|each|per) column|column[- ]?wise|columns? of|每一?列|按列", re.IGNORECASE)
_ROWS = re.compile(r"(?:every|each|per) row|row[- ]?wise|rows? of|每一?行|按行", re.IGNORECASE)
_NOT = re.compile(r"\b(?:not|non|no|need not be|isn't)[\s-]*$|[不非未]$", re.IGNORECASE)
_NEAR = 40
_PREDICATIVE = re.compile(r"(?:\b(?:is|are|be)\b|[是为])[^,，.。]{0,24}$", re.IGNORECASE)
_CLAUSE_ENDS = re.compile(r"[,.;:)，。；：）]|\b(?:and|then|with)\b|且|而|并")


@dataclass
class Said:
    """Shapes, assumptions and, for a softmax, the axis; `ranks` says what is a matrix (2), a vector (1), a number (0)."""

    shapes: dict[str, list[str]] = field(default_factory=dict)
    assume: dict[str, set[str]] = field(default_factory=dict)
    softmax: str | None = None
    ranks: dict[str, int] = field(default_factory=dict)


def said_by_formula(body: str, mark: str = "l") -> Said:
    r"""What a formula declares.

    >>> said_by_formula(r"W_1 \in \mathbb{R}^{h \times d}").shapes
    {'W1': ['h', 'd']}
    """
    said = Said()
    text = body.strip().rstrip(".,;").strip()
    if match := _SPACE.match(text):
        for layer in LAYERS if is_general(match["names"], mark) else (GENERIC,):
            _space(said, match, layer, mark)
        return said
    for pattern, word in ((_POSITIVE, "positive"), (_OPEN_UNIT, "in01")):
        if match := pattern.match(text):
            for name in symbols_in(match["names"], mark=mark):
                said.assume.setdefault(name, set()).add(word)
                said.ranks[name] = 0
    if match := _LISTED.match(text):
        for name in symbols_in(match["names"]):
            said.shapes.setdefault(name, [])
    if match := _SUMS_TO_ONE.match(text):
        for name in symbols_in(match["name"]):
            said.assume.setdefault(name, set()).add("prob")
    return said


def _space(said: Said, match: re.Match[str], layer: int, mark: str) -> None:
    """A symbol of R^n and its like, at a layer."""
    sizes = _dims(match["dims"], layer, mark)
    if _ONE_OF_MANY.search(match["names"]) and not is_general(match["names"], mark):
        return  # x_n is one of the samples, and no name of its own
    for name in symbols_in(match["names"], layer, mark) if sizes is not None else ():
        said.shapes[name] = sizes or []
        kind = match["set"]
        if "0" in kind or "1" in kind:
            word = "in01" if kind[0] in "([" else "pm1" if "-" in kind else "binary"
            said.assume.setdefault(name, set()).add(word)
        if match["sign"]:
            said.assume.setdefault(name, set()).add("positive")


def said_by_sentence(sentence: str, places: list[tuple[int, int, str]], mark: str = "l") -> Said:
    """What a sentence says of the symbols in it; `places` are its formulas with their offsets.

    A word belongs to the symbol nearest to it, if that is near enough; a word that is negated says nothing.

    >>> said_by_sentence("The label $y$ is one-hot.", [(10, 13, "y")]).assume
    {'y': {'onehot'}}
    """
    said = Said()
    named = [p for p in places if not _DIMS.match(p[2])]
    for word, pattern in WORDS:
        for match in pattern.finditer(sentence):
            if _NOT.search(sentence[: match.start()]) or any(a <= match.start() < b for a, b, _ in places):
                continue
            near = [
                (match.start() - b if b <= match.start() else a - match.end() + 1, body)
                for a, b, body in named
            ]
            after = next(((a, body) for a, _, body in named if a >= match.end()), None)
            if after is not None and not _PREDICATIVE.search(sentence[: match.start()]):
                # "one-hot labels as rows of Y": the adjective goes before its noun
                if not _CLAUSE_ENDS.search(sentence[match.end() : after[0]]):
                    near = [(after[0] - match.end(), after[1])]
            distance, body = min(near, default=(_NEAR, ""))
            for name in _subject(body, mark) if distance < _NEAR else ():
                said.assume.setdefault(name, set()).add(word)
    _shapes_in_words(said, sentence, places, mark)
    if re.search("softmax", sentence, re.IGNORECASE):
        if _COLUMNS.search(sentence):
            said.softmax = "column-wise"
        elif _ROWS.search(sentence):
            said.softmax = "row-wise"
    return said


_DIMS = re.compile(r"^\s*([\w{}()+\- ]+?)\s*(?:\\times|×)\s*([\w{}()+\- ]+?)\s*$")
_BE = re.compile(r"\b(?:be|is|are|denote|denotes)\b|为|是|[:：]|^\W*(?:an?|the)?\W*$", re.IGNORECASE)
_MATRIX_AFTER = re.compile(
    r"^[\s$\\)-]*(?:(?:[a-z-]+[ -]){0,3}matri(?:x|ces)|[^，。,;；$]{0,8}矩阵)", re.IGNORECASE
)
_VECTOR_AFTER = re.compile(
    r"^[\s$\\)]*(?:-?\s*dimensional\s+(?:[a-z-]+ ){0,2}vectors?|-?vectors?|维(?:[^，。,;；$]{0,4})?向量)",
    re.IGNORECASE,
)
_VECTOR_BEFORE = re.compile(
    r"(?:vectors? of (?:length|dimension|size)|长度为|维数为)\s*[$\\(]*$", re.IGNORECASE
)
_KINDS = ((2, r"matri(?:x|ces)|矩阵"), (1, r"vectors?|向量"), (0, r"scalars?|标量"))
_KIND_BEFORE = {rank: re.compile(rf"(?:{words})\s*[$\\(]*$", re.IGNORECASE) for rank, words in _KINDS}
_KIND_AFTER = {
    rank: re.compile(
        rf"^[$\\)]*\s*(?:(?:for|is|be|are|denotes?|as)\s+(?:the |an? |its |our )?(?:[a-z-]+ ){{0,2}}(?:{words})\b"
        rf"|(?:为|是|表示)[^，。,;；$]{{0,8}}(?:{words}))",
        re.IGNORECASE,
    )
    for rank, words in _KINDS
}


def _shapes_in_words(said: Said, sentence: str, places: list[tuple[int, int, str]], mark: str) -> None:
    """Shapes that are said in words: "an n x d matrix X", "y is a vector of length n", "the weight matrix W"."""
    for k, (start, end, body) in enumerate(places):
        before, after = sentence[max(0, start - _NEAR) : start], sentence[end : end + 2 * _NEAR]
        sizes, word = None, None
        if (dims := _DIMS.match(body)) and (word := _MATRIX_AFTER.match(after)):
            sizes = [_dims(d, GENERIC, mark) for d in dims.groups()]
        elif re.fullmatch(r"\s*[A-Za-z](?:_\w)?\s*", body) and (
            (word := _VECTOR_AFTER.match(after)) or _VECTOR_BEFORE.search(before)
        ):
            sizes = [_dims(body, GENERIC, mark)]
        if sizes is not None and all(s is not None and len(s) == 1 for s in sizes):
            subject = _subject_of(sentence, places, k, word.end() if word else 0)
            for name in _subject(subject, mark):
                said.shapes.setdefault(name, [s[0] for s in sizes if s])
            continue
        for rank, _ in _KINDS:
            if _KIND_BEFORE[rank].search(before) or _KIND_AFTER[rank].match(after):
                for name in _subject(body, mark):
                    said.ranks.setdefault(name, rank)
                break


def _subject_of(sentence: str, places: list[tuple[int, int, str]], k: int, word: int) -> str:
    """The symbol that sizes in words belong to: right after the word (the m x n matrix A), else before "is a"."""
    _, end, _ = places[k]
    if k + 1 < len(places) and word and re.fullmatch(r"[\s$\\(]*", sentence[end + word : places[k + 1][0]]):
        return places[k + 1][2]
    if k and _BE.search(sentence[places[k - 1][1] : places[k][0]]):
        return places[k - 1][2]
    return ""


def _subject(body: str, mark: str) -> tuple[str, ...]:
    """The symbol that a formula of a sentence is about, if it is one or declares one; of a general layer all of them."""
    match = _SPACE.match(body.strip())
    text = match["names"] if match else body
    layers = LAYERS if is_general(text, mark) else (GENERIC,)
    return tuple(name for layer in layers for name in symbols_in(text, layer, mark))


def symbols_in(text: str, layer: int = GENERIC, mark: str = "l") -> tuple[str, ...]:
    """The names of a list of symbols; none if it is anything else."""
    setting = Setting(Context(), Model(()), layers={mark: layer})
    try:
        found = [name_of(s, setting) for s in parse_statements(text)]
    except SymgradError:
        return ()
    return tuple(n for n in found if n is not None) if all(n is not None for n in found) else ()


def _dims(dims: str | None, layer: int, mark: str) -> list[str] | None:
    r"""The sizes of m \times n; None where they cannot be read."""
    if dims is None:
        return []
    inside = dims[1:-1] if dims.startswith("{") and dims.endswith("}") else dims
    sizes: list[str] = []
    for part in re.split(r"\\times|×", inside):
        if part.strip().isdigit():
            sizes.append(part.strip())
            continue
        named = symbols_in(part, layer, mark)
        if len(named) != 1 or not named[0].isidentifier():
            return None
        sizes.append(named[0])
    return sizes if len(sizes) <= 2 else None
