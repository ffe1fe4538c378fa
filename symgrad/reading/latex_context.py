r"""What a LaTeX formula talks about: the names of the model, what the notes say about symbols, definitions in LaTeX.

Definitions give functions (f(x) = 1/(1 + e^{-x}), f = \tanh), names for derivatives (\delta^l = dL/dz^l), and names
for expressions; where there is no model yet, they are the model.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from sympy import Expr, S

from symgrad.errors import NameUnknownError, ReadError, ShapeError, SymgradError
from symgrad.expr import (
    Correlate,
    Definition,
    Elementwise,
    Family,
    Model,
    Softmax,
    is_leaf,
    is_matrix,
    is_scalar,
    leaves,
    size,
    walk,
)
from symgrad.reading.claim import Context
from symgrad.reading.context import shape_lists
from symgrad.reading.latex_functions import FUNCTION_WORDS, elementwise_name
from symgrad.reading.latex_meaning import Meaning
from symgrad.reading.latex_scope import Alias, Function, Marked, Scope, Unbound, marked, stem_of
from symgrad.reading.latex_tree import Node, parse, parse_statements, same_writing, walk_nodes
from symgrad.reading.latex_values import OpenSize, Val, has_index, lifted
from symgrad.reading.latex_writing import derivative_parts

__all__ = ["Setting", "setting_of"]


@dataclass
class Setting:
    """A context, ready for reading: its names, sizes, functions, and what its symbols mean."""

    context: Context
    model: Model
    target: Expr | None = None
    wrt: Expr | None = None
    names: dict[str, Expr | Family] = field(default_factory=dict)
    sizes: dict[str, Expr] = field(default_factory=dict)
    aliases: list[Alias] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    writings: list[tuple[Node, Expr]] = field(default_factory=list)
    derivatives: list[tuple[Expr, Expr, Expr]] = field(default_factory=list)
    layers: dict[str, int] = field(default_factory=dict)
    gradients: dict[str, Expr] = field(default_factory=dict)
    words: frozenset[str] = FUNCTION_WORDS
    called: list[Marked] = field(default_factory=list)
    rows: bool = False
    einstein: bool = False
    unread: list[tuple[str, SymgradError]] = field(default_factory=list)

    def scope(
        self,
        source: str,
        layers: dict[str, int] | None = None,
        plan: tuple[int, ...] = (),
        opened: dict[int, Expr] | None = None,
    ) -> Scope:
        """A scope for one reading."""
        return Scope(
            source, dict(self.names), self.sizes, self.model.assumptions, self.aliases, self.functions, self.writings,
            self.derivatives, dict(self.layers if layers is None else layers), rows=self.rows, einstein=self.einstein,
            plan=plan, opened=dict(opened or {}),
        )  # fmt: skip

    def meaning(self, scope: Scope) -> Meaning:
        """A reader in that scope."""
        meaning = Meaning(scope, self.symbol_of)
        meaning.is_called = self.is_called
        meaning.is_defined = self.is_defined
        meaning.depends_on = self.depends_on
        return meaning

    def is_called(self, m: Marked) -> bool:
        """Whether the definitions write a symbol with its arguments, as in f(x) = .."""
        return any(
            stem_of(m.base) == stem_of(c.base)
            and len(m.subs) == len(c.subs)
            and all(same_writing(p, q) for p, q in zip((*m.subs, *m.sups), (*c.subs, *c.sups), strict=False))
            for c in self.called
        )

    def is_defined(self, e: Expr) -> bool:
        """Whether the model defines a name."""
        return self.model.definition_of(e) is not None

    def depends_on(self, f: Expr, x: Expr) -> bool:
        """Whether a defined name depends on another name."""
        seen: set[Expr] = set()
        stack = [f]
        while stack:
            e = stack.pop()
            if e == x:
                return True
            if e in seen:
                continue
            seen.add(e)
            definition = self.model.definition_of(e)
            if definition is not None:
                stack.extend(leaves(definition.value))
        return False

    def symbol_of(self, e: Expr) -> Expr | None:
        """The name that the model gives to an expression, the question's own first."""
        if self.target is not None and not is_leaf(self.target) and self.target == e:
            return self.target
        for d in self.model.definitions():
            if d.value == e:
                return d.symbol
        unfolded = {d.symbol: d.value for d in self.model.definitions()}
        for d in self.model.definitions():
            if is_scalar(d.value) == is_scalar(e) and d.value.xreplace(unfolded) == e:
                return d.symbol
        return None

    def layer_numbers(self) -> list[int]:
        """The numbers that a layer can have: those at the ends of names, and their neighbours."""
        found = {int(m[1]) for n in self.names if (m := re.search(r"(\d{1,2})$", n))}
        return sorted(n for n in {*found, *(f - 1 for f in found)} if 0 <= n <= 12)

    def has_layers_of(self, m: Marked) -> bool:
        """Whether a symbol is known at some layer, though not at the one that is tried."""
        stem = stem_of(m.base) or ""
        return any(re.fullmatch(rf"{re.escape(stem)}_?\d+", n) for n in self.names) or any(
            stem_of(a.symbol.base) == stem for a in self.aliases
        )

    def signal_of(self, e: Expr) -> tuple[Expr, Expr] | None:
        """Of what and by what a name is the derivative, where the notes say so."""
        return next(((of, x) for of, x, g in self.derivatives if g == e and of is not S.NaN), None)

    def gradient_of(self, name: str) -> Expr | None:
        """Of what d + name is the gradient, where the notes say so."""
        return self.gradients.get(name, self.gradients.get(name.rstrip("0123456789")))

    @staticmethod
    def same_layer(a: str, b: str) -> bool:
        """Whether two names can be of one layer: the numbers at their ends agree, if both have one."""
        p, q = re.search(r"(\d+)$", a), re.search(r"(\d+)$", b)
        return p is None or q is None or p[1] == q[1]


