"""From a derivation to plain data: equations with their reasons in words, evidence, proofs.

No mathematics is decided here: which sentence stands at a step is chosen by the rule that the step names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sympy import Expr, KroneckerDelta, Sum, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul

from symgrad.api import Derivation
from symgrad.deriving.depth.layers import names_of
from symgrad.deriving.steps import INDUCTION, LEVELS, Evidence, Step
from symgrad.expr import (
    Blocks,
    Definition,
    Entries,
    Gradient,
    InRange,
    Loop,
    Model,
    ScalarGradient,
    TensorElement,
    TensorEntries,
    element,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    shape_of,
    substitute,
    walk,
)
from symgrad.rendering.document import (
    Block,
    Equation,
    Formula,
    Inline,
    Paragraph,
    Proof,
    Reference,
    Row,
    Sign,
    inlines,
    inside,
    joined,
    plain,
    sentence,
)
from symgrad.rendering.latex import to_latex
from symgrad.rendering.named_blocks import by_its_blocks, named_blocks
from symgrad.rendering.notation import Notation
from symgrad.rendering.phrases import Catalogue, Filling
from symgrad.rendering.text import to_text
from symgrad.rendering.typst import to_typst

__all__ = ["DOTS", "SIGNS", "View", "counts_from_zero", "named_question"]

DOTS = r", \ldots, |, …, "
"""The dots of a list that goes on."""

SIGNS: Mapping[str, tuple[str, str]] = {
    "proved": ("●", r"\bullet"),
    "verified": ("▲", r"\blacktriangle"),
    "agrees": ("○", r"\circ"),
    "none": ("–", "-"),
}
"""The signs for what is known about an equation, with their LaTeX."""

_SHORT = 30
"""A reason of fewer characters is said again each time."""
_LINE = 64
"""A chain of equations longer than this many characters in Unicode gets a line for each equation."""


def named_question(derivation: Derivation, notation: Notation) -> Notation:
    """The notation with a name for what is derived, where it is an expression without one."""
    if is_leaf(derivation.of):
        return notation
    names = {leaf_name(s) for s in leaves(derivation.of)} | set(derivation.model.symbols)
    name = next((n for n in ("f", "g", "h", "F", "G") if n not in names), "f_0")
    shown = {derivation.of: name, one_based(derivation.of): name}
    return replace(notation, called={**notation.called, **shown})


@dataclass
class View:
    """How expressions and steps are shown in one document: its words, its notation, its equation numbers.

    `signs` marks evidence by a sign instead of words. `compact` says a long reason once, and later where it stands.
    `series` is what the numbers of a part of the document begin with; each series counts on its own.
    """

    words: Catalogue
    notation: Notation = field(default_factory=Notation)
    signs: bool = False
    compact: bool = False
    series: str = ""
    last: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    said: dict[Inline, str] = field(default_factory=dict)
    from_zero: bool = False
    blocks: dict[Expr, Expr] = field(default_factory=dict)

    # --- formulas ------------------------------------------------------------------------------------

    def formula(self, e: Expr) -> Formula:
        """An expression in every notation; entries are counted from one, where `from_zero` does not say otherwise."""
        e = substitute(e, self.blocks) if self.blocks else e
        e = e if self.from_zero else one_based(e)
        return Formula(to_latex(e, self.notation), to_text(e, self.notation), to_typst(e, self.notation))

    def equal(self, *expressions: Expr) -> Formula:
        """A chain of equal expressions in one line."""
        parts: list[Formula | str] = []
        for e in expressions:
            parts += [" = ", self.formula(e)] if parts else [self.formula(e)]
        return joined(*parts)

    def rows(self, chain: Sequence[Expr]) -> tuple[Row, ...]:
        """A chain of equal expressions; a long one has a line for each equation."""
        left, *rest = (self.formula(e) for e in chain)
        if not rest:
            return (Row(None, left, Formula("", "", "")),)
        if len(rest) == 1 or sum(len(f.text) + 3 for f in (left, *rest)) <= _LINE:
            parts: list[Formula | str] = [rest[0]]
            for f in rest[1:]:
                parts += [" = ", f]
            return (Row(left, joined(*parts)),)
        return (Row(left, rest[0]), *(Row(None, f) for f in rest[1:]))

    def number(self) -> str:
        """The next equation number."""
        self.counts[self.series] = self.counts.get(self.series, 0) + 1
        self.last = f"{self.series}{self.counts[self.series]}"
        return self.last

    def listed(self, parts: Iterable[Filling]) -> Inline:
        """A list of pieces in a sentence."""
        out: list[Inline] = []
        for part in parts:
            if out:
                out.append(self.words("list.separator"))
            if isinstance(part, Formula):
                out.append((part,))
            else:
                out.append(plain(str(part)) if isinstance(part, str | int) else part)
        return sentence(*out)

    def reference(self, numbers: Iterable[str]) -> Inline:
        """Equation numbers, as they are referred to in a sentence."""
        return self.listed((Reference("eq", n),) for n in numbers)

    # --- models --------------------------------------------------------------------------------------

    def definitions(self, model: Model, number: bool = False) -> list[Block]:
        """The definitions of a model, those of a loop after a sentence with its range."""
        blocks: list[Block] = []
        run: list[Definition] = []
        after: Inline = ()

        def flush(reason: Inline = ()) -> None:
            if run:
                rows = tuple(Row(*map(self.formula, sides(d))) for d in run)
                blocks.append(Equation(rows, self.number() if number else None, lead=reason))
                run.clear()

        for item in model.items:
            if isinstance(item, Definition):
                run.append(item)
                continue
            flush(after)
            run.extend(item.body)
            flush(self.words("model.loop", range=self.range_of(item)))
            after = self.words("model.after")
        flush(after)
        return blocks

    def range_of(self, loop: Loop) -> Formula:
        """The range of a loop: l = 1, ..., L."""
        return joined(
            self.formula(loop.index),
            " = ",
            self.formula(loop.lower),
            DOTS,
            self.formula(loop.upper),
        )

    def shape(self, e: Expr) -> Formula:
        """An expression and the space it is in."""
        sizes = shape_of(e)
        space = joined(self.formula(e), r" \in \mathbb{R}| ∈ ℝ")
        if is_scalar(e):
            return space
        if sizes[1] == 1:
            return joined(space, "^{|^|^(", self.formula(sizes[0]), "}||)")
        times: list[Formula | str] = []
        for n in sizes:
            times += [r" \times |×"] if times else []
            times += ["(", self.formula(n), ")"] if n.is_Add else [self.formula(n)]
        return joined(space, "^{|^(", *times, "}|)")

    # --- steps ---------------------------------------------------------------------------------------

    def steps(
        self,
        derivation: Derivation,
        skip: Collection[int] = (),
        known: dict[tuple[Expr, ...], str] | None = None,
    ) -> list[Block]:
        """The steps as numbered equations; base and step of an induction stand in a proof.

        An equation that was shown before is referred to; `known` are those of earlier derivations from the same model.
        """
        known = {} if known is None else known
        self.blocks |= named_blocks(derivation, self.blocks.values())
        numbers: dict[int, str] = {}
        parts: dict[tuple[Expr, ...], str] = {}
        blocks: list[Block] = []
        inside: list[Block] = []
        claim, about = "", ""
        for step in derivation.steps:
            if step.number in skip:
                continue
            if step.equation in known:
                numbers[step.number] = known[step.equation]
                continue
            numbers[step.number] = self.number()
            shown = known if _part(step) is None else parts
            shown[step.equation] = numbers[step.number]
            equation = self.step(derivation, step, numbers)
            if _part(step) is None:
                if inside:
                    blocks.append(self._proof(inside, claim, about))
                    inside = []
                blocks.append(equation)
                claim, about = numbers[step.number], step.rule
            else:
                inside.append(equation)
        if inside:
            blocks.append(self._proof(inside, claim, about))
        known.update(parts)
        if derivation.steps:
            self.last = numbers.get(derivation.steps[-1].number, self.last)
        return blocks

    def _proof(self, inside: Sequence[Block], claim: str, about: str) -> Proof:
        """The proof of what stands before it: of a closed form, or of the sum that closes it."""
        if "geometric" in about:
            return Proof(self.words("proof.sum_title"), tuple(inside), self.words("proof.sum_end"))
        claimed = self.reference([claim])
        title = "proof.forward_title" if about.startswith("depth.forward") else "proof.title"
        return Proof(
            self.words(title, equations=claimed),
            tuple(inside),
            self.words("proof.end", equations=claimed),
        )

    def step(self, derivation: Derivation, step: Step, numbers: Mapping[int, str]) -> Equation:
        """A step as an equation, with the rule in words, what it rests on, and its evidence."""
        reason = self.reason(derivation, step, numbers)
        if _part(step) is None:
            reason = self.once(reason, numbers[step.number])
        used = [numbers[p] for p in step.premises if p in numbers]
        if used and _part(step) is None:
            reason = sentence(
                reason, self.words("list.space"), self.words("step.uses", equations=self.reference(used))
            )
        rows = self.rows(step.equation)
        factor = step.terms.get("factor")
        if isinstance(factor, Blocks) and factor in self.blocks and step.rule == "depth.coupled":
            taken = names_of(derivation.model) | {str(n.name) for n in self.blocks.values()}
            made = by_its_blocks(self.blocks[factor], factor, taken)
            plain_ = replace(self, blocks={})
            rows = (*rows, *(Row(*map(plain_.formula, pair)) for pair in made))
        return Equation(rows, numbers[step.number], reason, self.mark(step.evidence))

    def once(self, reason: Inline, number: str) -> Inline:
        """A reason the first time; later, where it was said."""
        if not self.compact or sum(len(piece.text) for piece in reason) < _SHORT:
            return reason
        first = self.said.setdefault(reason, number)
        return reason if first == number else self.words("step.again", equations=self.reference([first]))

    def mark(self, evidence: Evidence) -> Inline:
        """What is known about an equation, in a word or two, or as a sign."""
        words = self.words(f"evidence.mark.{evidence.level}")
        if not self.signs:
            return words
        text, latex = SIGNS[evidence.level]
        return (Sign(text, latex, "".join(piece.text for piece in words).strip("()（）")),)

    def reason(self, derivation: Derivation, step: Step, numbers: Mapping[int, str] | None = None) -> Inline:
        """Why the step holds, as a sentence; `numbers` are those of the equations shown before it."""
        terms: dict[str, Filling] = {
            k: v if isinstance(v, str) else self.formula(v) for k, v in step.terms.items()
        }
        terms.setdefault("node", self.formula(step.left))
        renamed = _renamed(derivation.model, step)
        if renamed is not None:
            return self.words("rule.renamed", definition=self.equal(renamed.symbol, renamed.value))
        if step.given:
            stated = [
                s.number
                for s in _premises(derivation, step)
                if all(s.left == a and s.right == b for a, b in step.given.items())
            ]
            shown = [n for p, n in (numbers or {}).items() if p in stated]
            formulas = self.listed(self.equal(a, b) for a, b in step.given.items())
            terms["hypothesis"] = self.reference(shown) if shown else formulas
        return self.words(self._key(derivation, step), **terms)

    def _key(self, derivation: Derivation, step: Step) -> str:
        if step.rule == "depth.closed" and any(s.rule == "depth.step" for s in _premises(derivation, step)):
            return "depth.closed_proved"
        if step.rule == "independent" and "rule.independent" in self.words:
            return "rule.independent"
        if step.rule == "components.matrix":
            return f"components.matrix{_position(derivation, step)}"
        if step.rule in ("components.derivative", "components.contract") and not any(
            e.has(KroneckerDelta) for e in step.equation
        ):
            return f"{step.rule}_plain"
        base = step.terms.get("base")
        if step.rule == "depth.geometric_closed" and isinstance(base, Expr) and is_scalar(base):
            return "depth.geometric_closed_number"
        for key in (step.phrase, step.rule, f"rule.{step.rule}", f"rewrite.{step.rule}"):
            if key and key in self.words:
                return key
        return "rule.unnamed"

    # --- evidence ------------------------------------------------------------------------------------

    def evidence(self, derivation: Derivation) -> Inline:
        """What was checked: every step, and the answer as a whole."""
        counts = dict.fromkeys(LEVELS, 0)
        for s in derivation.steps:
            counts[s.evidence.level] += 1
        total = len(derivation.steps)
        only = next((level for level in LEVELS if counts[level] == total), None)
        if total == 0:
            about_steps: Inline = ()
        elif only is not None:
            about_steps = self.words(f"evidence.all.{only}", count=total)
        else:
            parts = [self.words(f"evidence.count.{lv}", count=counts[lv]) for lv in LEVELS if counts[lv]]
            about_steps = self.words("evidence.some", count=total, list=self.listed(parts))
        space = self.words("list.space") if about_steps else ()
        return sentence(about_steps, space, self._about_answer(derivation))

    def _about_answer(self, derivation: Derivation) -> Inline:
        evidence = derivation.evidence
        lengths = self.lengths(derivation)
        if lengths is not None and evidence.level != "none":
            how = "induction" if evidence.method.startswith(INDUCTION) else evidence.level
            return self.words(f"evidence.instances.{how}", lengths=lengths)
        return self.words(f"evidence.answer.{evidence.level}")

    def legend(self, blocks: Iterable[Block]) -> list[Block]:
        """What the signs of the blocks mean, as small print; nothing if there are none."""
        used = {p.text for b in blocks for line in _all_inlines(b) for p in line if isinstance(p, Sign)}
        says: list[Inline] = []
        for level in LEVELS:
            text, latex = SIGNS[level]
            if text in used:
                words = self.words(f"legend.{level}", sign=(Sign(text, latex, ""),))
                says.append(words)
        return [Paragraph(self.words("legend.intro", list=self.listed(says)), small=True)] if says else []

    def lengths(self, derivation: Derivation) -> Formula | None:
        """The lengths of the loop at which a closed form was checked: L = 1, ..., 6."""
        loop = next((i for i in derivation.model.items if isinstance(i, Loop)), None)
        if loop is None or not isinstance(loop.upper, Symbol):
            return None
        found = sorted({s[str(loop.upper)] for s in derivation.evidence.sizes if str(loop.upper) in s})
        if not found:
            return None
        name = self.formula(loop.upper)
        if len(found) == 1:
            return joined(name, f" = {found[0]}")
        return joined(name, f" = {found[0]}", DOTS, str(found[-1]))

    # --- a derivation on its own ---------------------------------------------------------------------

    def derivation(self, derivation: Derivation) -> list[Block]:
        """The question, its definitions, the steps, the answer and the evidence."""
        blocks: list[Block] = []
        named = derivation.of in self.notation.called
        if list(derivation.model.items) or named:
            blocks.append(Paragraph(self.words("derivation.given")))
            blocks += self.definitions(derivation.model)
        if named:
            own = (derivation.of, one_based(derivation.of))
            called = {k: v for k, v in self.notation.called.items() if k not in own}
            value = replace(self, notation=replace(self.notation, called=called)).formula(derivation.of)
            blocks.append(Equation((Row(self.formula(derivation.of), value),)))
        shapes = self.shapes(derivation)
        if shapes:
            blocks.append(Paragraph(self.words("derivation.shapes", shapes=self.listed(shapes))))
        if derivation.assumptions:
            blocks.append(
                Paragraph(self.words("derivation.assumed", assumptions=self.listed(derivation.assumptions)))
            )
        question = self.words(
            f"derivation.question.{derivation.kind}",
            f=self.formula(derivation.of),
            x=self.formula(derivation.wrt),
        )
        blocks.append(Paragraph(question))
        if derivation.layout != "gradient":
            blocks.append(Paragraph(self.words(f"derivation.layout.{derivation.layout}")))
        if derivation.structure is not None:
            blocks.append(Paragraph(self.words(f"derivation.structure.{derivation.structure}")))
        elif derivation.kind == "gradient" and _entries_are_tied(derivation):
            blocks.append(Paragraph(self.words("derivation.structure.free", x=self.formula(derivation.wrt))))
        if self.from_zero:
            blocks.append(Paragraph(self.words("derivation.from_zero")))
        blocks += self.steps(derivation)
        blocks += self.result(derivation)
        return blocks

    def result(self, derivation: Derivation) -> list[Block]:
        """The answer, unless the last step is that, and the evidence in words where signs do not say it."""
        chain = (derivation.left, derivation.final)
        blocks: list[Block] = []
        last = derivation.steps[-1] if derivation.steps else None
        if last is not None and (last.left, last.right) == chain:
            said = self.words(
                "derivation.is_last", equations=self.reference([self.last]), formula=self.equal(*chain)
            )
            blocks.append(Paragraph(said))
        else:
            mark = self.mark(derivation.evidence)
            blocks.append(Equation(self.rows(chain), self.number(), self.words("derivation.answer"), mark))
        return blocks if self.signs else [*blocks, Paragraph(self.evidence(derivation))]

    def shapes(self, derivation: Derivation) -> list[Formula]:
        """The inputs that are vectors or matrices, with their spaces."""
        used = dict.fromkeys([*derivation.model.inputs(), *leaves(derivation.of)])
        defined = {d.symbol for d in derivation.model.definitions()}
        families = {leaf_name(s) for s in defined}
        sizes = {s for e in used for n in shape_of(e) for s in n.free_symbols}
        return [
            self.shape(e)
            for e in used
            if e not in defined and not is_scalar(e) and leaf_name(e) not in families and e not in sizes
        ]


def _all_inlines(block: Block) -> Iterator[Inline]:
    """Every line of words of a block and of those in it."""
    yield from inlines(block)
    for b in inside(block):
        yield from _all_inlines(b)


def _part(step: Step) -> str | None:
    """Whether a step is the base or the step of an induction."""
    return next((end for end in ("base", "step") if step.rule.endswith(end) and "." in step.rule), None)


def _premises(derivation: Derivation, step: Step) -> list[Step]:
    by_number = {s.number: s for s in derivation.steps}
    return [by_number[p] for p in step.premises if p in by_number]


def _position(derivation: Derivation, step: Step) -> str:
    """Why a matrix has the entries that were found: where the factor that is transposed has its index.

    _row         the sum runs over its first index
    _outer       there is no sum: a column times a row
    _transposed  for another reason
    (nothing)    nothing is transposed
    """
    turned = step.terms.get("transposed")
    entries = [s.right for s in _premises(derivation, step)]
    if not isinstance(turned, Expr):
        return ""
    if len(entries) != 1:
        return "_transposed"
    found = [n for n in walk(entries[0]) if isinstance(n, MatrixElement) and n.args[0] == turned]
    sums = [n for n in walk(entries[0]) if isinstance(n, Sum)]
    if not sums:
        return "_outer" if isinstance(step.right, MatMul) and shape_of(turned)[1] == 1 else "_transposed"
    summed = {limit[0] for n in sums for limit in n.limits}
    if len(found) == 1 and found[0].args[1] in summed and found[0].args[2] not in summed:
        return "_row"
    return "_transposed"


def one_based(e: Expr) -> Expr:
    """Sums over entries counted from one: the letters stay, the bounds 0..n-1 become 1..n.

    Only where every index is a bare letter, so that both ways of counting name the same entries.
    """
    sums = [n for n in walk(e) if isinstance(n, Sum)]
    if not sums:
        return e
    if not _has_bare_places(e):
        return e
    replace_: dict[Expr, Expr] = {}
    for n in sums:
        for k, lower, _ in n.limits:
            if lower != 0 or not _only_index(n.function, k):
                return e
        replace_[n] = Sum(n.function, *((k, lower + 1, upper + 1) for k, lower, upper in n.limits))
    return e.xreplace(replace_) if len(sums) == 1 else _nested(e)


def _has_bare_places(e: Expr) -> bool:
    """Whether every index is a letter that stands alone."""
    places = [
        i
        for n in walk(e)
        for i, size in (
            zip(n.args[1:], shape_of(n.args[0]), strict=True)
            if isinstance(n, MatrixElement | TensorElement)
            else ((i, None) for i in n.args)
            if isinstance(n, KroneckerDelta)
            else ()
        )
        if size != 1
    ]
    return all(isinstance(i, Symbol) for i in places)


def counts_from_zero(derivation: Derivation) -> bool:
    """Whether a shift or a number among the indices makes all formulas of a derivation count from zero."""
    if derivation.indices is None:
        return False
    formulas = [e for d in derivation.model.definitions() for e in sides(d)]
    formulas += [derivation.of, derivation.final, *(e for s in derivation.steps for e in s.equation)]
    return any(e.has(InRange) or not _has_bare_places(e) or _has_ranges(e) for e in formulas)


def _has_ranges(e: Expr) -> bool:
    return any(lower != 0 for n in walk(e) if isinstance(n, Sum) for _, lower, _ in n.limits)


def sides(d: Definition) -> tuple[Expr, Expr]:
    """The two sides of a definition; one by entries as an equation between entries."""
    if isinstance(d.value, Entries | TensorEntries):
        return element(d.symbol, *d.value.indices), d.value.body
    return d.symbol, d.value


def _nested(e: Expr) -> Expr:
    """The same for sums inside sums, innermost first."""
    if isinstance(e, Sum):
        return Sum(_nested(e.function), *((k, lower + 1, upper + 1) for k, lower, upper in e.limits))
    if is_leaf(e) or not e.args or not e.has(Sum):
        return e
    return e.func(*(_nested(a) for a in e.args))


def _only_index(e: Expr, k: Expr) -> bool:
    """Whether a letter occurs only as an index of entries and deltas."""
    if e == k:
        return False
    if isinstance(e, MatrixElement | TensorElement):
        return _only_index(e.args[0], k)
    if isinstance(e, KroneckerDelta) or is_leaf(e):
        return True
    return all(_only_index(a, k) for a in e.args if isinstance(a, Expr))


def _renamed(model: Model, step: Step) -> Definition | None:
    """The definition y = x that a step goes through, where y is only another name of x."""
    if step.rule != "sum" or not isinstance(step.left, Gradient | ScalarGradient):
        return None
    variable = step.left.args[1]
    users = [d for d in model.definitions() if variable in leaves(d.value)]
    if len(users) == 1 and users[0].value == variable:
        return users[0]
    return None


def _entries_are_tied(derivation: Derivation) -> bool:
    """Whether the variable is a matrix that is assumed to have a structure, so that a convention has to be named."""
    structures = ("symmetric", "positive_definite", "diagonal", "orthogonal")
    return is_matrix(derivation.wrt) and derivation.model.assumed(leaf_name(derivation.wrt), *structures)
