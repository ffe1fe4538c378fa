"""What a statement of a document is, a definition, a claim or neither, and whether it is true where it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from symgrad.checking.verdict import Note
from symgrad.errors import NameUnknownError, SymgradError
from symgrad.expr import is_matrix, is_scalar, leaves
from symgrad.linting.findings import Part, Reason
from symgrad.linting.notes import Notes
from symgrad.linting.prose import LAYERS, symbols_in
from symgrad.linting.statements import (
    arguments,
    differentiated_by,
    given_name,
    holds_derivative,
    is_derivative,
    of_and_by,
    symbols_in_node,
    with_fonts,
)
from symgrad.reading.claim import Claim, Context
from symgrad.reading.latex.tree import Node, parse_statements, walk_nodes
from symgrad.verifying import Verdict, verdict_on

__all__ = ["Judge"]

_NO_FUNCTIONS = frozenset(("Var", "Cov", "Pr", "rank", "argmin", "argmax", "std", "Std", "KL", "min", "max"))
_REWRITES = re.compile(r"expand|multipl\w* out|simplif|re-?writ|展开|化简|整理|改写", re.IGNORECASE)
_MOST_UNREAD = 4
_EQUAL = ("=", ":=", "=:")


class Judge:
    """Judges the statements of a document one after the other; `notes` grow with them."""

    def __init__(self, notes: Notes, mark: str, seconds: float) -> None:
        self.notes, self.mark, self.seconds = notes, mark, seconds
        self.unread: list[Part] = []

    def statement(self, row: str, node: Node, before: str) -> Part:
        """What a statement of a row is; `before` is the text that leads up to it."""
        start = with_fonts(row, node.at)
        text = row[start : node.end]
        part = Part(text, start, "skipped")
        if node.kind != "chain" or node.parts[1].text not in _EQUAL:
            part.reason = Reason("no_equation")
            return part
        if any(r.text not in _EQUAL for r in node.parts[1::2]):
            part.reason = Reason("relations")
            return part
        sides = node.parts[0::2]
        derivative_first = is_derivative(sides[0])
        if derivative_first or (len(sides) > 2 and is_derivative(sides[1])):
            self.claim(part, text, self.notes)
            if not derivative_first:
                self.notes.name_derivative(text)
            return part
        name = given_name(sides[0], self.mark)
        if is_derivative(sides[1]):
            named = self.notes.name_derivative(text) or self._named_of_any_loss(text, sides[1])
            part.role = "definition" if named else "skipped"
            part.reason = None if named else Reason("derivative")
            return part
        if name is not None and self._is_signal(name):
            self.claim(part, text, self.notes)
            return part
        if name is None:
            self._identity(part, text, node)
            return part
        if name in _NO_FUNCTIONS:
            part.reason = Reason("unknown_function", name)
            return part
        if self.notes.knows(name):
            if self._is_said_again(part, text, before):
                return part
            self.notes.forget(name)
        try:
            self.notes.define(text)
            part.role = "definition"
        except (SymgradError, RecursionError) as error:
            if self._is_any_function(name, sides[-1]):
                part.role = "definition"
            else:
                part.reason = _why("definition", error)
                self.notes.unread.add(name)
                self.unread = [*self.unread[-_MOST_UNREAD:], part]
        if part.role == "definition":
            self._read_again()
        return part

    def _is_any_function(self, name: str, side: Node) -> bool:
        r"""L = \ell(o, y), where nobody says what \ell is: any function of the first of its arguments that is computed."""
        if side.kind != "term" or len(side.parts) != 2 or side.parts[1].kind != "paren":
            return False
        called = symbols_in_node(side.parts[0], mark=self.mark)
        names = [symbols_in_node(n, mark=self.mark) for n in walk_nodes(side.parts[1]) if n.kind != "paren"]
        computed = [n for n in names if n is not None and self.notes.knows(n)]
        return (
            called is not None
            and called not in self.notes.model.symbols
            and self.notes.stand_in(name, computed[:1])
        )

    def _read_again(self) -> None:
        r"""Definitions that rest on what is defined only after them: L = \sum_t L_t, where L_t = .."""
        for part in [*self.unread]:
            try:
                self.notes.define(part.text)
            except (SymgradError, RecursionError):
                continue
            part.role, part.reason = "definition", None
            self.unread.remove(part)

    def _is_said_again(self, part: Part, text: str, before: str) -> bool:
        """Whether a second equation for a name says what the first said; else it gives the name anew.

        Where the text announces that a formula is only written in another way, a slip in it is one.
        """
        try:
            verdict = verdict_on(text, self.notes.context(), seconds=self.seconds)
        except (SymgradError, RecursionError):
            return False
        slip = verdict.slip
        rewritten = slip is not None and slip.repaired is not None and slip.key != "holds_if"
        if verdict.is_right or (
            verdict.verdict == "refuted" and rewritten and _REWRITES.search(before[-90:])
        ):
            part.role, part.verdict, part.context = "claim", verdict, self.notes.context()
            return True
        return False

    def _named_of_any_loss(self, text: str, side: Node) -> bool:
        r"""\delta^{(l)} = \partial L/\partial z^{(l)} where nobody says what L is: any function of the last z."""
        parts = of_and_by(side)
        of = None if parts is None else symbols_in_node(parts[0], mark=self.mark)
        if parts is None or of is None or of in self.notes.model.symbols:
            return False
        below = [parts[1]]
        known = [
            n
            for n in (symbols_in_node(below[0], i, self.mark) for i in LAYERS)
            if n in self.notes.model.symbols
        ]
        return bool(known) and self.notes.stand_in(of, [str(known[-1])]) and self.notes.name_derivative(text)

    def _is_signal(self, name: str) -> bool:
        """Whether a name stands for a derivative."""
        lefts = [re.split(r":?=", t)[0] for t in self.notes.latex]
        return any(name in symbols_in(left, layer, self.mark) for left in lefts for layer in LAYERS)

    def _identity(self, part: Part, text: str, node: Node) -> None:
        """An equation between expressions is checked if all of its names are known.

        Without a derivative in it, it may be a condition, as the normal equations are: it is called wrong only if a small
        change makes it an identity.
        """
        notes = self.notes
        if open_ones := [a for a in arguments(node) if a not in notes.model.symbols]:
            notes = notes.copy()
            notes.guessed |= {name: [] for name in open_ones}
        try:
            context = notes.context()
            verdict = verdict_on(text, context, seconds=self.seconds)
        except (SymgradError, RecursionError) as error:
            part.reason = _why("claim", error)
            return
        if verdict.verdict == "refuted" and not holds_derivative(node) and not _has_small_slip(verdict):
            part.reason = Reason("condition")
            return
        part.role, part.verdict, part.context = "claim", verdict, context

    def claim(self, part: Part, text: str, notes: Notes, last: bool = False) -> None:
        """Check a claim; a loss that nobody defined is any function of what the claim differentiates it by."""
        verdict: Verdict | None = None
        missing: str | None = None
        counted = notes.counted(notes.plain(text))
        try:
            context = notes.context()
            verdict = verdict_on(counted, context, seconds=self.seconds, shapes_said=_all_declared(notes))
            verdict = self._in_layout(verdict, counted, context, notes)
            if verdict.claim.of is not None and not _depends(verdict.claim):
                missing = str(verdict.claim.of)
            labels = {n: w for n, w in notes.labels().items() if n not in notes.guessed}
            if verdict.verdict == "refuted" and labels:
                verdict = self._with_labels(verdict, counted, context, labels)
            of_all_steps = notes.three_steps and is_scalar(verdict.claim.of)
            if (counted != notes.plain(text) or of_all_steps) and verdict.is_right:
                verdict = replace(verdict, verdict="agrees", notes=(*verdict.notes, Note("three_steps")))
            slip = verdict.slip
            if (
                slip is not None
                and slip.key == "holds_if"
                and slip.terms["word"] not in ("symmetric", "orthogonal")
            ):
                # Notes leave out what goes without saying; that is no mistake, though nothing is shown either.
                verdict = replace(verdict, verdict="undecided", counterexample=None)
        except NameUnknownError as error:
            missing = error.message.partition(" is not ")[0]
        except (SymgradError, RecursionError) as error:
            part.reason = _why("claim", error)
            return
        if missing is None:
            part.role, part.verdict, part.reason = "claim", verdict, None
            part.context = (
                context if counted == text else None
            )  # nothing is put in place of a general formula
            return
        named = symbols_in(missing, mark=self.mark)
        if last and len(named) == 1 and named[0] not in notes.unread:
            notes.forget(named[0])
            if notes.stand_in(named[0], differentiated_by(text, named[0], self.mark)):
                self.claim(part, text, notes)
                return
        part.role, part.verdict = "skipped", None
        part.reason = Reason("undefined", missing)

    def _in_layout(self, verdict: Verdict, text: str, context: Context, notes: Notes) -> Verdict:
        """The verdict in the layout of the document, which its first gradient by a vector or a matrix decides.

        A gradient by a vector that is written as a row decides nothing: many write rows and matrices side by side.
        """
        if not _layout_shows(verdict):
            return verdict
        if notes.layout is None:
            notes.layout = verdict.layout
        elif notes.layout != verdict.layout and verdict.claim.wrt.shape[1] != 1:  # type: ignore[union-attr]
            return verdict_on(text, replace(context, layout=notes.layout), seconds=self.seconds)
        return verdict

    def _with_labels(self, verdict: Verdict, text: str, context: Context, labels: dict[str, str]) -> Verdict:
        """Undecided where a claim is right only if the labels of a cross entropy sum to one, which is not said."""
        assert isinstance(context.assume, Mapping) and context.model is not None  # noqa: S101 - as notes give it
        assume = {**context.assume, **{n: [w] for n, w in labels.items()}}
        model = replace(context.model, assumptions={n: frozenset(w) for n, w in assume.items()})
        try:
            again = verdict_on(text, replace(context, assume=assume, model=model), seconds=self.seconds)
        except SymgradError:
            return verdict
        if not again.is_right:
            return verdict
        note = Note("labels", {"names": ", ".join(labels)})
        return replace(again, verdict="undecided", notes=(*again.notes, note))

    def define_in_line(self, text: str, notes: Notes) -> None:
        """Take in a definition in a line of text, of a name that nothing else defines."""
        try:
            (chain,) = parse_statements(text)
            sides = chain.parts[0::2]
            name = given_name(sides[0], self.mark) if chain.kind == "chain" and len(sides) == 2 else None
            holds_names = any(n.kind in ("letter", "word", "accent") for n in walk_nodes(sides[-1]))
            if name is not None and holds_names and name not in notes.model.symbols:
                notes.define(text)
        except (SymgradError, ValueError, RecursionError):
            return


def _why(key: str, error: Exception) -> Reason:
    message = getattr(error, "message", None)
    return Reason("too_deep") if message is None else Reason(key, message)


def _has_small_slip(verdict: Verdict) -> bool:
    """Whether a small change makes an equation between expressions of the same names an identity."""
    slip, sides = verdict.slip, verdict.claim.links
    if slip is None or slip.repaired is None or slip.key == "holds_if" or len(sides) < 2:
        return False
    names = [{str(x) for x in leaves(s)} for s in sides]
    return all(n == names[0] for n in names) and len(names[0]) > 1


def _layout_shows(verdict: Verdict) -> bool:
    """Whether a right claim shows the layout: the gradient by a vector or a matrix."""
    claim = verdict.claim
    return (
        verdict.is_right
        and claim.kind == "gradient"
        and claim.wrt is not None
        and is_matrix(claim.wrt)
        and (claim.wrt.shape[1] != 1 or verdict.layout == "gradient")
        and verdict.layout is not None
    )


def _depends(claim: Claim) -> bool:
    """Whether what is differentiated depends on the variable at all, by the definitions."""
    assert claim.of is not None  # noqa: S101 - asked before
    values = {d.symbol: d.value for d in claim.model.definitions()}
    stack, seen = [claim.of], set()
    while stack:
        for leaf in leaves(stack.pop()):
            if leaf == claim.wrt:
                return True
            if leaf not in seen:
                seen.add(leaf)
                if leaf in values:
                    stack.append(values[leaf])
    return claim.of == claim.wrt


def _all_declared(notes: Notes) -> bool:
    """Whether the document says of anything that it is a vector or a matrix."""
    return any(notes.shapes.values())