def setting_of(context: Context) -> Setting:
    """The setting of a context.

    Raises   SymgradError if a definition cannot be read and no other says what it says
    """
    from symgrad.reading.claim import _Reader

    reader = _Reader("", context)
    setting = Setting(context, reader.model)
    declared = shape_lists(context.shapes)
    for name in declared:
        if name not in reader.model.symbols and name.isidentifier():
            setting.names[name] = reader._expression(name)
    setting.names |= dict(reader.model.symbols)
    for e in setting.names.values():
        for s in getattr(e, "shape", ()):
            for a in getattr(s, "free_symbols", ()):
                if getattr(a, "is_positive", False):
                    setting.sizes[str(a)] = a
    for sizes in declared.values():
        for s in sizes:
            if s.isidentifier():
                setting.sizes.setdefault(s, size(s))
    for name in context.functions:
        setting.functions[name] = Function(name)
    for name, words in reader.model.assumptions.items():
        if "function" in words:
            setting.functions[name] = Function(name)
    setting.words = FUNCTION_WORDS | {n for n in setting.names if len(n) > 1} | _words_of(context)
    _axes(setting)
    _notes(setting, reader)
    _definitions(setting, reader)
    setting.target = _asked(context.target, setting, reader) if context.target else reader.target
    setting.wrt = _asked(context.wrt, setting, reader) if context.wrt else None
    return setting


def _asked(name: str, setting: Setting, reader: object) -> Expr:
    found = setting.names.get(name)
    if found is not None and not isinstance(found, Family):
        return found
    e: Expr = reader._expression(name)  # type: ignore[attr-defined]
    return e


def _words_of(context: Context) -> frozenset[str]:
    """Names of several letters that the definitions themselves call."""
    found = set()
    for text in context.definitions_latex:
        for match in re.finditer(r"(?:^|=)\s*([A-Za-z]{2,})\s*\(", text):
            if not re.fullmatch(r"d[A-Za-z]", match[1]):
                found.add(match[1])
    return frozenset(found)


