"""Checks every step of a derivation, and the answer as a whole, before it is returned.

A step is proved by normal forms where they decide, else its sides are compared in numbers with differences of
the function itself. A step whose sides differ is a fault of ours: nothing is returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from sympy import Expr, Indexed, Integer, Product, Sum, Symbol

from symgrad.checking.normal_form import Prover
from symgrad.checking.numeric import (
    Points,
    check_differential,
    check_equation,
    check_gradient,
    check_structured,
)
from symgrad.deriving.depth import INSTANCES
from symgrad.deriving.steps import Evidence, Step, weakest
from symgrad.errors import CheckError
from symgrad.expr import (
    Differential,
    Gradient,
    Jacobian,
    Loop,
    MatrixSum,
    Member,
    Model,
    OrderedProduct,
    PartialDerivative,
    ScalarDifferential,
    ScalarGradient,
    differential,
    gradient,
    is_leaf,
    is_matrix,
    matrix,
    scalar,
    substitute,
    walk,
    written_out,
)

__all__ = ["Question", "check_answer", "check_steps", "instances", "weakest_of"]


class Question(Protocol):
    """What is checked: the answer to a question about a model."""

    @property
    def model(self) -> Model:
        """Where the names are defined."""
        ...

    @property
    def of(self) -> Expr:
        """The function."""
        ...

    @property
    def wrt(self) -> Expr:
        """The variable."""
        ...

    @property
    def left(self) -> Expr:
        """The unevaluated derivative."""
        ...


PROOF = "equal normal forms"


class _Checker:
    """Checks the equations of a derivation, by proof and then in numbers, at points that they share."""

    def __init__(self, model: Model, equations: Iterable[tuple[Expr, ...]]) -> None:
        self.model = model
        self.prover = Prover(model)
        self._at: dict[Symbol, Integer] = {}
        self._indices = {item.index for item in model.items if isinstance(item, Loop)}
        expressions = [e for equation in equations for e in equation if not _is_differential(e)]
        if self._indices:
            self._at = _a_middle_layer(model, expressions)
            model = model.unrolled({s: int(n) for s, n in self._at.items() if s not in self._indices})
        self._numeric_model = model
        self._points = Points(model, [self._concrete(e) for e in expressions])

    def equation(self, equation: tuple[Expr, ...], given: Mapping[Expr, Expr]) -> Evidence:
        """The evidence for a chain of equal expressions; raises CheckError if two of them differ.

        In a loop of symbolic length, an equation at a general layer is compared at a middle layer of a short loop;
        of a differential, the sides that are worked out are compared for all increments.
        """
        if all(self._link(a, b, given) for a, b in pairwise(equation)):
            return Evidence("proved", PROOF)
        sides = [self._concrete(e) for e in equation if not _is_differential(e)]
        if len(sides) < 2:
            return Evidence("none", "a differential")
        return check_equation(self._numeric_model, sides, points=self._points)

    def _concrete(self, e: Expr) -> Expr:
        for index in self._indices:
            e = _apart(e, index)
        return written_out(e.xreplace(self._at)) if self._indices else e

    def _link(self, a: Expr, b: Expr, given: Mapping[Expr, Expr]) -> bool:
        if a == b:
            return True
        if isinstance(a, PartialDerivative) and a.fixed:
            return False
        if isinstance(a, Gradient | ScalarGradient) and a not in given:
            f, v = a.args
            if not is_leaf(v):
                f, v, b = _named(f, v, b)
                if any(isinstance(n, Gradient | ScalarGradient) for n in walk(b)):
                    return False
                return self.prover.gradient_equals(f, v, b) is True
            if self.prover.local_gradient_equals(f, v, b) is True:
                return True
            if not any(isinstance(n, Gradient | ScalarGradient) for n in walk(b)):
                return self.prover.gradient_equals(f, v, b) is True
            return False
        return self.prover.equal(a, b, given=dict(given)) is True


def _is_differential(e: Expr) -> bool:
    return any(isinstance(n, Differential | ScalarDifferential) for n in walk(e))


def _a_middle_layer(model: Model, expressions: Iterable[Expr]) -> dict[Symbol, Integer]:
    """Three layers in every loop, the second of them as the general one; counters of an induction are two."""
    at: dict[Symbol, Integer] = {}
    for loop in (item for item in model.items if isinstance(item, Loop)):
        at |= _length(loop, 3, at)
        at[loop.index] = loop.lower.xreplace(at) + 1
    for e in expressions:
        at |= {s: Integer(2) for s in e.free_symbols if s.is_integer and str(s).endswith("_")}
    return at


def _length(loop: Loop, layers: int, known: Mapping[Symbol, Integer]) -> dict[Symbol, Integer]:
    """Numbers for the names in a loop's bounds, so that it has a number of layers; what is known stays."""
    lower, upper = (b.xreplace(dict(known)) for b in (loop.lower, loop.upper))
    free = sorted((lower + upper).free_symbols, key=str)
    if not free:
        return {}
    first = {s: Integer(1) for s in free[1:]}
    for n in range(1, 4 * layers + 8):
        at = {**first, free[0]: Integer(n)}
        if (upper - lower).xreplace(at) == layers - 1:
            return at
    return {**first, free[0]: Integer(layers)}


