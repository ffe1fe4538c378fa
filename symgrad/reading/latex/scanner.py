r"""LaTeX as a short list of tokens: what is typesetting falls away, what is unsafe or unknown is refused.

Fonts, spacing and sizes are dropped, arguments get braces (`\frac12` is `\frac{1}{2}`), bars are told apart into
opening and closing ones. Macros, files and catcodes have no meaning here. Nothing is expanded.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NoReturn

from symgrad.errors import ReadError, SymgradError, TooLargeError
from symgrad.reading.latex.bars import CLOSING, OPENING, tell_bars_apart
from symgrad.reading.latex.characters import check_characters, plain
from symgrad.reading.latex.tokens import LATEX_LIMITS, Tok, fail_at
from symgrad.reading.latex.vocabulary import (
    ACCENTS,
    BOLD,
    CONJUNCTIONS,
    DELIMITERS,
    DROPPED_WITH_ARGUMENT,
    ENVIRONMENTS,
    FONTS,
    FUNCTIONS,
    LETTERS,
    OPERATORS,
    PREFIXES,
    RELATIONS,
    SINGLE,
    SIZES,
    SPACES,
    SWITCHES,
    TEXTS,
    UNSAFE,
    WRAPPERS,
)

__all__ = ["tokenise"]


_PIECE = re.compile(
    r"""(?P<space>[\s~&]+|%[^\n]*(?:\n|$)) | (?P<number>\d+(?:\.\d+)?|\.\d+) | (?P<letters>[A-Za-z]+)
      | (?P<command>\\(?:[A-Za-z]+\*?|.|$)) | (?P<dotted>\.\*|\./|\.\^) | (?P<relation>:=|=:|<=|>=|==|!=|=|<|>)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


_WITH_ARGUMENT = frozenset(["SUP", "SUB", "FRAC", "SQRT", "ACCENT", "UNDERBRACE", "RBRACE"])


def tokenise(source: str, words: frozenset[str] = frozenset()) -> list[Tok]:
    r"""The tokens of a formula; runs of plain letters that are one of `words` stay together.

    >>> " ".join(t.kind for t in tokenise(r"\frac12 \mathbf{W}^\top"))
    'FRAC LBRACE NUMBER RBRACE LBRACE NUMBER RBRACE LETTER SUP LBRACE TOP RBRACE'

    Raises   ReadError with a position for what is no formula, TooLargeError beyond the bounds
    """
    return _Scanner(source, words).run()