def _axes(setting: Setting) -> None:
    """Along which axis the model takes its softmax, and whether it correlates."""
    axes = set()
    for d in setting.model.definitions():
        for node in walk(d.value):
            if isinstance(node, Softmax) and node.arg.shape[1] != 1:
                axes.add(node.axis)
            if isinstance(node, Correlate):
                setting.functions["*"] = Function("correlate")
    if len(axes) == 1:
        setting.functions["softmax axis"] = Function(str(axes.pop()))


# --- notes on symbols --------------------------------------------------------------------------------------


def _notes(setting: Setting, reader: object) -> None:
    """What the notes say about symbols: names, expressions, rows, layers; other words are for people."""
    for key, said in setting.context.symbols.items():
        if not isinstance(key, str) or not isinstance(said, str):
            raise ReadError("symbols is a mapping of text to text")
        lowered = said.lower()
        if re.search(r"repeated ind", key) and "sum" in lowered:
            setting.einstein = True
            continue
        if "row vectors" in lowered:
            setting.rows = True
            continue
        if key.strip() == "*" and re.search(r"correl|conv", lowered):
            setting.functions["*"] = Function("correlate" if "correl" in lowered else "convolve")
            continue
        if "softmax" in key and re.search(r"(row|column|col)", lowered):
            setting.functions["softmax axis"] = Function("1" if "row" in lowered else "0")
            continue
        try:
            statements = parse_statements(key, setting.words)
        except SymgradError:
            continue
        for symbol in statements:
            _note(setting, reader, symbol, said.strip())


def _note(setting: Setting, reader: object, symbol: Node, said: str) -> None:
    if match := re.fullmatch(r"(?:layer |step )?(\d+)", said):
        if symbol.kind == "letter":
            setting.layers[symbol.text] = int(match[1])
        return
    if match := re.fullmatch(r"(row|column|col)\s+(\w+)\s+of\s+(\w+)", said):
        e = setting.names.get(match[3])
        m = marked(symbol)
        if is_matrix(e) and any(s.text == match[2] for s in (*m.subs, *m.sups)):
            setting.aliases.append(Alias(m, e, (match[2],), 0 if match[1] == "row" else 1))
        return
    if (match := re.search(r"\bdim (\w+)", said)) and symbol.kind == "letter":
        if match[1] in setting.sizes:
            setting.sizes[symbol.text] = setting.sizes[match[1]]
        return
    if match := re.match(r"derivative of (\S+)", said):
        _gradient_names(setting, symbol, match[1])
        return
    for text, number in _meanings(said):
        value = _value(setting, reader, text)
        if value is None:
            return
        _give(setting, symbol, *value, number)


def _gradient_names(setting: Setting, symbol: Node, of: str) -> None:
    """dW^{[l]} is the derivative of J: d + name is the gradient of J."""
    try:
        scope = setting.scope(of)
        value, _ = scope.symbol(marked(parse(of, setting.words)))
    except (SymgradError, Unbound):
        return
    parts = symbol.parts if symbol.kind == "term" else ()
    if len(parts) == 2 and parts[0].text == "d":
        stem = stem_of(marked(parts[1]).base)
        if stem:
            setting.gradients[stem] = value.expr


def _meanings(said: str) -> Iterator[tuple[str, str | None]]:
    """The names in a note, each with the number that it ends in where there are several."""
    text = re.split(r";| \(|\s+for\s+|\s+=\s+", said)[0].strip()
    pieces = [p.strip() for p in text.split(",")]
    named = [p for p in pieces if re.fullmatch(r"[A-Za-z]\w*", p)]
    if len(pieces) > 1 and len(named) == len(pieces):
        for p in pieces:
            match = re.search(r"(\d+)$", p)
            if match:
                yield p, match[1]
        return
    yield (pieces[0] if not re.search(r"[(\[]", text) else text), None