def _apart(e: Expr, index: Symbol) -> Expr:
    """The expression with another name for `index` where a sum or product binds it."""
    other = Symbol(f"{index}__", integer=True, positive=True)
    bound = {
        n: n.xreplace({index: other})
        for n in walk(e)
        if (isinstance(n, MatrixSum | OrderedProduct) and n.index == index)
        or (isinstance(n, Sum | Product) and n.limits[0][0] == index)
    }
    return e.xreplace(bound)


def _named(f: Expr, part: Expr, value: Expr) -> tuple[Expr, Expr, Expr]:
    """The function, the part and the value with a fresh symbol for the part."""
    name = "part_"
    symbol = matrix(name, *part.shape) if is_matrix(part) else scalar(name)
    return substitute(f, {part: symbol}), symbol, substitute(value, {part: symbol})


def check_steps(question: Question, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with their evidence; in a loop of symbolic length they are also checked at a length and a layer.

    Raises   CheckError if a step is wrong
    """
    checker = _Checker(question.model, [s.equation for s in steps])
    known: dict[int, Step] = {s.number: s for s in steps}
    checked: list[Step] = []
    for step in steps:
        given = {known[p].left: known[p].right for p in step.premises if p in known}
        given = {k: v for k, v in given.items() if k != step.left} | dict(step.given)
        try:
            evidence = checker.equation(step.equation, given)
        except CheckError as error:
            raise CheckError(
                f"step {step.number} ({step.rule}) failed its check, so nothing is returned: {error.message}",
                details=error.details,
                hint="this is a fault of symgrad; please report the formula",
            ) from error
        checked.append(replace(step, evidence=evidence))
    return tuple(checked)


def check_answer(question: Question, answer: Expr, structure: str | None = None) -> Evidence:
    """The evidence for an answer as a whole: proved by a second derivation in index form, and compared in numbers.

    Raises   CheckError if it is wrong
    """
    model = question.model
    if structure is not None:
        return check_structured(model, question.of, question.wrt, answer, structure)
    if model.has_loops:
        return _check_instances(question, answer)
    numbers = _compare(model, question, answer)
    return Evidence("proved", PROOF, numbers.sizes) if _proved(Prover(model), question, answer) else numbers


def _compare(model: Model, question: Question, answer: Expr) -> Evidence:
    if isinstance(question.left, Gradient | ScalarGradient):
        return check_gradient(model, question.of, question.wrt, answer)
    if isinstance(question.left, Differential | ScalarDifferential):
        return check_differential(model, question.of, question.wrt, differential(question.wrt), answer)
    return check_equation(model, (question.left, answer))


def _proved(prover: Prover, question: Question, answer: Expr) -> bool:
    left, f, x = question.left, question.of, question.wrt
    if isinstance(left, Differential | ScalarDifferential):
        return prover.differential_equals(f, x, differential(x), answer) is True
    if isinstance(left, Jacobian):
        if isinstance(left.args[0], Gradient | ScalarGradient):
            return prover.hessian_equals(f, x, answer) is True
        return prover.jacobian_equals(f, x, answer) is True
    return prover.gradient_equals(f, x, answer) is True


@dataclass(frozen=True)
class _Instance:
    """A question about a model whose loop has a number of layers."""

    model: Model
    of: Expr
    wrt: Expr

    @property
    def left(self) -> Expr:
        return gradient(self.of, self.wrt)


def instances(question: Question) -> Iterator[dict[Symbol, Integer]]:
    """The lengths, and for each the layers, at which a closed form is checked: lengths 1 to 8.

    Every layer of the short ones, the first, one in the middle and the last of the long ones. Where there are several
    loops with lengths of their own, these differ.
    """
    loops = [item for item in question.model.items if isinstance(item, Loop)]
    for n in range(1, INSTANCES + 1):
        at: dict[Symbol, Integer] = {}
        for place, loop in enumerate(loops):
            at |= _length(loop, 1 + (n - 1 + 3 * place) % INSTANCES, at)
        if any((loop.upper - loop.lower).xreplace(at).is_negative for loop in loops):
            continue
        own = [loop for loop in loops if question.wrt.has(loop.index)]
        if own:
            first, last = (int(b.xreplace(at)) for b in (own[0].lower, own[0].upper))
            layers = range(first, last + 1) if n <= _EVERY_LAYER else (first, (first + last) // 2, last)
            for k in layers:
                yield {**at, own[0].index: Integer(k)}
        elif not any(_is_beyond(question.wrt, loop.upper.xreplace(at)) for loop in loops):
            yield at
        if not at:
            return


_EVERY_LAYER = 4


def _is_beyond(wrt: Expr, last: Expr) -> bool:
    """Whether a member such as a[4] is not there yet when the loop ends at layer 3."""
    index = wrt.index if isinstance(wrt, Member) else wrt.indices[0] if isinstance(wrt, Indexed) else None
    return index is not None and bool((index - last).is_positive)


def _check_instances(question: Question, answer: Expr) -> Evidence:
    """The closed form against plain differentiation of the network written out, for lengths 1 to 8.

    All of them are compared in numbers; the level is `proved` if each of them is proved by normal forms.
    The induction itself is checked with the steps.
    """
    proved = True
    sizes: list[Mapping[str, int]] = []
    tested, worst = 0, 0.0
    indices = {item.index for item in question.model.items if isinstance(item, Loop)}
    of = question.of
    for index in indices:
        answer, of = _apart(answer, index), _apart(of, index)
    for at in instances(question):
        lengths = {s: int(n) for s, n in at.items()}
        model = question.model.unrolled({s: n for s, n in lengths.items() if s not in indices})
        one = _Instance(model, written_out(of.xreplace(at)), question.wrt.xreplace(at))
        value = written_out(answer.xreplace(at))
        numbers = check_gradient(model, one.of, one.wrt, value, count=1, sets=1)
        if numbers.level == "none":
            return numbers
        tested += numbers.points
        worst = max(worst, numbers.max_error or 0.0)
        sizes.append({str(s): n for s, n in lengths.items()})
        proved = proved and _proved(Prover(model), one, value)
    if proved:
        return Evidence("proved", f"{PROOF}, lengths 1 to {INSTANCES}", tuple(sizes))
    return Evidence("agrees", f"lengths 1 to {INSTANCES}", tuple(sizes), tested, worst)


def weakest_of(evidence: Evidence, steps: tuple[Step, ...]) -> Evidence:
    """The evidence for a result: that of the answer, held back by an induction that is not proved."""
    induction = [s.evidence for s in steps if s.rule.startswith("depth.")]
    level = weakest([evidence, *induction])
    return evidence if level == evidence.level else replace(evidence, level=level)
