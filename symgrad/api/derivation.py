"""What a question is answered with: the derivation, its steps and their evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from sympy import Basic, Expr

from symgrad.deriving.by_entries import InIndices
from symgrad.deriving.steps import Evidence, Step
from symgrad.expr import Differential, Model, ScalarDifferential, gradient, is_matrix, jacobian
from symgrad.simplifying import operations

__all__ = ["KINDS", "Derivation", "Kind", "Layout", "Method", "Structure"]

Kind = Literal["gradient", "jacobian", "hessian", "differential"]
KINDS: tuple[str, ...] = get_args(Kind)
Method = Literal["backprop", "differential", "components", "depth"]
Layout = Literal["gradient", "numerator", "denominator"]
Structure = Literal["symmetric-subspace", "symmetric-entries", "diagonal-entries"]


@dataclass(frozen=True)
class Derivation:
    """The gradient of `of` by `wrt`, the steps that lead to it, and what is known about it.

    `result` is written with the adjoints of named intermediates (unevaluated gradients) where those keep it
    short; `answer` is the same written out, or None where that would be too long to print. A gradient has
    the shape of `wrt`. `indices` has the answer in index notation where it was derived so; `in_indices` says that there
    is no matrix form, and that result and answer are entries. `entrywise` is the same derivative in index notation,
    derived and checked for itself, where `answer` is a matrix of stacked columns. `written` is the same with sizes that
    are positive integers, where `of`, `wrt`, `result` and `answer` have the caller's symbols for them.
    """

    model: Model
    of: Expr
    wrt: Expr
    kind: Kind
    method: Method
    layout: Layout
    steps: tuple[Step, ...]
    result: Expr
    answer: Expr | None
    evidence: Evidence
    assumptions: tuple[str, ...] = ()
    structure: Structure | None = None
    indices: InIndices | None = None
    entrywise: Derivation | None = None
    seconds: float = field(default=0.0, compare=False)
    written: Derivation | None = field(default=None, compare=False, repr=False)

    def with_sizes(self, sizes: Mapping[Basic, Basic]) -> Derivation:
        """The derivation with other symbols for its sizes in what a caller goes on with."""
        of, wrt, result = (e.xreplace(sizes) for e in (self.of, self.wrt, self.result))
        answer = None if self.answer is None else self.answer.xreplace(sizes)
        return replace(self, of=of, wrt=wrt, result=result, answer=answer, written=self)

    @property
    def final(self) -> Expr:
        """The answer, or the result where the answer is too long to be written out."""
        return self.result if self.answer is None else self.answer

    @property
    def in_indices(self) -> bool:
        """Whether the answer is in index notation, because it has no matrix form."""
        return self.indices is not None and self.indices.matrix is None

    @property
    def left(self) -> Expr:
        """The left side of the result: the unevaluated derivative."""
        if self.indices is not None and self.in_indices:
            return self.indices.left
        if self.kind == "jacobian":
            return jacobian(self.of, self.wrt)
        if self.kind == "hessian":
            return jacobian(gradient(self.of, self.wrt), self.wrt)
        if self.kind == "differential":
            return (Differential if is_matrix(self.of) else ScalarDifferential)(self.of)
        return gradient(self.of, self.wrt)

    @property
    def operations(self) -> int:
        """The number of operations in the final form."""
        return operations(self.final)

    def to_numpy(self) -> str:
        """The final form in the text language; it can be read back and evaluated with NumPy."""
        from symgrad.rendering import to_numpy

        return to_numpy(self.final)

    def to_code(self, form: Literal["numpy", "jax", "torch"] = "numpy") -> str:
        """A module with a complete function for NumPy, JAX or PyTorch; of a Hessian also its product with a vector.

        Raises   UnsupportedError for what has no array code
        """
        from symgrad.rendering.code import to_code

        return to_code(self.written or self, form)

    def to_latex(self) -> str:
        """The final form in LaTeX, without its left side."""
        from symgrad.rendering import to_latex

        return to_latex(self.final)

    def to_sympy(self) -> Expr:
        """The final form in SymPy's own classes, for `subs`, `as_explicit`, `doit` and SymPy's functions.

        >>> from symgrad import derive
        >>> derive("x @ A @ x", "x", shapes="A: n n, x: n").to_sympy()
        (A + A.T)*x

        Raises   UnsupportedError for what SymPy cannot say
        """
        from symgrad.rendering import to_sympy

        return to_sympy(self.final)

    def _repr_latex_(self) -> str:
        from symgrad.rendering.derivation import latex_block

        return latex_block(self.written or self)

    def _repr_markdown_(self) -> str:
        from symgrad.rendering.derivation import render

        return render(self.written or self, "md")

    def __str__(self) -> str:
        from symgrad.rendering.derivation import render

        return render(self.written or self, "text")