def _value(setting: Setting, reader: object, text: str) -> tuple[Expr, tuple[str, ...]] | None:
    """The expression of a note, without its index letters: g[i] is g with the index i."""
    letters: list[str] = []
    found = re.findall(r"\[([a-z](?:\s*,\s*[a-z])*)\]", text)
    if found and len(set(found)) == 1:
        letters = [c.strip() for c in found[0].split(",")]
        text = re.sub(r"\[[a-z](?:\s*,\s*[a-z])*\]", "", text)
    if re.fullmatch(r"[A-Za-z]\w*", text):
        e = setting.names.get(text)
        if e is None:
            e = setting.sizes.get(text)
        if e is None and elementwise_name(text):
            return S.NaN, (text,)
        if e is None or isinstance(e, Family):
            return None
        return e, tuple(letters)
    if not re.search(r"[-+*/@(]", text) or re.search(r"[A-Za-z]\s+[A-Za-z]|[^\x00-\x7f\\]|\\", text):
        return None
    try:
        return reader._expression(text), tuple(letters)  # type: ignore[attr-defined]
    except SymgradError:
        return None


def _give(setting: Setting, symbol: Node, value: Expr, letters: tuple[str, ...], number: str | None) -> None:
    """Give a symbol, or a derivative, its meaning."""
    if value is S.NaN:
        m = marked(symbol)
        stem = stem_of(m.base)
        if stem:
            marks = "".join(i.text for i in (*m.subs, *m.sups) if i.kind in ("letter", "number"))
            setting.functions[stem + marks] = Function(elementwise_name(letters[0]) or letters[0])
        return
    derivative = _derivative_of(setting, symbol, int(number) if number else None)
    if derivative is not None:
        setting.derivatives.append((*derivative, value))
        return
    m = marked(symbol)
    if stem_of(m.base) is None:
        parts = symbol.parts if symbol.kind == "term" else ()
        if len(parts) == 2 and parts[0].kind == "letter" and parts[0].text == "d":
            return
        if not any(n.kind in ("sub", "sup") for n in walk_nodes(symbol)):
            setting.writings.append((symbol, value))
        return
    scripts = [i for i in (*m.subs, *m.sups) if i.kind == "letter" and not i.mark]
    rank = 0 if is_scalar(value) else 1 if value.shape[1] == 1 else 2
    if not letters and len(scripts) >= rank and rank:
        subs = [i.text for i in m.subs if i.kind == "letter"]
        pool = subs if len(subs) == rank else [i.text for i in scripts]
        letters = tuple(pool) if len(pool) == rank else ()
    if number is not None:
        m = _numbered(m, number)
        letters = ()
    setting.aliases.append(Alias(m, value, letters))


def _numbered(m: Marked, number: str) -> Marked:
    """The symbol with its last letter of a script replaced by a number."""

    def swap(items: tuple[Node, ...]) -> tuple[tuple[Node, ...], bool]:
        for k in range(len(items) - 1, -1, -1):
            letters = [n for n in walk_nodes(items[k]) if n.kind == "letter"]
            if letters:
                digit = Node("number", (), items[k].at, items[k].end, number)
                return (*items[:k], digit, *items[k + 1 :]), True
        return items, False

    sups, done = swap(m.sups)
    subs = m.subs
    if not done:
        subs, _ = swap(m.subs)
    return replace(m, subs=subs, sups=sups)


def _derivative_of(setting: Setting, node: Node, layer: int | None = None) -> tuple[Expr, Expr] | None:
    """Of what and by what a writing is a derivative; entries stand for the whole."""
    from symgrad.reading.latex import _Claims

    letters = {n.text for n in walk_nodes(node) if n.kind == "letter"}
    candidates: list[dict[str, int]] = [{}]
    if layer is not None:
        candidates = [{c: layer} for c in sorted(letters)] + candidates
    for layers in candidates:
        scope = setting.scope(setting_source(node), {**setting.layers, **layers})
        scope.may_bind = True
        try:
            left = _Claims(scope, setting, scope.source, ())._derivative_side(node)
        except (SymgradError, Unbound, OpenSize):
            continue
        if left is not None:
            return left.of, left.wrt
    return None


