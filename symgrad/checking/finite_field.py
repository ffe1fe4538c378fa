"""The exact randomised test: both sides have the same values in a finite field, at random points and sizes.

The sides become quotients of polynomials in independent atoms (see `field_values`); a derivative is taken with
infinitesimals, which needs no rule of differentiation. If they differ as functions, they differ at a random point
modulo a random prime but for a small chance (Schwartz 1980; Zippel 1979), which is computed from the degrees. Sizes
are all different, at least as large as the number of indices of the largest network, and two choices of them are
tested. Equality is found; a difference is not, since the atoms know fewer relations than the functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from sympy import Expr

from symgrad.checking.budget import OutOfTime, check_time
from symgrad.checking.canonical import NotDecided
from symgrad.checking.field_atoms import Setting
from symgrad.checking.field_chain import (
    ChainRule,
    chain_rules,
    entries_of_partial,
    free_indices,
    with_adjoints,
)
from symgrad.checking.field_plan import EXPONENT_RANGE, Effort, Plan
from symgrad.checking.field_values import Level, Scope
from symgrad.checking.normal_form import fits, jacobian_shape
from symgrad.checking.residues import Values
from symgrad.deriving.steps import Evidence
from symgrad.expr import (
    Model,
    PartialDerivative,
    from_entries,
    is_matrix,
    shape_of,
)

__all__ = ["FieldTest"]

Pairs = list[tuple[Values, Values]]

_WORST = 1e-6
_REDRAWS = 6
_EXPONENTS = 3
_ORDERS = 6


_Found = tuple[int, Mapping[Expr, int], float]
"""So many points, at these sizes, and the bound on the error."""

_DIFFERENT: _Found = (0, {}, 1.0)


class FieldTest:
    """Tests equations over one model; `increment` is the variable of differentials in them, with its increment.

    After a test that finds nothing, `reason` says why.

    >>> from symgrad.expr import matmul, matrix, trace
    >>> A, B = matrix("A", "m", "n"), matrix("B", "n", "m")
    >>> FieldTest(Model(())).equal(trace(matmul(A, B)), trace(matmul(B, A))).level
    'verified'
    """

    def __init__(
        self,
        model: Model,
        seed: int = 0,
        increment: tuple[Expr, Expr] | None = None,
        values: Mapping[Expr, Expr] | None = None,
    ) -> None:
        self.model, self.seed, self.increment = model, seed, increment
        self.reason = ""
        self._values: dict[Expr, Expr] = dict(values or {})
        if values is None and not model.has_loops:
            self._values = {d.symbol: d.value for d in model.definitions()}

    def equal(self, a: Expr, b: Expr, about: Expr | None = None) -> Evidence | None:
        """Evidence that two expressions are equal, `verified`, at every number of their index symbols; None if not found.

        Where neither says how far an index symbol runs, the expression that they are `about` may.
        """
        if not fits(a, shape_of(b)):
            return None
        free = free_indices(a, b) if about is None else free_indices(a, b, about)
        if free is None:
            self.reason = "an index without a range"
            return None
        if free:
            a, b = (from_entries(e, list(free), list(free.values())) for e in (a, b))
        named, put = with_adjoints((a, b)), self._values
        ways = (
            [] if named is None else [(named, {}), (named, put)]
        )  # for any adjoints and names, so for theirs
        ways.append(((a, b), put))
        for n, (sides, values) in enumerate(ways):
            if (sides, values) in ways[:n]:
                continue
            test = self if values is put else FieldTest(self.model, self.seed, self.increment, values)
            found = test._same(*sides)
            if found is not None:
                return found
            self.reason = test.reason
        return None

    def _same(self, a: Expr, b: Expr) -> Evidence | None:
        return self._tested((a, b), lambda scope, rng: [(scope.at(a)[0], scope.at(b)[0])])

    def gradient_equals(
        self, f: Expr, x: Expr, answer: Expr, structure: str | None = None
    ) -> Evidence | None:
        """Evidence that the answer is the gradient of the scalar f by x, in the shape of x.

        With a structure, along directions that keep the ties between the entries of x, as `check_structured`.
        """

        def compare(scope: Scope, rng: np.random.Generator) -> Pairs:
            value = scope.at(answer)[0]
            direction = _random(scope, x, rng)
            counted, pairs = value, []
            if structure is not None:
                n = direction.shape[-1]
                eye = np.eye(n, dtype=np.int64)
                if structure == "diagonal-entries":
                    direction, tied = direction * eye, value * eye
                else:
                    upper = np.triu(direction)
                    direction = upper + np.triu(direction, 1).swapaxes(-1, -2)
                    tied = value.swapaxes(-1, -2)
                    counted = np.triu(value) if structure == "symmetric-entries" else value
                pairs.append((value, tied))
            slope = _slope(scope, f, x, direction)
            return [*pairs, (_inner(scope, counted, direction), slope)]

        return self._tested((answer, f, x), compare, derived=(f,)) if fits(answer, shape_of(x)) else None

    def jacobian_equals(self, f: Expr, x: Expr, answer: Expr) -> Evidence | None:
        """Evidence that the answer is J[i, j] = d f_i / d x_j; by a scalar it has the shape of f."""

        def compare(scope: Scope, rng: np.random.Generator) -> Pairs:
            value = scope.at(answer)[0]
            direction = _random(scope, x, rng)
            slope = _slope(scope, f, x, direction)
            field = scope.level.field
            if not is_matrix(x):
                return [(field.times(value, direction), slope)]
            return [(field.product(value, _stacked(direction)), _stacked(slope))]

        if not fits(answer, jacobian_shape(f, x)):
            return None
        return self._tested((answer, f, x), compare, derived=(f,))

    def hessian_equals(self, f: Expr, x: Expr, answer: Expr) -> Evidence | None:
        """Evidence that u^T H v is the second derivative of f along u and v."""

        def compare(scope: Scope, rng: np.random.Generator) -> Pairs:
            value = scope.at(answer)[0]
            u, v = _random(scope, x, rng), _random(scope, x, rng)
            twice = scope.seeded(x, u[None]).seeded(x, v[None, None]).at(f).get(3)
            slope = np.zeros((1, 1, 1), dtype=np.int64) if twice is None else twice.reshape(twice.shape[-3:])
            field = scope.level.field
            if not is_matrix(x):
                return [(field.times(value, field.times(u, v)), slope)]
            return [(field.product(_stacked(u).swapaxes(-1, -2), field.product(value, _stacked(v))), slope)]

        if not fits(answer, jacobian_shape(x, x) if is_matrix(x) else ()):
            return None
        return self._tested((answer, f, x), compare, derived=(f, f))

    def array_equals(
        self, f: Expr, x: Expr, answer: Expr, *, twice: bool = False, fixed: Sequence[Expr] = ()
    ) -> Evidence | None:
        """Evidence that the answer has the derivatives of the entries of f by those of x, the axes of f first.

        Axes of length one are left out; `twice`: the second derivatives of a scalar. `fixed` names stay as they are.
        """

        def compare(scope: Scope, rng: np.random.Generator) -> Pairs:
            table = scope.at(answer)[0]
            size = math.prod(scope.level.setting.shape(x))
            u = _random(scope, x, rng)
            if twice:
                v = _random(scope, x, rng)
                inner = scope.seeded(x, u[None]).seeded(x, v[None, None])
                slope, flat = inner.at(f).get(3), table.reshape(len(table), size, size)
                left = scope.level.field.product(u.reshape(len(u), 1, size), flat)
                value = scope.level.field.product(left, v.reshape(len(v), size, 1))
            else:
                slope = scope.seeded(x, u[None], fixed).at(f).get(1)
                flat = table.reshape(len(table), -1, size)
                value = scope.level.field.product(flat, u.reshape(len(u), size, 1))
            if slope is None:
                slope = np.zeros_like(value)
            return [(value, slope.reshape(-1, *value.shape[1:]))]

        return self._tested((answer, f, x), compare, derived=(f, f) if twice else (f,))

    def partial_equals(self, a: PartialDerivative, b: Expr) -> Evidence | None:
        """Evidence that b is the derivative of a definition's entry by an entry in it, the other names held constant."""
        question = entries_of_partial(self.model, a, b)
        if question is None:
            return None
        test = FieldTest(self.model, self.seed, values={})
        for answer in question.answers:
            found = test.array_equals(question.function, question.name, answer)
            if found is not None:
                return found
        self.reason = test.reason
        return None

    def local_gradient_equals(self, f: Expr, v: Expr, answer: Expr) -> Evidence | None:
        """Evidence that the answer is the gradient of f by v, for any values of the gradients in it: the chain rule.

        v is a name or, for an answer at index symbols, an entry of one. Names that v does not reach are as good as
        inputs; where that says too little, their definitions count.
        """
        for chain in chain_rules(self.model, f, v, answer):
            test = FieldTest(self.model, self.seed, values=chain.values)

            def compare(scope: Scope, rng: np.random.Generator, chain: ChainRule = chain) -> Pairs:
                direction = _random(scope, chain.name, rng)
                inner = scope.seeded(chain.name, direction[None], [u for u, _, _ in chain.through])
                total = np.zeros((1, 1, 1), dtype=np.int64)
                if (direct := inner.at(f).get(1)) is not None:
                    total = total + direct[0]
                for _, value, adjoint in chain.through:
                    if (slope := inner.at(value).get(1)) is not None:
                        total = total + _inner(scope, scope.at(adjoint)[0], slope[0])
                return [(_inner(scope, scope.at(chain.answer)[0], direction), total % scope.level.field.p)]

            values = [value for _, value, _ in chain.through]
            adjoints = [adjoint for _, _, adjoint in chain.through]
            expressions = (chain.answer, f, chain.name, *values, *adjoints)
            found = test._tested(expressions, compare, derived=(f, *values))
            if found is not None:
                return found
            self.reason = test.reason
        return None

    def differential_equals(self, f: Expr, x: Expr, dx: Expr, answer: Expr) -> Evidence | None:
        """Evidence that the answer is the slope of f along the increment dx of x."""

        def compare(scope: Scope, rng: np.random.Generator) -> Pairs:
            direction = np.broadcast_to(scope.at(dx)[0], (scope.level.count, *scope.level.setting.shape(x)))
            return [(scope.at(answer)[0], _slope(scope, f, x, direction))]

        return self._tested((answer, f, x, dx), compare, derived=(f,)) if fits(answer, shape_of(f)) else None

    # --- the test ---------------------------------------------------------------------------------------

    def _tested(
        self,
        expressions: tuple[Expr, ...],
        compare: Callable[[Scope, np.random.Generator], Pairs],
        derived: tuple[Expr, ...] = (),
    ) -> Evidence | None:
        """`derived` are the expressions that a derivative is taken of, which raises their degrees."""
        self.reason = "the sides are not the same in a finite field"
        if self.model.has_loops:
            self.reason = "a loop of symbolic length"
            return None
        try:
            plan = Plan(self.model, self._values, expressions, self.increment, self.seed)
            used: list[Mapping[str, int]] = []
            points, worst = 0, 0.0
            wanted = 2 if plan.symbols or plan.integers else 1
            for which in range(_ORDERS if wanted == 2 else 1):
                found = self._at_sizes(plan, which, compare, derived)
                check_time()
                if found is _DIFFERENT:
                    return None
                if found is not None:
                    here, sizes, bound = found
                    used.append({str(s): n for s, n in sizes.items()})
                    points, worst = points + here, max(worst, bound)
                if len(used) == wanted:
                    break
            if len(used) < wanted:
                self.reason = "no points at which both sides have a value"
                return None
            if worst > _WORST:
                self.reason = f"the bound on the error would be {worst:.1e}"
                return None
            return Evidence("verified", plan.method(used), tuple(used), points, error_bound=_shown(worst))
        except OutOfTime:
            raise
        except (NotDecided, RecursionError, ValueError, OverflowError, MemoryError) as refused:
            self.reason = str(refused)
            return None

    def _at_sizes(
        self,
        plan: Plan,
        which: int,
        compare: Callable[[Scope, np.random.Generator], Pairs],
        derived: tuple[Expr, ...],
    ) -> _Found | None:
        """One choice of sizes; several integers for the exponents, each of which leaves out its own zeros."""
        points, missed = 0, 0.0
        zeros = 1.0
        for trial in range(_EXPONENTS if plan.integers - plan.short else 1):
            setting = plan.setting(which, trial)
            effort = plan.effort(setting, derived)
            found = self._at_points(plan, setting, effort, compare, (self.seed, which, trial))
            if found is None or found is _DIFFERENT:
                return None if found is None else _DIFFERENT
            here, _, bound = found
            points, missed = points + here, max(missed, bound)
            zeros *= min(1.0, effort.zeros / EXPONENT_RANGE)
        shown = {**{s: setting.sizes[s] for s in sorted(plan.symbols, key=str)}, **setting.integers}
        return points, shown, missed + (zeros if plan.integers - plan.short else 0.0)

    def _at_points(
        self,
        plan: Plan,
        setting: Setting,
        effort: Effort,
        compare: Callable[[Scope, np.random.Generator], Pairs],
        seed: tuple[int, ...],
    ) -> _Found | None:
        """The number of points at which the sides agree, and the bound on the error; None where they have no value."""
        rng = np.random.default_rng((*seed, 61))
        for _ in range(_REDRAWS):
            try:
                top = plan.levels(setting, effort, rng)
                for _ in range(3):  # again if points were left out below
                    masks = plan.masks(top)
                    pairs = compare(top.base, np.random.default_rng((*seed, 62)))
                    if plan.masks(top) == masks:
                        break
                    _forget(top)
                here = int(top.valid.sum())
                if here < effort.needed or not _enough_below(top, effort):
                    continue
            except ZeroDivisionError:
                continue
            for a, b in pairs:
                gap = (a - b) % top.field.p
                if np.broadcast_to(gap, (top.count, *gap.shape[1:]))[top.valid].any():
                    return _DIFFERENT
            return here, {}, effort.bound(here, top)
        return None


