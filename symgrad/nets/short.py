"""Short forms written out: a call of a layer, a loss or a network becomes definitions of the text language.

Everything happens in text, before the language is read: the arguments are put in as they were written, in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from inspect import cleandoc
from typing import NoReturn

from symgrad.errors import ReadError, TooLargeError
from symgrad.expr.functions import FUNCTIONS
from symgrad.nets.layers import LAYERS
from symgrad.nets.losses import LOSSES
from symgrad.nets.networks import BLOCKS
from symgrad.nets.row import Block, Row

__all__ = ["ROWS", "ShortForms", "has_short_forms"]

ROWS: dict[str, Row] = {**LAYERS, **LOSSES}
"""All layers and losses by name."""

_CALL = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*\(")
_NAME = re.compile(r"[A-Za-z_]\w*")
_WORD = re.compile(
    r"(?<!\w)(?<!(?<!\.)\.)[A-Za-z_]\w*\b"
)  # after the dots of a range, not after the one of .T
_DECLARED = re.compile(r"^[ \t]*([A-Za-z_]\w*)[ \t]*(?:\[[^\]\n]*\])?[ \t]*(?:=|:([^\n#]*))", re.MULTILINE)
_KEYWORD = re.compile(r"([A-Za-z_]\w*)\s*=(?!=)\s*(.*)", re.DOTALL)
_MOST = 400
_LETTERS = "ijklrstuvabcdeghmnopq"


def has_short_forms(text: str) -> bool:
    """Whether a formula calls a layer, a loss or a network by name."""
    return any(m[1] in ROWS or m[1] in BLOCKS for m in _CALL.finditer(text))


@dataclass
class ShortForms:
    """Writes out one text; `own` are names that it declares as functions, `names` those that are declared elsewhere."""

    source: str
    own: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    used: set[str] = field(default_factory=set)
    networks: set[str] = field(default_factory=set)
    count: int = 0

    def written_out(self, line: str, number: int) -> list[str]:
        """The lines that a definition `target = formula` stands for; the line itself if it has no short form.

        Raises   ReadError for arguments that do not fit, with the position of the call
        """
        target, equals, formula = line.partition("=")
        indent = target[: len(target) - len(target.lstrip())]
        name = _NAME.match(target.strip())
        if not equals or name is None:
            return [line]
        index = target.strip()[name.end() :].strip()
        whole = _CALL.match(formula.strip())
        if whole is not None and whole[1] in BLOCKS and whole[1] not in self.own:
            return self._block(whole[1], name[0], index, formula.strip(), number, line)
        before: list[str] = []
        while True:
            call = self._innermost(formula)
            if call is None:
                return [*before, f"{indent}{target.strip()} ={formula}"]
            called, start, end, arguments = call
            self.count += 1
            if self.count > _MOST:
                raise TooLargeError(f"more than {_MOST} layers are called by name", source=self.source)
            if called in BLOCKS:
                self._fail(
                    line,
                    number,
                    called,
                    f"{called} is a network, not a layer",
                    f"write out = {called}(x, depth=L)",
                )
            row = ROWS[called]
            only = start == len(formula) - len(formula.lstrip()) and end == len(formula.rstrip())
            if row.index and (not only or index):
                self._fail(
                    line,
                    number,
                    called,
                    f"{called} has entries with {len(row.index.split(','))} indices and stands alone",
                    f"write out = {called}({', '.join(row.parameters)}), outside a loop",
                )
            given = {**self._letters_for(row, arguments), **self._given(row, arguments, line, number)}
            own = self._own_name(name[0])
            *inner, value = (self._filled(row, text, given, own, index) for text in row.lines)
            if row.declares and row.declares not in self.used:
                self.used.add(row.declares)
                before.append(row.declares)
            for text in inner:
                before += self.written_out(indent + text, number)
            if row.index:
                return [*before, f"{indent}{name[0]}[{_put_in(row.index, given)}] = {value}"]
            formula = formula[:start] + (value if only else f"({value})") + formula[end:]

    def _innermost(self, formula: str) -> tuple[str, int, int, list[str]] | None:
        """The last call of a short form: its name, where it stands, and the text of its arguments."""
        calls = [m for m in _CALL.finditer(formula) if m[1] in {*ROWS, *BLOCKS} - self.own]
        if not calls:
            return None
        m = calls[-1]
        depth, at = 1, m.end()
        cuts = [at]
        while at < len(formula) and depth:
            c = formula[at]
            depth += (c in "([") - (c in ")]")
            if c == "," and depth == 1:
                cuts.append(at + 1)
            at += 1
        pieces = [formula[a : b - 1].strip() for a, b in zip(cuts, [*cuts[1:], at], strict=True)]
        return m[1], m.start(), at, [p for p in pieces if p]

    def _own_name(self, name: str) -> str:
        """A prefix for the names of a row's own quantities: the target's, with a number from the second row on."""
        prefix = name
        n = 1
        while f"own {prefix}" in self.used:
            n += 1
            prefix = f"{name}{n}"
        self.used.add(f"own {prefix}")
        return prefix

    def _given(self, row: Row, arguments: list[str], line: str, number: int) -> dict[str, str]:
        """What stands for the parameters and options of a row: arguments in order, then those by name."""
        named: dict[str, str] = {m[1]: m[2].strip() for a in arguments if (m := _KEYWORD.fullmatch(a))}
        plain = [a for a in arguments if not _KEYWORD.fullmatch(a)]
        known = {*row.parameters, *row.options}
        for key in named:
            if key not in known:
                self._fail(line, number, key, f"{row.name} has no argument {key}", f"it is called {row.call}")
        order = [p for p in row.parameters if p not in named]
        if len(plain) != len(order):
            self._fail(
                line,
                number,
                row.name,
                f"{row.name} takes {len(row.parameters)} arguments, not "
                f"{len(plain) + len(row.parameters) - len(order)}",
                f"write {row.call}",
            )
        given = dict(zip(order, plain, strict=True)) | {k: v for k, v in named.items() if k in row.parameters}
        for key, default in row.options.items():
            value = str(named.get(key, given.get(default, default)))
            if not _is_size(value) or (key == "stride" and not value.isdigit()):
                wanted = "a number that is at least 1" + (
                    "" if key == "stride" else ", or the name of a size"
                )
                self._fail(line, number, value, f"the {key} {value} is no {key}", f"a {key} is {wanted}")
            given[key] = value
        return given

    def _letters_for(self, row: Row, arguments: list[str]) -> dict[str, str]:
        """Letters for the indices of a row: its own, but others for those that are names here."""
        names = {*self.names, *_WORD.findall(" ".join(arguments))}
        for m in _DECLARED.finditer(self.source):
            names |= {m[1], *_WORD.findall(m[2] or "")}
        free = (c for c in _LETTERS if c not in names and c not in row.letters.split())
        return {c: next(free, f"{c}_") if c in names else c for c in row.letters.split()}

    def _filled(self, row: Row, text: str, given: dict[str, str], own: str, index: str) -> str:
        def put_in(m: re.Match[str]) -> str:
            word = m[0]
            return f"{own}{word}{index}" if word.startswith("_") else _argument(given, word)

        local, equals, formula = text.partition(" = ")  # a keyword has no spaces around its sign
        if not equals:
            local, formula = "", text
        filled = re.sub(_WORD.pattern + r"(?!=[^=])", put_in, formula)
        return f"{own}{_put_in(local, given)}{index} = {filled}" if equals else filled

    def _block(self, called: str, out: str, index: str, formula: str, number: int, line: str) -> list[str]:
        """A network of symbolic length, written out with its options."""
        block = BLOCKS[called]
        found = self._innermost(formula)
        if index or found is None or found[2] != len(formula):
            raise self._error(
                line, number, called, f"{called} stands alone", f"write {out} = {called}(x, ..)"
            )
        inputs = [a for a in found[3] if "=" not in a]
        if len(inputs) != 1 or not _NAME.fullmatch(inputs[0]):
            self._fail(
                line,
                number,
                called,
                f"{called} takes one name, its input",
                f"options are given by name: {BLOCKS[called].call}",
            )
        options = dict(block.options)
        for piece in (a for a in found[3] if "=" in a):
            key, _, value = (p.strip() for p in piece.partition("="))
            if key not in options:
                known = ", ".join(options)
                self._fail(line, number, key, f"{called} has no option {key}", f"its options are {known}")
            options[key] = value
        self._check(options, line, number)
        self._check_names(block, inputs[0], found[3], line, number)
        letters = _letters(options)
        text = cleandoc(block.text).format(x=inputs[0], out=out, **letters, **options)
        return [written for row in text.splitlines() for written in self.written_out(row, number)]

    def _check_names(self, block: Block, x: str, arguments: list[str], line: str, number: int) -> None:
        """The names of a network are its own, and its input has the width that it is declared with."""
        mine = set(re.findall(r"^\s*([A-Za-z_]\w*)(?:\[.*?\])? [:=]", block.text, re.MULTILINE))
        declared = list(_DECLARED.finditer(self.source))
        taken = sorted(mine & ({m[1] for m in declared if m[2] is None} | self.networks))
        if taken:
            self._fail(
                line,
                number,
                block.name,
                f"{taken[0]} is a name of {block.name}, and is defined elsewhere in this model",
                f"{block.name} defines {', '.join(sorted(mine))}; a second network is written out with other names",
            )
        self.networks |= mine
        said = next((m[2].split() for m in declared if m[1] == x and m[2] is not None), None)
        if said and "{x} : {width}" in block.text and not any(a.startswith("width") for a in arguments):
            width = block.options["width"]
            if said[0] != width:
                self._fail(
                    line,
                    number,
                    block.name,
                    f"{x} is declared {said[0]}, but the width of {block.name} is {width} if it is not given",
                    f"write {block.name}({x}, width={said[0]})",
                )

    def _check(self, options: dict[str, str], line: str, number: int) -> None:
        for key, value in options.items():
            if key == "activation":
                if value not in FUNCTIONS and value != "identity" and value not in self.own:
                    known = "identity, " + ", ".join(sorted(FUNCTIONS))
                    self._fail(line, number, value, f"there is no activation {value}", f"there are {known}")
            elif key in ("depth", "length"):
                if not (_NAME.fullmatch(value) or (value.isdigit() and int(value) > 0)):
                    self._fail(
                        line,
                        number,
                        value,
                        f"the {key} {value} is no number of layers",
                        f"a {key} is a name, such as L, or a number that is at least 1",
                    )
            elif not (_NAME.fullmatch(value) or (value.isdigit() and int(value) > 0)):
                self._fail(
                    line, number, value, f"the {key} {value} is no size", "a size is a name or a number"
                )

    def _fail(self, line: str, number: int, name: str, message: str, hint: str) -> NoReturn:
        raise self._error(line, number, name, message, hint)

    def _error(self, line: str, number: int, name: str, message: str, hint: str) -> ReadError:
        column = max(line.find(name), 0) + 1
        return ReadError(message, source=self.source, line=number, column=column, hint=hint)


def _argument(given: dict[str, str], word: str) -> str:
    """What stands for a word, in brackets unless it is a name, a number or a member."""
    if word not in given:
        return word
    plain = re.fullmatch(r"[\w.]+(\[[^\]]*\])?", given[word])
    return given[word] if plain else f"({given[word]})"


def _put_in(text: str, given: dict[str, str]) -> str:
    return re.sub(_WORD.pattern + r"(?!=[^=])", lambda m: _argument(given, m[0]), text)


def _is_size(value: str) -> bool:
    return bool(_NAME.fullmatch(value)) or (value.isdigit() and int(value) > 0)


def _letters(options: dict[str, str]) -> dict[str, str]:
    """Indices for layers and steps that no option uses as a name."""
    taken = set(options.values())

    def free(letters: str) -> Iterator[str]:
        return (c for c in letters if c not in taken)

    return {"l": next(free("lkq")), "t": next(free("tsq"))}