def setting_source(node: Node) -> str:
    """A source long enough for the positions of a node."""
    return " " * max(node.end, 1)


# --- definitions in LaTeX -----------------------------------------------------------------------------------


def _definitions(setting: Setting, reader: object) -> None:
    """Read every definition; those that only name a function or a derivative first."""
    has_model = bool(setting.model.items)
    parsed: list[tuple[str, Node]] = []
    for text in setting.context.definitions_latex:
        try:
            parsed += [(text, s) for s in parse_statements(text, setting.words)]
        except SymgradError as error:
            if not has_model:
                raise
            setting.unread.append((text, error))
    chains = [(t, s) for t, s in parsed if s.kind == "chain" and s.parts[1].text in ("=", ":=")]
    for text, chain in chains:
        _functions(setting, text, chain)
        call = _as_call(chain.parts[0])
        if call is not None and not (call[0].kind == "word" and call[0].text in FUNCTION_WORDS):
            setting.called.append(marked(call[0]))
    if has_model and not setting.rows:
        setting.rows = _written_as_rows(setting, chains)
    waiting = chains
    while waiting:  # a definition may use one that is written after it
        refused: list[tuple[str, Node, SymgradError]] = []
        for text, chain in waiting:
            try:
                _definition(setting, text, chain, has_model)
            except Unbound as unbound:
                unknown = NameUnknownError(f"{unbound.letter} is neither an index nor a layer here")
                refused.append((text, chain, unknown))
            except SymgradError as error:
                refused.append((text, chain, error))
        if len(refused) == len(waiting):
            if not has_model:
                raise refused[0][2]
            setting.unread += [(text, error) for text, _, error in refused]
            break
        waiting = [(text, chain) for text, chain, _ in refused]


def _functions(setting: Setting, text: str, chain: Node) -> None:
    r"""F = \tanh; f(x) = 1/(1 + e^{-x}); z = h(a) = \tanh(a); a = f(z) where the model says tanh."""
    sides = chain.parts[0::2]
    first = sides[0]
    for side in sides[1:]:
        m = marked(side)
        if m.base.kind == "word" and not m.subs and not m.sups and m.base.text in FUNCTION_WORDS:
            name = _function_key(setting, first)
            if name:
                word = m.base.text
                setting.functions[name] = Function(elementwise_name(word) or word.lower())
    calls = [(s, c) for s in sides if (c := _as_call(s)) is not None]
    for side, (head, argument) in calls:
        key = _function_key(setting, head)
        if key is None or key in setting.functions or _known_function(key):
            continue
        for other in sides:
            if other is side:
                continue
            called = _as_call(other)
            if called is not None and same_writing(called[1], argument):
                word = stem_of(marked(called[0]).base) or ""
                if elementwise_name(word) or word in setting.functions or word == "sigma":
                    setting.functions[key] = Function(
                        "sigmoid" if word == "sigma" else elementwise_name(word) or word
                    )
                    break
            if _only_holds(other, argument):
                body = _replaced(other, argument)
                setting.functions[key] = Function(text, _T, body)
                break
        else:
            _function_by_model(setting, key, sides, text)


_T = Node("letter", (), 0, 0, "t_")


def _known_function(key: str) -> bool:
    return key in FUNCTION_WORDS


def _function_key(setting: Setting, head: Node) -> str | None:
    """A name for a function: letters and marks; None if it is a name of the model."""
    m = marked(head)
    stem = stem_of(m.base)
    if stem is None or (stem in setting.names and not (m.subs or m.sups)):
        return None
    marks = []
    for i in (*m.subs, *m.sups):
        mark = setting.scope("").mark_text(i)
        if mark is None:
            return None
        marks.append(mark)
    key = stem + "".join(marks)
    return None if key in setting.names else key