def _shown(bound: float) -> float:
    """A bound with two digits, rounded up."""
    if bound <= 0.0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(bound)) - 1)
    return float(f"{math.ceil(bound / unit) * unit:.1e}")


def _forget(top: Level) -> None:
    level: Level | None = top
    while level is not None:
        level.forget()
        level = level.below


def _enough_below(top: Level, effort: Effort) -> bool:
    level = top.below
    while level is not None:
        if level.valid.sum() < effort.needed_below:
            return False
        level = level.below
    return True


def _random(scope: Scope, x: Expr, rng: np.random.Generator) -> Values:
    return rng.integers(0, scope.level.field.p, (scope.level.count, *scope.level.setting.shape(x)))


def _slope(scope: Scope, f: Expr, x: Expr, direction: Values) -> Values:
    """The derivative of f along a direction of x."""
    value = scope.seeded(x, direction[None]).at(f)
    shape = scope.level.setting.shape(f)
    return value[1][0] if 1 in value else np.zeros((1, *shape), dtype=np.int64)


def _inner(scope: Scope, a: Values, b: Values) -> Values:
    product = scope.level.field.times(a, b)
    return product.reshape(len(product), -1).sum(axis=-1)[:, None, None] % scope.level.field.p


def _stacked(m: Values) -> Values:
    """The columns of each matrix, one below the other."""
    return m.swapaxes(-1, -2).reshape(*m.shape[:-2], -1, 1)
