"""What all printers of formulas share: structure, order and brackets.

A product with an entrywise
product inside (or the other way round) gets brackets, since A B * C could be read both ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import sympy
from sympy import Add, Expr, Indexed, KroneckerDelta, Max, Min, Mul, Pow, Product, Rational, S, Sum, Symbol
from sympy.matrices import MatrixBase
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement, MatrixSymbol
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import UnsupportedError
from symgrad.expr import (
    AsScalar,
    AxisLogSumExp,
    AxisMax,
    Blocks,
    Commutation,
    Convolve,
    Correlate,
    Differential,
    Elementwise,
    Entries,
    EntryMax,
    EntrySum,
    Flip,
    Gradient,
    InRange,
    Jacobian,
    LogDet,
    LogSoftmax,
    LogSumExp,
    MatrixSum,
    Member,
    Norm,
    OrderedProduct,
    ScalarDifferential,
    ScalarGradient,
    Softmax,
    Tensor,
    TensorElement,
    TensorEntries,
    TensorGradient,
    Vec,
    is_column,
    is_matrix,
    is_scalar,
    split_scale,
)
from symgrad.expr.entrywise import function_name
from symgrad.rendering.notation import Notation
from symgrad.rendering.ordering import Fraction, leading_first, scalar_terms, split_fraction
from symgrad.rendering.pieces import ATOM, HADAMARD, POWER, PRODUCT, SUM, Glyphs, Piece

__all__ = ["MathPrinter"]

_SUBSCRIPTED = re.compile(r"_(?:\{[^{}]*\}|\w|\([^()]*\))$|[₀-₉]$")


class MathPrinter(Glyphs):
    """Prints an expression; subclasses give the glyphs.

    Raises   UnsupportedError for a node that it does not know: nothing is printed wrongly
    """

    def __init__(self, notation: Notation) -> None:
        self.notation = notation

    def __call__(self, e: Expr) -> str:
        """The expression as text."""
        return self.text(self.piece(e))

    def piece(self, e: Expr) -> Piece:
        """The output for an expression."""
        if e in self.notation.called:
            return self.name(self.notation.called[e], matrix=False)
        for cls in type(e).__mro__:
            method: Callable[[Expr], Piece] | None = getattr(self, f"p_{_METHODS.get(cls, '')}", None)
            if method is not None:
                return method(e)
        name = function_name(e)
        if name is not None:
            return self.function(name, list(e.args))
        raise UnsupportedError(f"there is no way to print {type(e).__name__}: {e}")

    def at_least(self, e: Expr, level: int) -> str:
        """The text of an expression, in brackets if it binds more loosely."""
        piece = self.piece(e)
        return self.text(piece) if piece.level >= level else self.brackets(self.text(piece))

    # --- sums ------------------------------------------------------------------------------------------

    def p_sum(self, e: Expr) -> Piece:
        """A sum with a positive term first.

        Ones among other terms print as 1, as in 1 - a; beside an identity they keep their form, since there a number
        would be read as a multiple of it.
        """
        terms = list(e.args) if is_matrix(e) else scalar_terms(e)
        as_one = is_matrix(e) and len(terms) > 1 and not any(_is_diagonal(t) for t in terms)
        signed = leading_first([self._signed(t, as_one) for t in terms])
        text = (self.MINUS if signed[0][0] else "") + signed[0][1]
        for negative, piece in signed[1:]:
            text += f" {self.MINUS if negative else '+'} {piece}"
        return Piece(text, SUM)

    def _signed(self, t: Expr, ones_as_one: bool) -> tuple[bool, str]:
        if ones_as_one:
            c, rest = split_scale(t)
            if isinstance(rest, OneMatrix):
                t = c
        negative, piece = self.absolute(t)
        text = self.text(piece)
        return negative, text if piece.level > SUM else self.brackets(text)

    def absolute(self, t: Expr) -> tuple[bool, Piece]:
        """The sign and the rest of a term."""
        if isinstance(t, MatMul) or (isinstance(t, Mul) and is_scalar(t)) or isinstance(t, Rational):
            c, rest = split_scale(t) if is_matrix(t) else (t, None)
            fraction = split_fraction(c)
            return fraction.negative, self.with_fraction(fraction, rest)
        return False, self.piece(t)

    def p_scaled(self, e: Expr) -> Piece:
        """A product with a scalar factor."""
        if isinstance(e, MatMul) and not is_scalar(e.args[0]):
            return self.chain(list(e.args))
        negative, piece = self.absolute(e)
        if not negative:
            return piece
        text = self.text(piece)
        return Piece(self.MINUS + (text if piece.level > SUM else self.brackets(text)), SUM)

    def with_fraction(self, fraction: Fraction, rest: Expr | None) -> Piece:
        """The scalar factor as a fraction in front of the rest."""
        above = sorted((self.piece(f) for f in fraction.numerator), key=lambda p: p.tail)
        if fraction.number != 1 or (not above and rest is None):
            above.insert(0, Piece(str(fraction.number)))
        below = [self.piece(f) for f in fraction.denominator]
        if fraction.divisor != 1:
            below.insert(0, Piece(str(fraction.divisor)))
        body = None if rest is None else self.piece(rest)
        return self.arrange(above, below, body)

    def side_by_side(self, pieces: list[Piece]) -> str:
        """Factors next to one another; brackets keep a product such as x^T y apart from its neighbours."""
        level = SUM if len(pieces) == 1 else POWER
        return self.SPACE.join(
            self.text(p) if p.level >= level or (p.tail and p is pieces[-1]) else self.brackets(self.text(p))
            for p in pieces
        )

    # --- products --------------------------------------------------------------------------------------

    def chain(self, factors: list[Expr]) -> Piece:
        """A matrix product; brackets round sums and entrywise products."""
        return Piece(self.SPACE.join(self.at_least(f, PRODUCT) for f in factors), PRODUCT)

    def p_hadamard(self, e: Expr) -> Piece:
        """An entrywise product; reciprocals as an entrywise quotient."""
        above = [f for f in e.args if not _is_reciprocal(f)]
        below = [_reciprocal_of(f) for f in e.args if _is_reciprocal(f)]
        text = f" {self.ODOT} ".join(self._entry_factor(f) for f in above) if above else self.ONE
        for f in below:
            text += f" {self.OSLASH} {self._entry_factor(f)}"
        return Piece(text, HADAMARD)

    def _entry_factor(self, f: Expr) -> str:
        return self.at_least(f, POWER)

    def p_entry_power(self, e: Expr) -> Piece:
        """An entrywise power: x^2 for a vector; X^(o 2) for a matrix, which has a power of its own."""
        base, exponent = e.args
        if _is_reciprocal(e):
            return Piece(f"{self.ONE} {self.OSLASH} {self._entry_factor(_reciprocal_of(e))}", HADAMARD)
        if exponent == Rational(1, 2):
            return self.function("sqrt", [base])
        mark = "" if is_column(base) else self.ODOT + " "
        return self.power(self._powered(base), mark + self(exponent))

    def _powered(self, base: Expr) -> Piece:
        piece = self.piece(base)
        if piece.level < ATOM or piece.sup:
            return Piece(self.brackets(self.text(piece)))
        return piece

    def p_power(self, e: Expr) -> Piece:
        """A power of a scalar, or of a matrix."""
        base, exponent = e.args
        if base is S.Exp1:
            return self.function("exp", [exponent])
        if is_scalar(base):
            if exponent == Rational(1, 2):
                return self.function("sqrt", [base])
            if exponent.could_extract_minus_sign():
                return self.with_fraction(split_fraction(e), None)
        return self.power(self._powered(base), self(exponent))

    def p_transpose(self, e: Expr) -> Piece:
        """A transpose; that of an inverse is one superscript."""
        if isinstance(e.arg, Inverse):
            return self.power(self._powered(e.arg.arg), f"{self.MINUS}{self.TOP}")
        piece = self.piece(e.arg)
        if piece.level < ATOM:
            piece = Piece(self.brackets(self.text(piece)))
        if piece.sup and not isinstance(e.arg, Member):
            piece = Piece(self.brackets(self.text(piece)))
        return self.power(piece, self.TOP)

    def p_inverse(self, e: Expr) -> Piece:
        """An inverse."""
        return self.power(self._powered(e.arg), f"{self.MINUS}1")

    def p_kron(self, e: Expr) -> Piece:
        """A Kronecker product."""
        return Piece(f" {self.OTIMES} ".join(self.at_least(f, POWER) for f in e.args), HADAMARD)

    # --- constants -------------------------------------------------------------------------------------

    def p_ones(self, e: Expr) -> Piece:
        """The vector of ones, or the matrix of ones as 1 1^T."""
        if e.shape[1] == 1:
            return Piece(self.ONE)
        turned = self.text(self.power(Piece(self.ONE), self.TOP))
        return Piece(turned) if e.shape[0] == 1 else Piece(f"{self.ONE}{self.SPACE}{turned}", PRODUCT)

    def p_zero(self, e: Expr) -> Piece:
        """The zero matrix."""
        return Piece("0")

    def p_identity(self, e: Expr) -> Piece:
        """The identity."""
        return Piece(self.IDENTITY)

    # --- functions -----------------------------------------------------------------------------------

    def p_elementwise(self, e: Expr) -> Piece:
        """A function of every entry."""
        return self.function(e.name, [e.arg, *e.parameters])

    def p_softmax(self, e: Expr) -> Piece:
        """softmax; for a matrix with its axis as a subscript: row or column."""
        return self._by_axis("softmax", e)

    def p_log_softmax(self, e: Expr) -> Piece:
        """Log softmax."""
        return self._by_axis("log softmax", e)

    def p_axis_logsumexp(self, e: Expr) -> Piece:
        """log-sum-exp along an axis."""
        return self._by_axis("lse", e)

    def p_axis_max(self, e: Expr) -> Piece:
        """The largest entries along an axis."""
        return self._by_axis("max", e)

    def _by_axis(self, word: str, e: Expr) -> Piece:
        x, axis = e.args
        head = self.word(word)
        if not is_column(x):
            head = self.subscripts(head, self.word("rows" if axis == 1 else "cols"))
        return Piece(head + self.brackets(self(x)))

    def p_logsumexp(self, e: Expr) -> Piece:
        """log-sum-exp of a vector."""
        return Piece(self.word("lse") + self.brackets(self(e.arg)))

    def p_entry_max(self, e: Expr) -> Piece:
        """The largest entry."""
        return Piece(self.word("max") + self.brackets(self(e.arg)))

    def p_trace(self, e: Expr) -> Piece:
        """A trace."""
        return Piece(self.word("tr") + self.brackets(self(e.arg)))

    def p_det(self, e: Expr) -> Piece:
        """A determinant."""
        return Piece(self.word("det") + self.brackets(self(e.arg)))

    def p_logdet(self, e: Expr) -> Piece:
        """A log-determinant."""
        return Piece(f"{self.word('log')} {self.word('det')}{self.brackets(self(e.arg))}")

    def p_diag(self, e: Expr) -> Piece:
        """diag, both ways."""
        return Piece(self.word("diag") + self.brackets(self(e.args[0])))

    def p_vec(self, e: Expr) -> Piece:
        """Vec."""
        return Piece(self.word("vec") + self.brackets(self(e.args[0])))

    def p_commutation(self, e: Expr) -> Piece:
        """The commutation matrix."""
        return Piece(self.subscripts("K", ", ".join(self(a) for a in e.args)))

    def p_blocks(self, e: Blocks) -> Piece:
        """A matrix of blocks."""
        return self.table([[self(m) for m in row] for row in e.by_rows])

    def p_flip(self, e: Expr) -> Piece:
        """The reversed entries."""
        return Piece(self.word("flip") + self.brackets(self(e.args[0])))

    def p_correlate(self, e: Expr) -> Piece:
        """A valid cross-correlation."""
        return self._call("corr", e)

    def p_convolve(self, e: Expr) -> Piece:
        """A full convolution."""
        return self._call("conv", e)

    def _call(self, word: str, e: Expr) -> Piece:
        return Piece(self.word(word) + self.brackets(", ".join(self(a) for a in e.args)))

    def p_norm(self, e: Expr) -> Piece:
        """A norm; the Frobenius norm with its F."""
        return Piece(self.norm_bars(self(e.arg), "" if is_column(e.arg) else "F"))

    def p_entry_sum(self, e: Expr) -> Piece:
        """1^T x for a vector, 1^T X 1 for a matrix."""
        turned = self.text(self.power(Piece(self.ONE), self.TOP))
        inner = self.at_least(e.arg, PRODUCT)
        ends = "" if is_column(e.arg) else f"{self.SPACE}{self.ONE}"
        return Piece(f"{turned}{self.SPACE}{inner}{ends}", PRODUCT)

    def p_as_scalar(self, e: Expr) -> Piece:
        """A 1 x 1 product, written as it stands."""
        return self.piece(e.arg)

    # --- names and ranges ------------------------------------------------------------------------------

    def p_symbol(self, e: Expr) -> Piece:
        """A scalar."""
        return self.name(str(e.name), matrix=False)

    def p_matrix_symbol(self, e: Expr) -> Piece:
        """A matrix or a vector."""
        return self.name(str(e.name), matrix=True)

    def p_member(self, e: Expr) -> Piece:
        """A member of a family of matrices."""
        return self.member(e.name, self._index(e.index), matrix=True)

    def p_indexed(self, e: Expr) -> Piece:
        """A member of a family of scalars."""
        return self.member(str(e.base.label), ",".join(self._index(i) for i in e.indices), matrix=False)

    def _index(self, i: Expr) -> str:
        """An index without spaces."""
        return self(i).replace(" ", "")

    def p_element(self, e: Expr) -> Piece:
        """An entry of a matrix, with its indices counted as they are given."""
        m, i, j = e.args
        return self._entry(m, [i] if m.shape[1] == 1 else [i, j])

    def p_tensor_element(self, e: Expr) -> Piece:
        """An entry of a tensor."""
        return self._entry(e.parent, e.indices)

    def _entry(self, m: Expr, indices: Sequence[Expr]) -> Piece:
        places = [self._index(i) for i in indices]
        glue = self.BESIDE if all(len(p) == 1 for p in places) else ","
        piece = self.piece(m)
        text = self.text(piece)
        plain = piece.level == ATOM and not piece.sup and not _SUBSCRIPTED.search(text)
        return Piece(self.subscripts(text if plain else self.brackets(text), glue.join(places)))

    def p_entries(self, e: Expr) -> Piece:
        """An array given by its entries: the entry in square brackets, with its indices."""
        letters = [self._index(k) for k in e.indices if not k.is_Number]
        return Piece(self.subscripts(self.brackets(self(e.body), square=True), self.BESIDE.join(letters)))

    def p_in_range(self, e: Expr) -> Piece:
        """The indicator of a range."""
        place, count = e.args
        above = f"{self(place)} < {self(count)}"
        inside = above if place.is_nonnegative else f"0 {self.LE} {above}"
        return Piece(f"{self.ONE}{self.brackets(inside, square=True)}")

    def p_extremum(self, e: Expr) -> Piece:
        """The largest or smallest of some scalars."""
        word = "max" if isinstance(e, Max) else "min"
        return Piece(
            self.word(word) + self.brackets(", ".join(self(a) for a in sorted(e.args, key=_complexity)))
        )

    def p_rounded(self, e: Expr) -> Piece:
        """Rounded down or up."""
        return Piece(self.rounded(self(sympy.together(e.args[0])), up=isinstance(e, sympy.ceiling)))

    def p_delta(self, e: Expr) -> Piece:
        """A Kronecker delta."""
        places = [self._index(i) for i in e.args]
        return Piece(
            self.subscripts(
                self.DELTA, (self.BESIDE if all(len(p) == 1 for p in places) else ",").join(places)
            )
        )

    def p_sum_over(self, e: Expr) -> Piece:
        """A sum of scalars over ranges."""
        text = self.at_least(e.function, HADAMARD)
        for k, lower, upper in e.limits:
            text = self.big("sum", self(k), (self(lower), self(upper)), text)
        return Piece(text, HADAMARD, tail=True)

    def p_product_over(self, e: Expr) -> Piece:
        """A product of scalars over ranges."""
        text = self.at_least(e.function, POWER)
        for k, lower, upper in e.limits:
            text = self.big("prod", self(k), (self(lower), self(upper)), text)
        return Piece(text, HADAMARD)

    def p_ordered_product(self, e: Expr) -> Piece:
        """A matrix product in the order of its index."""
        body = self.at_least(e.body, POWER)
        sign = "ordered" if e.direction == 1 else "reversed"
        lower, upper = e.bounds
        text = self.big(sign, self(e.index), (self(lower), self(upper)), body)
        return Piece(self.brackets(text, square=True))

    def p_matrix_sum(self, e: Expr) -> Piece:
        """A sum of matrices over a range."""
        body = self.at_least(e.body, HADAMARD)
        lower, upper = e.bounds
        return Piece(self.big("sum", self(e.index), (self(lower), self(upper)), body), HADAMARD)

    # --- derivatives -----------------------------------------------------------------------------------

    def p_gradient(self, e: Expr) -> Piece:
        """df/dx, not worked out; of such a derivative, the second one."""
        f, x, *fixed = e.args
        if fixed:
            plain = self.brackets(self.text(self.p_gradient(ScalarGradient(f, x))))
            return Piece(self.subscripts(plain, ", ".join(self(u) for u in fixed)))
        if isinstance(f, ScalarGradient):
            return self.second_derivative(
                self.at_least(f.args[0], ATOM), self.at_least(f.args[1], ATOM), self(x)
            )
        return self.derivative(self.at_least(e.args[0], ATOM), self.at_least(e.args[1], ATOM))

    def p_jacobian(self, e: Expr) -> Piece:
        """df/dx of a vector; of a gradient, the second derivative."""
        f, x = e.args
        if isinstance(f, Gradient | ScalarGradient) and f.args[1] == x:
            return self.derivative(self.at_least(f.args[0], ATOM), self.at_least(x, ATOM), 2)
        return self.derivative(self.at_least(f, ATOM), self.at_least(x, ATOM))

    def p_differential(self, e: Expr) -> Piece:
        """df, not worked out."""
        return Piece(
            f"{self.DIFF}{self.SPACE if self.DIFF.endswith('d') else ''}{self.at_least(e.args[0], ATOM)}",
            POWER,
        )

    # --- numbers and explicit matrices -----------------------------------------------------------------

    def p_number(self, e: Expr) -> Piece:
        """A number; a fraction is one."""
        if isinstance(e, Rational) and not e.is_Integer:
            return self.p_scaled(e)
        text = str(e).replace("-", self.MINUS)
        return Piece(text, ATOM if not str(e).startswith("-") else SUM)

    def p_pi(self, e: Expr) -> Piece:
        """Pi."""
        return self.name("pi", matrix=False)

    def p_euler(self, e: Expr) -> Piece:
        """The base of the natural logarithm."""
        return Piece(self.word("e"))

    def p_explicit(self, e: Expr) -> Piece:
        """An explicit matrix."""
        return self.table([[self(a) for a in e.row(i)] for i in range(e.rows)])


def _complexity(e: Expr) -> tuple[int, str]:
    return (0 if e.is_Number else 1, str(e))


def _is_diagonal(t: Expr) -> bool:
    """Whether a term is a multiple of the identity or of a diagonal matrix."""
    return isinstance(split_scale(t)[1], Identity | DiagMatrix)


def _is_reciprocal(f: Expr) -> bool:
    return isinstance(f, HadamardPower) and bool(f.args[1].could_extract_minus_sign())


def _reciprocal_of(f: Expr) -> Expr:
    return f.args[0] if f.args[1] == -1 else HadamardPower(f.args[0], -f.args[1])


_METHODS: dict[type, str] = {
    MatAdd: "sum",
    Add: "sum",
    MatMul: "scaled",
    Mul: "scaled",
    HadamardProduct: "hadamard",
    HadamardPower: "entry_power",
    Pow: "power",
    MatPow: "power",
    Transpose: "transpose",
    Inverse: "inverse",
    KroneckerProduct: "kron",
    OneMatrix: "ones",
    ZeroMatrix: "zero",
    Identity: "identity",
    Elementwise: "elementwise",
    Softmax: "softmax",
    LogSoftmax: "log_softmax",
    AxisLogSumExp: "axis_logsumexp",
    AxisMax: "axis_max",
    LogSumExp: "logsumexp",
    EntryMax: "entry_max",
    LogDet: "logdet",
    Norm: "norm",
    EntrySum: "entry_sum",
    Trace: "trace",
    Determinant: "det",
    DiagMatrix: "diag",
    DiagonalOf: "diag",
    Vec: "vec",
    Commutation: "commutation",
    Blocks: "blocks",
    Flip: "flip",
    Correlate: "correlate",
    Convolve: "convolve",
    AsScalar: "as_scalar",
    Symbol: "symbol",
    MatrixSymbol: "matrix_symbol",
    Member: "member",
    Indexed: "indexed",
    MatrixElement: "element",
    KroneckerDelta: "delta",
    Tensor: "matrix_symbol",
    TensorElement: "tensor_element",
    Entries: "entries",
    TensorEntries: "entries",
    TensorGradient: "gradient",
    InRange: "in_range",
    Max: "extremum",
    Min: "extremum",
    sympy.floor: "rounded",
    sympy.ceiling: "rounded",
    Sum: "sum_over",
    Product: "product_over",
    OrderedProduct: "ordered_product",
    MatrixSum: "matrix_sum",
    Gradient: "gradient",
    ScalarGradient: "gradient",
    Jacobian: "jacobian",
    Differential: "differential",
    ScalarDifferential: "differential",
    type(S.Pi): "pi",
    type(S.Exp1): "euler",
    type(S.Infinity): "infinity",
    sympy.Number: "number",
    MatrixBase: "explicit",
}
