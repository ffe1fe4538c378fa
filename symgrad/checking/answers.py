"""The answer to a question about a derivative: proved by a second derivation, or tested exactly, or compared in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sympy import Expr, Integer, Symbol, expand
from sympy.matrices.expressions.matadd import MatAdd

from symgrad.checking.finite_field import FieldTest
from symgrad.checking.induction import LoopProver
from symgrad.checking.layers import apart, instances, layer_of
from symgrad.checking.normal_form import PROOF, Prover
from symgrad.checking.numeric import (
    check_differential,
    check_equation,
    check_gradient,
    check_jacobian,
    check_structured,
)
from symgrad.deriving.depth import INSTANCES
from symgrad.deriving.steps import INDUCTION, Evidence, Step
from symgrad.expr import (
    Differential,
    Gradient,
    Jacobian,
    Loop,
    Model,
    ScalarDifferential,
    ScalarGradient,
    differential,
    gradient,
    leaf_name,
    leaves,
    matrix,
    printed_size,
    substitute,
    walk,
    written_out,
)

__all__ = ["Question", "check_answer"]

_LONGEST = 4000  # symbols and operations of an answer that is put together from steps


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


def check_answer(
    question: Question, answer: Expr, structure: str | None = None, steps: Sequence[Step] = ()
) -> Evidence:
    """The evidence for an answer as a whole.

    It is proved by the steps where each of them is proved and they lead to it, else by a second derivation in index
    form, or tested exactly in a finite field with a derivative that needs no rules; in any case it is compared with
    differences of the function.

    Raises   CheckError if it is wrong
    """
    if structure is None and question.model.has_loops:
        return _check_instances(question, answer, steps)
    prover = Prover(question.model)
    if structure is None and (_led_to(prover, question, answer, steps) or _proved(prover, question, answer)):
        return Evidence("proved", PROOF, _compared(question, answer, None, count=1, sets=1).sizes)
    if structure is not None:
        tied = prover.structured_equals(question.of, question.wrt, answer, structure)
        if tied is True:
            sizes = _compared(question, answer, structure, count=1, sets=1).sizes
            return Evidence("proved", PROOF, sizes)
    exact = _tested(FieldTest(question.model), question, answer, structure)
    if exact is not None:
        _compared(question, answer, structure, count=1, sets=1)
        return exact
    return _compared(question, answer, structure)


def _led_to(prover: Prover, question: Question, answer: Expr, steps: Sequence[Step]) -> bool:
    """Whether proved steps, each put into the next, make the answer: its cost does not grow with what they prove."""
    if not isinstance(question.left, Gradient | ScalarGradient) or any(
        s.evidence.level != "proved" for s in steps
    ):
        return False
    known = {
        s.left: s.right for s in steps if isinstance(s.left, Gradient | ScalarGradient) and s.left != s.right
    }
    value = known.get(question.left)
    for _ in known:
        if value is None:
            return False
        inside = {n: known[n] for n in walk(value) if n in known}
        if not inside:
            names = _shared_sums(value, answer)
            return prover.equal(substitute(value, names), substitute(answer, names)) is True
        value = substitute(value, inside)
        if printed_size(value) > _LONGEST:
            return False
    return False


def _shared_sums(a: Expr, b: Expr) -> dict[Expr, Expr]:
    """A symbol for every sum that stands in both: what is equal for all their values is equal for theirs."""
    there = set(walk(b))
    sums = [n for n in walk(a) if isinstance(n, MatAdd) and n in there and n not in (a, b)]
    return {n: matrix(f"sum{i}_", *n.shape) for i, n in enumerate(sums)}


def _is_hessian(left: Expr) -> bool:
    return isinstance(left, Jacobian | ScalarGradient) and isinstance(left.args[0], Gradient | ScalarGradient)


def _compared(
    question: Question, answer: Expr, structure: str | None, *, count: int = 3, sets: int = 2
) -> Evidence:
    """The answer against differences of the function."""
    model, left, f, x = question.model, question.left, question.of, question.wrt
    if structure is not None:
        return check_structured(model, f, x, answer, structure, count=count, sets=sets)
    if isinstance(left, Gradient | ScalarGradient):
        return check_gradient(model, left.args[0], x, answer, count=count, sets=sets)
    if isinstance(left, Differential | ScalarDifferential):
        return check_differential(model, f, x, differential(x), answer, count=count, sets=sets)
    if isinstance(left, Jacobian):
        return check_jacobian(model, left.args[0], x, answer, count=count, sets=sets)
    return check_equation(model, (left, answer), count=count)


def _tested(test: FieldTest, question: Question, answer: Expr, structure: str | None) -> Evidence | None:
    """The answer against derivatives in a finite field."""
    left, f, x = question.left, question.of, question.wrt
    if isinstance(left, Differential | ScalarDifferential):
        return test.differential_equals(f, x, differential(x), answer)
    if _is_hessian(left):
        return test.hessian_equals(f, x, answer)
    if isinstance(left, Jacobian):
        return test.jacobian_equals(f, x, answer)
    return test.gradient_equals(f, x, answer, structure)


def _proved(prover: Prover, question: Question, answer: Expr) -> bool:
    """The answer against a derivative in index form."""
    left, f, x = question.left, question.of, question.wrt
    if isinstance(left, Differential | ScalarDifferential):
        return prover.differential_equals(f, x, differential(x), answer) is True
    if _is_hessian(left):
        return prover.hessian_equals(f, x, answer) is True
    if isinstance(left, Jacobian):
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


_BY_NAME = 4
"""So many lengths for a result with the adjoints of named quantities, which are taken by differences."""


def _check_instances(question: Question, answer: Expr, steps: Sequence[Step]) -> Evidence:
    """The closed form by its induction, and against plain differentiation of the network written out, for lengths 1 to 8.

    It is proved for all lengths where every step is proved and they lead to it. The instances are compared in numbers,
    and by normal forms up to the first length for which these are too long.
    """
    proved = all(s.evidence.level == "proved" for s in steps) and _is_last(question, answer, steps)
    sizes: list[Mapping[str, int]] = []
    tested, worst = 0, 0.0
    indices = {item.index for item in question.model.items if isinstance(item, Loop)}
    of = question.of
    for index in indices:
        answer, of = apart(answer, index), apart(of, index)
    by_name = any(isinstance(n, Gradient | ScalarGradient) for n in walk(answer))
    most = _BY_NAME if by_name else INSTANCES
    complete = not by_name
    for at in instances(question.model, question.wrt, most):
        if _looks_ahead(question, answer, at):
            continue
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
        complete = complete and LoopProver(model).written_out_equals(one.of, one.wrt, value)
    if proved:
        return Evidence("proved", f"{INDUCTION}, lengths 1 to {most}", tuple(sizes), tested, worst)
    if complete and sizes:
        return Evidence("proved", f"{PROOF}, lengths 1 to {most}", tuple(sizes))
    return Evidence("agrees", f"lengths 1 to {most}", tuple(sizes), tested, worst)


def _looks_ahead(question: Question, answer: Expr, at: Mapping[Symbol, Integer]) -> bool:
    """Whether an answer about a general state rests on the layer after it, which the last one has not."""
    for loop in (item for item in question.model.items if isinstance(item, Loop)):
        own = {leaf_name(d.symbol) for d in loop.body}
        later = any(
            leaf_name(x) in own and layer_of(x) is not None and expand(layer_of(x) - loop.index) == 1
            for n in walk(answer)
            if isinstance(n, Gradient | ScalarGradient)
            for x in leaves(n.args[1])
        )
        if later and loop.index in at and at[loop.index] == loop.upper.xreplace(dict(at)):
            return True
    return False


def _is_last(question: Question, answer: Expr, steps: Sequence[Step]) -> bool:
    """Whether a step says what the answer is."""
    return any(s.left == question.left and answer in s.equation[1:] for s in steps)