class _Scanner:
    r"""Reads one formula from left to right."""

    def __init__(self, source: str, words: frozenset[str]) -> None:
        self.source, self.words = source, words
        self.out: list[Tok] = []
        self.depth = 0
        self.pos = 0
        check_characters(source)
        self.text, self.origin = plain(source)

    def fail(
        self, message: str, at: int, hint: str | None = None, kind: type[SymgradError] = ReadError
    ) -> NoReturn:
        fail_at(kind, message, self.source, self.where(at), hint)

    def where(self, at: int) -> int:
        return at if self.origin is None else self.origin[min(at, len(self.origin) - 1)]

    def emit(self, kind: str, text: str, at: int, mark: str = "") -> None:
        if len(self.out) >= LATEX_LIMITS.tokens:
            self.fail(f"the formula has more than {LATEX_LIMITS.tokens} parts", at, kind=TooLargeError)
        self.out.append(Tok(kind, text, self.where(at), self.where(max(at, self.pos - 1)) + 1, mark))

    def run(self) -> list[Tok]:
        while self.pos < len(self.text):
            self.unit()
        if self.depth:
            self.fail("'{' is never closed", self.unclosed(), hint="add '}'")
        return tell_bars_apart(self.source, self.fractions(self.out))

    def fractions(self, tokens: list[Tok]) -> list[Tok]:
        r"""With {a \over b} as \frac{a}{b}."""
        if all(t.kind != "OVER" for t in tokens):
            return tokens
        done: list[Tok] = []
        opened: list[int] = []  # where groups begin
        overs: dict[int, int] = {}  # of a group: where its \over stands
        for t in tokens:
            if t.kind == "LBRACE":
                opened.append(len(done))
            elif t.kind == "OVER":
                if not opened or opened[-1] in overs:
                    self.fail(r"\over divides a group", t.at, hint=r"write \frac{..}{..}")
                overs[opened[-1]] = len(done)
            elif t.kind == "RBRACE" and opened and (start := opened.pop()) in overs:
                middle = overs.pop(start)
                first, last = done[start], replace(t, text="}")
                over = done[middle]
                inside = [
                    replace(first, kind="FRAC", text="frac", end=first.at),
                    *done[start:middle], replace(over, kind="RBRACE", text="}"),
                    replace(over, kind="LBRACE", text="{"), *done[middle + 1 :], last,
                ]  # fmt: skip
                wrapped = start > 0 and done[start - 1].kind in _WITH_ARGUMENT
                done[start:] = [first, *inside, last] if wrapped else inside
                continue
            done.append(t)
        return done

    def unclosed(self) -> int:
        """Where the innermost group that is still open begins."""
        opened: list[int] = []
        for match in re.finditer(r"\\.|[{}]", self.text):
            if match[0] == "{":
                opened.append(match.start())
            elif match[0] == "}" and opened:
                opened.pop()
        return opened[-1] if opened else 0

    def unit(self, single: bool = False) -> bool:
        """Read one piece with its arguments; `single` takes one letter or digit. False if it was only space."""
        match = _PIECE.match(self.text, self.pos)
        assert match is not None  # noqa: S101 - the last branch takes any character
        at, kind, piece = self.pos, str(match.lastgroup), match[0]
        if single and kind in ("number", "letters"):
            piece = piece[0]
        self.pos += len(piece)
        if kind == "space":
            if "&" in piece:
                self.emit("AMP", "&", at)
            return False
        if kind == "number":
            if len(piece) > LATEX_LIMITS.digits:
                self.fail(f"a number of {len(piece)} digits", at, kind=TooLargeError)
            self.emit("NUMBER", piece, at)
        elif kind == "letters":
            self.letters(piece, at)
        elif kind == "command":
            return self.command(piece[1:], at)
        elif kind == "dotted":
            if piece == ".^":
                self.fail("'.^' is not read", at, hint="write a power as ^{2}")
            self.emit("ODOT" if piece == ".*" else "OSLASH", piece, at)
        elif kind == "relation":
            self.emit("REL", {"==": "=", "=:": "=:"}.get(piece, piece), at)
        else:
            self.other(piece, at)
        return True

    def letters(self, run: str, at: int) -> None:
        """A run of plain letters: a known word, or letters one by one."""
        end = self.pos
        if len(run) > 1:
            if run in self.words:
                self.emit("WORD", run, at)
                return
            for length in range(len(run) - 1, 1, -1):
                head = run[:length]
                if head in PREFIXES and (length > 2 or run[length].isupper()):
                    self.pos = at + length
                    self.emit("WORD", head, at)
                    self.pos = end
                    for k, c in enumerate(run[length:], at + length):
                        self.pos = k + 1
                        self.emit("LETTER", c, k)
                    self.pos = end
                    return
        for k, c in enumerate(run, at):
            self.pos = k + 1
            self.emit("LETTER", c, k)
        self.pos = end

    def other(self, c: str, at: int) -> None:
        kind = SINGLE.get(c)
        if kind is None:
            self.fail(
                f"unexpected character {c!r}",
                at,
                hint="a formula holds letters, digits, brackets and commands",
            )
        if kind == "LBRACE":
            self.open(at)
            self.emit(kind, c, at)
        elif kind == "RBRACE":
            if not self.depth:
                self.fail("'}' closes nothing", at)
            self.depth -= 1
            self.emit(kind, c, at)
        elif kind == "PRIME":
            end = at + 1
            while self.text[end : end + 1] == "'":
                end += 1
            self.pos = end
            self.emit("SUP", "^", at)
            self.emit("LBRACE", "{", at)
            for k in range(at, end):
                self.emit("PRIME", "'", k)
            self.emit("RBRACE", "}", end - 1)
        else:
            self.emit(kind, c, at)
            if kind in ("SUP", "SUB"):
                self.argument(at)

    def open(self, at: int) -> None:
        self.depth += 1
        if self.depth > LATEX_LIMITS.depth:
            self.fail(
                f"more than {LATEX_LIMITS.depth} groups inside one another", at, kind=TooLargeError,
                hint="name the inner parts in definitions of their own",
            )  # fmt: skip

    def skip_space(self) -> None:
        while (match := re.compile(r"[\s~]+|%[^\n]*\n").match(self.text, self.pos)) is not None:
            self.pos = match.end()

    def argument(self, at: int) -> None:
        """One argument, in braces: a group, or a single piece with braces put around it."""
        self.skip_space()
        if self.pos >= len(self.text) or self.text[self.pos] in "}&":
            self.fail("an argument is missing here", at, hint="write it in braces")
        if self.text[self.pos] == "{":
            self.group()
            return
        self.open(at)
        self.emit("LBRACE", "{", self.pos)
        if self.text[self.pos] in "^_":
            self.fail("two scripts in a row", self.pos, hint="write them in braces")
        while not self.unit(single=True):
            if self.pos >= len(self.text):
                self.fail("an argument is missing here", at)
        self.depth -= 1
        self.emit("RBRACE", "}", self.pos - 1)

    def group(self) -> None:
        """A group with everything in it, up to its closing brace."""
        depth = self.depth
        self.unit()
        while self.depth > depth:
            if self.pos >= len(self.text):
                self.fail("'{' is never closed", self.unclosed(), hint="add '}'")
            self.unit()

    def raw_group(self, at: int) -> str | None:
        """The text of a group that follows, if it has no group inside; the position moves past it."""
        self.skip_space()
        match = re.compile(r"\{([^{}]*)\}").match(self.text, self.pos)
        if match is None:
            return None
        self.pos = match.end()
        return match[1]

    def nested_group(self, at: int) -> str | None:
        """The text of a group that follows, with words in groups inside it."""
        match = re.compile(r"\{((?:[^{}]|\\text\w*\{[^{}]*\})*)\}").match(self.text, self.pos)
        if match is None:
            return None
        self.pos = match.end()
        return match[1]

    def command(self, name: str, at: int) -> bool:
        starless = name.rstrip("*")
        if name in SPACES or name == " " or name == "\n":
            return False
        if name in ("quad", "qquad"):
            self.emit("QUAD", name, at)
            return False
        if name == "\\":
            match = re.compile(r"\s*\[[^\]]{0,12}\]").match(self.text, self.pos)
            if match and re.search(r"\d\s*(pt|em|ex|cm|mm)", match[0]):
                self.pos = match.end()
            self.emit("NEWLINE", "\\\\", at)
        elif name in LETTERS:
            self.emit("LETTER", LETTERS[name], at)
        elif name in OPERATORS:
            self.emit(OPERATORS[name], name, at)
        elif name in RELATIONS:
            self.emit("REL", RELATIONS[name], at)
        elif name in ("top", "intercal"):
            self.emit("TOP", name, at)
        elif name == "dagger":
            self.emit("DAGGER", name, at)
        elif name in ("prime", "dprime"):
            self.emit("PRIME", "'", at)
        elif name in ("left", "right") or name in SIZES:
            self.delimiter(name, at)
        elif name in DELIMITERS:
            self.emit(*DELIMITERS[name], at)
        elif name in ("frac", "tfrac", "dfrac", "cfrac"):
            self.emit("FRAC", name, at)
            self.argument(at)
            self.argument(at)
        elif name == "over":
            self.emit("OVER", name, at)
        elif name == "sqrt":
            self.root(at)
        elif name in ACCENTS:
            self.emit("ACCENT", ACCENTS[name], at)
            self.argument(at)
        elif starless in FONTS:
            return self.font(starless, at)
        elif name in SWITCHES:
            return self.switch(at)
        elif name in FUNCTIONS:
            self.emit("WORD", "log" if name == "ln" else name, at)
        elif name in ("sum", "prod"):
            self.emit("BIG", name, at)
        elif name in ("forall", "therefore", "because", "qedhere", "qed", "square", "blacksquare", "Box"):
            self.emit("TEXT", name, at)
        elif name == "nabla":
            self.emit("NABLA", name, at)
        elif name == "partial":
            self.emit("PARTIAL", name, at)
        elif name in ("ldots", "cdots", "dots", "dotsc", "dotsb", "vdots", "ddots", "dotsm", "dotso"):
            self.emit("DOTS", name, at)
        elif name in ("begin", "end"):
            self.environment(name, at)
        elif name in ("underbrace", "overbrace"):
            self.emit("UNDERBRACE", name, at)
            self.argument(at)
        elif name in ("pdv", "dv", "odv"):
            self.quotient(name, at)
        elif name == "substack":
            self.stack(at)
        elif name in ("overset", "stackrel", "underset"):
            return self.stacked(at)
        elif name in WRAPPERS or name == "textcolor":
            if name == "textcolor":
                self.raw_group(at)
            start = len(self.out)
            self.argument(at)
            del self.out[start], self.out[-1]
        elif name in DROPPED_WITH_ARGUMENT:
            if self.raw_group(at) is None:
                self.fail(f"\\{name} without its argument", at)
            return False
        elif name in "#$%_" and name:
            self.fail(f"'\\{name}' has no meaning in a formula", at)
        else:
            self.unknown(name, at)
        return True

    def unknown(self, name: str, at: int) -> NoReturn:
        if name.rstrip("*") in UNSAFE or name.startswith(("write", "input", "new", "Declare")):
            self.fail(
                f"\\{name} is refused: macros, files and settings of TeX are not read", at,
                hint="write the formula out",
            )  # fmt: skip
        if not name:
            self.fail("a backslash at the end", at)
        import difflib

        known = [
            *LETTERS,
            *OPERATORS,
            *RELATIONS,
            *FONTS,
            *ACCENTS,
            *FUNCTIONS,
            "frac",
            "sum",
            "nabla",
            "partial",
        ]
        close = difflib.get_close_matches(name, known, 2, 0.7)
        hint = f"did you mean {' or '.join(chr(92) + c for c in close)}?" if close else None
        self.fail(f"\\{name} is not known", at, hint=hint)

    def delimiter(self, name: str, at: int) -> None:
        self.skip_space()
        match = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL).match(self.text, self.pos)
        if match is None:
            self.fail(f"\\{name} without a bracket", at)
        piece = match[0]
        side = {"left": "L", "right": "R"}.get(name, "")
        if name not in ("left", "right") and name[-1] in "lr":
            side = name[-1].upper()
        self.pos = match.end()
        if piece == "." and side:
            self.emit(f"{side}NONE", ".", at)
            return
        kind, text = (
            DELIMITERS.get(piece[1:], ("", "")) if piece.startswith("\\") else (SINGLE.get(piece, ""), piece)
        )
        if kind in ("BAR", "NORM"):
            kind = f"{side}{kind}"
        elif kind not in OPENING | CLOSING or kind in ("LBRACE", "RBRACE"):
            if kind == "SLASH":
                self.emit("SLASH", "/", at)
                return
            self.fail(f"\\{name} without a bracket", at)
        self.emit(kind, text, at)

    def root(self, at: int) -> None:
        self.skip_space()
        match = re.compile(r"\[\s*(\d{1,3})\s*\]").match(self.text, self.pos)
        if match:
            self.pos = match.end()
        elif self.text[self.pos : self.pos + 1] == "[":
            self.fail("this root is not read", self.pos, hint="a root is \\sqrt{x} or \\sqrt[3]{x}")
        self.emit("SQRT", match[1] if match else "2", at)
        self.argument(at)

    def font(self, name: str, at: int) -> bool:
        r"""A font falls away; letters together in one are a word; \text is text, a word, or a mark."""
        if name == "mathop":
            return self.operator(at)
        start = self.pos
        inside = self.raw_group(at)
        if inside is None:
            self.skip_space()
            if self.text[self.pos : self.pos + 1] == "{":
                self.group()
                return True
            if (match := re.compile(r"1|[A-Za-z]").match(self.text, self.pos)) is None:
                return False  # a command follows, which the font does not change
            self.pos = match.end()
            inside = match[0]
        inside = re.sub(r"^\s*(np|numpy|torch|jnp)\.", "", inside)
        bare = inside.strip().replace("\\,", "").replace("\\ ", " ").replace("~", " ")
        if bare == "1":
            self.emit("ONE", name, at)
        elif bare == "0":
            self.emit("NUMBER", "0", at, "bold")
        elif re.fullmatch(r"[A-Za-z]", bare):
            if bare in "TtH" and name in (
                "mathrm",
                "mathsf",
                "text",
                "textsf",
                "textrm",
                "mathtt",
                "operatorname",
                "mathbf",
                "mathit",
            ):
                self.emit(
                    "LETTER", bare, at, "top" if bare in "Tt" and name not in ("mathbf", "mathit") else name
                )
            else:
                self.emit("LETTER", bare, at, name)
        elif name in BOLD and re.fullmatch(r"[A-Z][A-Za-z]{1,3}", bare) and self._is_a_product(bare):
            for letter in bare:
                self.emit("LETTER", letter, at, name)
        elif bare == "grad" and bare not in self.words:
            self.emit("NABLA", name, at)
        elif re.fullmatch(r"[A-Za-z]+(180)?", bare) and (
            name not in TEXTS or bare.lower() not in CONJUNCTIONS
        ):
            self.emit("WORD", bare, at, name)
        elif name in TEXTS and bare.lower() in CONJUNCTIONS:
            self.emit("TEXT", bare, at, name)
        elif name in TEXTS or re.search(r"[^\x00-\x7f]", bare):
            if re.fullmatch(r"[A-Za-z][A-Za-z0-9_\-]*", bare):
                self.emit("WORD", bare.replace("-", ""), at, name)
            elif re.fullmatch(r"[\d.,:;\s]*", bare):
                if bare and bare not in ".,;:":
                    self.emit("NUMBER", bare, at)
                else:
                    return False
            else:
                self.emit("TEXT", bare, at, name)
        elif name == "operatorname" and re.fullmatch(r"[A-Za-z0-9_\-\s]+", bare):
            self.emit("WORD", re.sub(r"[\s\-]", "", bare), at, name)
        elif re.fullmatch(r"[A-Za-z]+(\s+[A-Za-z]+)+", bare) and name in ("mathrm", "mathsf"):
            self.emit("WORD", re.sub(r"\s", "", bare), at, name)
        else:
            self.pos = start
            self.argument(at)
        return True

    def _is_a_product(self, letters: str) -> bool:
        r"""Whether \mathbf{AXB} is A X B: no word that is known, and nothing that would belong to the last letter alone."""
        after = re.match(r"\s*[\^_'(]", self.text[self.pos :])
        return letters not in self.words and after is None

    def operator(self, at: int) -> bool:
        r"""\mathop{..}: a word, or a product with an arrow for its direction."""
        rest = re.compile(r"\s*\{\s*\\overset\s*\{\s*\\(right|left)arrow\s*\}\s*\{\s*\\prod\s*\}\s*\}").match(
            self.text, self.pos
        )
        if rest:
            self.pos = rest.end()
            self.emit("BIG", "ordered" if rest[1] == "right" else "reversed", at)
            return True
        self.argument(at)
        return True

    def switch(self, at: int) -> bool:
        r"""\cal C, \rm tr: letters up to the end of the group are one word."""
        self.skip_space()
        if match := re.compile(r"[A-Za-z]+|1(?!\d)").match(self.text, self.pos):
            self.pos = match.end()
            kind = "ONE" if match[0] == "1" else "LETTER" if len(match[0]) == 1 else "WORD"
            self.emit(kind, match[0], at, "top" if match[0] == "T" else "")
            return True
        return False

    def quotient(self, name: str, at: int) -> None:
        r"""\pdv{f}{x}, \dv{f}{x} of the package physics: \frac{\partial f}{\partial x}."""
        kind, sign = ("PARTIAL", "partial") if name == "pdv" else ("LETTER", "d")
        self.emit("FRAC", "frac", at)
        for _ in range(2):
            start = len(self.out)
            self.argument(at)
            brace = self.out[start]
            self.out.insert(start + 1, Tok(kind, sign, brace.at, brace.end))

    def stack(self, at: int) -> None:
        r"""\substack{i = 1 \\ i \ne j}: a list."""
        start = len(self.out)
        self.argument(at)
        del self.out[start], self.out[-1]
        self.out[start:] = [replace(t, kind="COMMA") if t.kind == "NEWLINE" else t for t in self.out[start:]]

    def stacked(self, at: int) -> bool:
        r"""\overset{(a)}{=}: the sign itself; what stands over it must be a remark."""
        over = self.raw_group(at)
        if over is None:
            over = self.nested_group(at)
        if over is None or not re.fullmatch(r"[\s()A-Za-z0-9\\.!?*{}]*", over):
            self.fail("what stands over this sign is not read", at)
        self.argument(at)
        if len(self.out) >= 3 and self.out[-1].kind == "RBRACE" and self.out[-3].kind == "LBRACE":
            if self.out[-2].kind == "REL":
                sign = self.out[-2]
                del self.out[-3:]
                meant = ":=" if over.strip().strip("\\").replace("text", "") in ("def", "!") else sign.text
                self.out.append(Tok("REL", meant, sign.at, sign.end))
                return True
        self.fail("only a relation can carry a remark", at)

    def environment(self, name: str, at: int) -> None:
        inside = self.raw_group(at)
        if inside is None:
            self.fail(f"\\{name} without the name of an environment", at)
        kind = ENVIRONMENTS.get(inside.rstrip("*"))
        if kind is None:
            self.fail(f"the environment {inside[:30]!r} is not read", at)
        if name == "begin":
            self.open(at)
            if inside.startswith("alignat") or inside == "alignedat":
                self.raw_group(at)
        else:
            if not self.depth:
                self.fail(f"\\end{{{inside}}} closes nothing", at)
            self.depth -= 1
        if kind == "LINES":
            if name == "end":
                return
            return
        self.emit(f"{name.upper()}_{kind}", inside, at)