def _as_call(side: Node) -> tuple[Node, Node] | None:
    r"""A function and its argument: f(x), \tanh(x), \tanh x."""
    if side.kind != "term" or len(side.parts) != 2:
        return None
    head, argument = side.parts
    if stem_of(marked(head).base) is None:
        return None
    if argument.kind == "paren" and argument.text == "(" and len(argument.parts) == 1:
        return head, argument.parts[0]
    return (head, argument) if head.kind == "word" and head.text in FUNCTION_WORDS else None


def _only_holds(body: Node, argument: Node) -> bool:
    """Whether a formula holds nothing but numbers, functions and the argument."""
    if same_writing(body, argument):
        return True
    if body.kind in ("letter", "accent"):
        return body.text in ("e", "pi") and body.kind == "letter"
    if body.kind == "word":
        return body.text in FUNCTION_WORDS
    if body.kind in ("big", "nabla", "partial", "text", "dots"):
        return False
    return all(_only_holds(p, argument) for p in body.parts)


def _replaced(body: Node, argument: Node) -> Node:
    if same_writing(body, argument):
        return _T
    return replace(body, parts=tuple(_replaced(p, argument) for p in body.parts))


def _function_by_model(setting: Setting, key: str, sides: tuple[Node, ...], text: str) -> None:
    """A = f(z): what the model says f is."""
    scope = setting.scope(text)
    scope.may_bind = True
    try:
        value, _ = scope.symbol(marked(sides[0]))
    except (SymgradError, Unbound):
        return
    e = value.expr.args[0] if value.expr.args and not is_leaf(value.expr) else value.expr
    definition = setting.model.definition_of(e)
    if (
        definition is not None
        and isinstance(definition.value, Elementwise)
        and not definition.value.parameters
    ):
        setting.functions[key] = Function(definition.value.name)
    elif definition is not None and isinstance(definition.value, Softmax):
        setting.functions[key] = Function("softmax")


def _written_as_rows(setting: Setting, chains: list[tuple[str, Node]]) -> bool:
    """Whether the definitions fit with vectors as rows only."""
    verdicts = []
    for rows in (False, True):
        misfits = 0
        for text, chain in chains:
            scope = setting.scope(text)
            scope.rows, scope.may_bind = rows, True
            try:
                setting.meaning(scope).read(chain.parts[-1])
            except ShapeError:
                misfits += 1
            except (SymgradError, Unbound, OpenSize):
                pass
        verdicts.append(misfits)
    return verdicts[1] == 0 < verdicts[0]


def _definition(setting: Setting, text: str, chain: Node, has_model: bool) -> None:
    """A definition: a name for a derivative, another name for what the model has, or a part of the model."""
    sides = chain.parts[0::2]
    first, *rest = sides
    if _as_function_definition(setting, chain):
        return
    for side in rest:
        if _names_a_derivative(setting, text, first, side):
            return
    if has_model:
        _second_name(setting, text, first, rest)
        return
    _model_definition(setting, text, first, rest)


def _as_function_definition(setting: Setting, chain: Node) -> bool:
    call = _as_call(chain.parts[0])
    if call is None:
        return (
            marked(chain.parts[0]).base.kind != "paren"
            and _function_key(setting, chain.parts[0]) in setting.functions
        )
    return _function_key(setting, call[0]) in setting.functions


def _names_a_derivative(setting: Setting, text: str, first: Node, side: Node) -> bool:
    r"""\delta^{(l)} = dL/dz^{(l)}, for every layer that has both names."""
    from symgrad.reading.latex import _Claims

    if not any(n.kind in ("partial", "nabla") for n in walk_nodes(side)) and derivative_parts(side) is None:
        return False
    letters = _script_letters(first) & _script_letters(side)
    numbers = setting.layer_numbers() or [0]
    trials: list[dict[str, int]] = [{}]
    for letter in sorted(letters):
        trials += [{letter: n} for n in numbers]
    found = False
    for layers in trials:
        scope = setting.scope(text, {**setting.layers, **layers})
        scope.may_bind = not layers
        claims = _Claims(scope, setting, text, ())
        try:
            name = _whole(scope, claims.meaning, first)
            scope.may_bind = not layers
            left = claims._derivative_side(side)
        except (SymgradError, Unbound, OpenSize):
            continue
        if left is not None and name is not None:
            found = True
            if (left.of, left.wrt, name) not in setting.derivatives:
                setting.derivatives.append((left.of, left.wrt, name))
    return (
        found
        or derivative_parts(side) is not None
        or (side.kind == "term" and side.parts[0].kind == "partial")
    )


def _script_letters(node: Node) -> set[str]:
    return {
        n.text
        for s in walk_nodes(node)
        if s.kind in ("sub", "sup")
        for n in walk_nodes(s)
        if n.kind == "letter"
    }


def _whole(scope: Scope, meaning: Meaning, node: Node) -> Expr | None:
    """The array that a symbol, or an entry of it, belongs to."""
    parts = node.parts if node.kind == "term" else ()
    if len(parts) == 2 and parts[0].kind == "letter" and parts[0].text == "d":
        found = meaning.increment(marked(parts[1]), parts[0])
        return None if found is None else _bare(found[0])
    if stem_of(marked(node).base) is None:
        return None
    value, _ = scope.symbol(marked(node))
    return _bare(value)


def _bare(value: Val) -> Expr | None:
    from sympy.matrices.expressions.matexpr import MatrixElement
    from sympy.matrices.expressions.transpose import Transpose

    e = value.expr
    if isinstance(e, MatrixElement | Transpose):
        e = e.args[0]
    return e if is_leaf(e) else None


def _second_name(setting: Setting, text: str, first: Node, rest: list[Node]) -> None:
    """A symbol that no name of the model has: the name of the expression that it is defined by."""
    call = _as_call(first)
    m = marked(first if call is None else call[0])
    known: Expr | None = None
    scope = setting.scope(text)
    scope.may_bind = True
    try:
        if stem_of(m.base) is not None:
            known = _bare(scope.symbol(m)[0])
    except (NameUnknownError, ShapeError, Unbound):
        known = None
    refused: SymgradError | None = None
    for side in rest:
        values, error = _values(setting, text, first, side)
        if not values:
            if known is not None and is_leaf(known) and not _script_letters(side) and side.kind == "term":
                setting.writings.append((side, known))
            else:
                refused = refused or error
            continue
        refused = None
        if known is not None or stem_of(m.base) is None:
            break
        for layers, value in values:
            _local_name(setting, _at_layers(m, layers), value)
        break
    if refused is not None:
        raise refused


def _local_name(setting: Setting, m: Marked, value: Val) -> None:
    """A symbol that only the LaTeX has: another name of the model, or a name for an expression."""
    symbol = setting.symbol_of(value.expr)
    e = value.expr if symbol is None else symbol
    rank = 0 if is_scalar(e) else 1 if e.shape[1] == 1 else 2
    letters = tuple(s.text for s in m.subs if s.kind == "letter")
    alias = Alias(m, e, letters[-rank:] if rank and len(letters) >= rank else ())
    if not any(a.value == e and a.symbol == m for a in setting.aliases):
        setting.aliases.append(alias)


def _at_layers(m: Marked, layers: Mapping[str, int]) -> Marked:
    """The symbol at a layer: every mark that names the layer is a number."""

    def at(item: Node) -> Node:
        scope = Scope("", {}, {}, {}, layers=dict(layers))
        letters = {n.text for n in walk_nodes(item) if n.kind == "letter"}
        n = scope.number_in(item) if letters & set(layers) else None
        return item if n is None else Node("number", (), item.at, item.end, str(n))

    return replace(m, subs=tuple(map(at, m.subs)), sups=tuple(map(at, m.sups)))


def _values(
    setting: Setting, text: str, first: Node, side: Node
) -> tuple[list[tuple[dict[str, int], Val]], SymgradError]:
    """The values of a right side at every layer, with the letters on the left as indices."""
    from symgrad.reading.latex import _explore

    def attempt(scope: Scope) -> tuple[dict[str, int], Val]:
        scope.may_bind = True
        value = _over_left_indices(setting, scope, first, side)
        return {k: n for k, n in scope.layers.items() if setting.layers.get(k) != n}, value

    return _explore(attempt, setting, text)


def _over_left_indices(setting: Setting, scope: Scope, first: Node, side: Node) -> Val:
    """The right side of a component definition, as an array over the indices of the left side."""
    meaning = setting.meaning(scope)
    call = _as_call(first)
    m = marked(first if call is None else call[0])
    if m.subs and stem_of(m.base) is not None:
        with contextlib.suppress(NameUnknownError):
            scope.symbol(m)  # binds the indices to the axes of a name that is known
    value = meaning.read(side)
    letters = [i.text for i in (*m.subs, *m.sups) if i.kind == "letter" and i.text in scope.indices]
    used = [c for c in letters if scope.indices[c].symbol in value.expr.free_symbols]
    if used and value.is_scalar:
        indices = [scope.indices[c] for c in used]
        if not all(i.sizes for i in indices) or len(indices) > 2:
            raise ShapeError("the range of an index is not known")
        shape = tuple(i.sizes[0] for i in indices)
        axes = [i.symbol for i in indices]
        if len(indices) == 1:
            shape, axes = (*shape, S.One), [*axes, S.Zero]
        value = lifted(Val(value.expr, shape, (axes[0], axes[1])))
    value = lifted(value)
    if value.axes is not None or has_index(value.expr):
        raise ShapeError("this definition has no matrix form")
    return value


def _model_definition(setting: Setting, text: str, first: Node, rest: list[Node]) -> None:
    """A definition becomes a part of the model."""
    from sympy import MatrixSymbol, Symbol

    from symgrad.reading.latex import _explore

    call = _as_call(first)
    head = call[0] if call is not None else first
    m = marked(head)
    stem = stem_of(m.base)
    if stem is None:
        raise ReadError("a definition gives a name", source=text, line=1, column=first.at + 1)
    side = rest[-1]

    def attempt(scope: Scope) -> Val:
        scope.may_bind = True
        return _over_left_indices(setting, scope, first, side)

    found, refused = _explore(attempt, setting, text)
    if not found:
        raise refused
    value = found[0]
    distinct = {v.expr for v in found}
    if len(distinct) > 1:
        raise ReadError("this definition can be read in two ways", source=text, line=1, column=first.at + 1,
                        hint=" or ".join(sorted(map(str, distinct))[:2]))  # fmt: skip
    scope = setting.scope(text)
    indices = [i for i in m.subs if i.kind == "letter"]
    rank = 0 if value.is_scalar else 1 if value.shape[1] == 1 else 2
    places = (
        tuple(i.text for i in indices[-rank:])
        if rank and len(indices) >= rank and not is_scalar(value.expr)
        else ()
    )
    used = [i for i in m.subs if not (i.kind == "letter" and i.text in places)]
    marks = [scope.mark_text(i) or "" for i in (*used, *m.sups)]
    name = stem + "".join(marks)
    if name in setting.names:
        raise ReadError(f"{name} is defined twice", source=text, line=1, column=first.at + 1)
    symbol = Symbol(name, real=True) if value.is_scalar else MatrixSymbol(name, *value.shape)
    setting.names[name] = symbol
    setting.words = setting.words | ({name} if len(name) > 1 else frozenset())
    if places:
        setting.aliases.append(Alias(m, symbol, places))
    definition = Definition(symbol, value.expr)
    setting.model = replace(
        setting.model,
        items=(*setting.model.items, definition),
        symbols={**setting.model.symbols, name: symbol},
    )
