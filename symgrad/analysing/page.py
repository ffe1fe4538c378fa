"""The stability sheet as a document: recurrence, worst case, typical case, initialisation, finite width, measurement."""

from __future__ import annotations

import math
from typing import Any

import sympy
from sympy import Expr, IndexedBase, Product, Symbol

from symgrad.analysing.finite_width import N, largest_square, log_variance, lyapunov
from symgrad.analysing.initialisation import (
    FAN_IN,
    FAN_OUT,
    Line,
    V,
    backwards,
    forwards,
    glorot,
    independence,
    shared,
)
from symgrad.analysing.mean_field import critical, depth_scale
from symgrad.analysing.moments import Q
from symgrad.analysing.network import Network
from symgrad.analysing.sheet import Sheet
from symgrad.errors import UnsupportedError
from symgrad.rendering.document import (
    Block,
    Document,
    Equation,
    Formula,
    Heading,
    Inline,
    Paragraph,
    Row,
    Table,
    joined,
)
from symgrad.rendering.phrases import load
from symgrad.rendering.view import View

__all__ = ["document_of", "figure"]

SIGMA_W, SIGMA_B, CHI = (
    Symbol("sigma_w", positive=True),
    Symbol("sigma_b", positive=True),
    Symbol("chi", positive=True),
)
_NEARLY = Formula(r"\approx", "≈", "≈")
BIASES = (1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.3)


# --- numbers and formulas -----------------------------------------------------------------------------------


def figure(value: float, digits: int = 5) -> Formula:
    """A number to so many significant digits."""
    if value in (math.inf, -math.inf):
        return Formula(r"\infty", "∞", "∞")
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return Formula(text, text.replace("-", "−"), text)
    mantissa, exponent = text.split("e")
    power = int(exponent)
    small = str(power).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    return Formula(
        rf"{mantissa} \times 10^{{{power}}}", f"{mantissa}×10{small}", f"{mantissa} × 10^({power})"
    )


def _mean(e: Expr) -> Expr:
    return sympy.Function("E")(e)


def _printable(e: Expr) -> Expr:
    """SymPy's functions that are printed under another name."""
    e = e.replace(sympy.asin, sympy.Function("arcsin"))
    return e.replace(sympy.polygamma, lambda k, x: sympy.Function("psi")(x))


# --- the document -------------------------------------------------------------------------------------------


def document_of(sheet: Sheet, lang: str = "en") -> Document:
    """The sheet as a document in a language."""
    words = load(lang)
    page = _Page(sheet, View(words))
    page.all()
    return Document(words("analysis.title"), tuple(page.blocks), lang, words=words.table("screen"))


class _Page:
    """The blocks of a sheet, in order."""

    def __init__(self, sheet: Sheet, view: View) -> None:
        self.sheet, self.view, self.words = sheet, view, view.words
        self.blocks: list[Block] = []
        self.f = view.formula

    def all(self) -> None:
        self._network()
        self._worst_case()
        self._typical_case()
        self._critical()
        self._initialisation()
        self._independence()
        if self.sheet.network.residual:
            self._residual()
        self._finite_width()
        self._measured()
        self._remedies()
        self._limits()

    def _heading(self, key: str) -> None:
        self.blocks.append(Heading(self.words(f"analysis.{key}.title")))

    def _say(self, key: str, **fillings: Any) -> None:
        self.blocks.append(Paragraph(self.words(f"analysis.{key}", **fillings)))

    def _equation(
        self, left: Formula, right: Formula, reason: Inline = (), relation: Formula | None = None
    ) -> None:
        row = Row(left, right) if relation is None else Row(left, right, relation)
        self.blocks.append(Equation((row,), self.view.number(), reason))

    def _network(self) -> None:
        net = self.sheet.network
        self._heading("network")
        self.blocks += self.view.definitions(net.derivation.model)
        self._say("network.recurrence")
        for rules in (
            ("depth.recurrence", "depth.affine_recurrence", "depth.recurrence_vec", "depth.recurrence_sides"),
            ("depth.closed", "depth.affine", "depth.vec", "depth.sides"),
        ):
            step = net.step(*rules)
            if step is not None:
                left, right = step.left, step.right
                self.blocks.append(
                    Equation(
                        self.view.rows([left, right]), self.view.number(), (), self.view.mark(step.evidence)
                    )
                )

    def _worst_case(self) -> None:
        s, net = self.sheet, self.sheet.network
        f, loop = self.f, net.layers.loop
        self._heading("worst")
        k = Symbol("k" if str(loop.index) != "k" else "j", integer=True, positive=True)
        gamma, largest = Symbol("gamma", positive=True), IndexedBase("s", positive=True)[k]
        if net.shared:
            largest = Symbol("s", positive=True)
        factor = 1 + gamma * largest if net.residual else gamma * largest
        bound = (
            factor ** (loop.upper - loop.index)
            if net.shared
            else Product(factor, (k, loop.index + 1, loop.upper))
        )
        self._say("worst.symbols", largest=f(largest), gamma=f(gamma), slope=self._slope())
        size = joined(r"\left\lVert |‖|norm(", f(_left(net)), r" \right\rVert|‖|)")
        last = joined(
            r"\left\lVert |‖|norm(", f(_left(net).xreplace({loop.index: loop.upper})), r" \right\rVert|‖|)"
        )
        self._equation(size, joined(f(bound), r" \, | · | ", last), (), Formula(r"\le", "≤", "<="))
        top = s.steepest
        shown = f(top) if not top.has(sympy.Float) else figure(float(top))
        equals = r" \approx | ≈ | ≈ " if top.has(sympy.Float) else " = "
        self._say("worst.steepest", gamma=joined(f(gamma), equals, shown))
        if net.residual:
            return
        threshold = figure(1 / float(top)) if top.has(sympy.Float) else f(sympy.simplify(1 / top))
        self._say("worst.threshold", largest=f(Symbol("s", positive=True)), threshold=threshold)
        r = Symbol("r", positive=True)
        n = loop.upper if isinstance(loop.upper, Symbol) else Symbol("L", integer=True, positive=True)
        base = f(gamma * Symbol("s", positive=True))
        for value, key in ((1 / (1 + r), "below"), (sympy.S.One, "one"), (1 + r, "above")):
            power = joined("1^{|1^|1^(", f(n), "}||)") if value == 1 else f(value**n)
            case = joined(base, " = ", f(value))
            reason = self.words(f"analysis.worst.{key}", base=case, positive=joined(f(r), " > 0"))
            self._equation(self._limit(n, power), f(sympy.limit(value**n, n, sympy.oo)), reason)

    def _limit(self, n: Expr, of: Formula) -> Formula:
        return joined(r"\lim_{|lim_(|lim_(", self.f(n), r" \to \infty} | → ∞) | -> oo) ", of)

    def _slope(self) -> Formula:
        t = Symbol("t", real=True)
        name = sympy.Function("phi'")(t)
        return joined(r"\sup |sup |sup ", r"\lvert |∣|abs(", self.f(name), r" \rvert|∣|)")

    def _typical_case(self) -> None:
        s, m = self.sheet, self.sheet.moments
        f = self.f
        z = Symbol("z", real=True)
        inside = sympy.sqrt(Q) * z
        phi, slope = sympy.Function("phi")(inside), sympy.Function("phi'")(inside)
        self._heading("typical")
        self._say("typical.symbols", weight=f(SIGMA_W**2), bias=f(SIGMA_B**2), variable=f(z))
        self._moment("V", phi**2, m.square, m.at(1.0)[0])
        self._moment("D", slope**2, m.slope_square, m.at(1.0)[1])
        V, D = (sympy.Function(n)(Q) for n in ("V", "D"))
        following = joined(f(Q), r"^{+}|⁺|^(+)")
        self._equation(following, f(SIGMA_W**2 * V + SIGMA_B**2), self.words("analysis.typical.map"))
        self._equation(f(CHI), f(SIGMA_W**2 * D), self.words("analysis.typical.factor"))
        scale = joined(f(1 / sympy.Abs(sympy.log(CHI))), r" \approx | ≈ | ≈ ", figure(depth_scale(s.chi), 4))
        about = [
            joined(f(SIGMA_W**2), " = ", figure(s.weight_variance)),
            joined(f(SIGMA_B**2), " = ", figure(s.bias_variance)),
            joined(f(Q), " = ", figure(s.q)),
            joined(f(CHI), " = ", figure(s.chi)),
        ]
        self._say("typical.here", values=self.view.listed(about))
        close = abs(s.chi - 1) < 1e-6
        key = "kept" if close else "vanishes" if s.chi < 1 else "explodes"
        self._say(f"typical.{key}", scale=scale, factor=f(CHI), base=f(sympy.E))

    def _moment(self, name: str, square: Expr, closed: Expr | None, number: float) -> None:
        """A moment as an expectation, and in closed form or as a number at q = 1."""
        f = self.f
        left = f(sympy.Function(name)(Q))
        mean = f(_mean(square))
        if closed is not None:
            self._equation(
                left, joined(mean, " = ", f(_printable(closed))), self.words("analysis.typical.closed")
            )
            return
        at_one = f(sympy.Function(name)(sympy.S.One))
        self._equation(left, mean, self.words("analysis.typical.open"))
        self._equation(at_one, figure(number, 6), (), _NEARLY)

    def _critical(self) -> None:
        s, f = self.sheet, self.f
        self._heading("critical")
        self._say("critical.what", factor=joined(f(CHI), " = 1"))
        if s.critical is None:
            self._say("critical.none")
        else:
            exact = s.critical.exact
            value = f(exact) if exact is not None else figure(s.critical.weight_variance, 6)
            bias = joined(f(SIGMA_B**2), " = ", figure(s.critical.bias_variance))
            reason = self.words(f"analysis.critical.{'any' if s.critical.q is None else 'at'}", bias=bias)
            self._equation(f(SIGMA_W**2), value, reason, None if exact is not None else _NEARLY)
        rows = []
        for variance in BIASES:
            try:
                point = critical(s.moments, variance)
            except UnsupportedError:
                continue
            if point.q is not None:
                rows.append(tuple((figure(v, 6),) for v in (variance, point.q, point.weight_variance)))
        if rows:
            head = ((f(SIGMA_B**2),), (f(Q),), (f(SIGMA_W**2),))
            self._say("critical.line")
            self.blocks.append(Table(head, tuple(rows)))

    def _initialisation(self) -> None:
        f, m = self.f, self.sheet.moments
        self._heading("init")
        self._say("init.symbols", inputs=f(FAN_IN), outputs=f(FAN_OUT), variance=f(V), q=f(Q))
        for line in forwards(m):
            self._line(line, q=f(Q))
        names = {"later": f(Symbol("delta_i")), "own": f(Symbol("eta_j"))}
        for line in backwards(m):
            self._line(line, **names)
        self._say("init.glorots")
        for line in glorot():
            self._line(line)

    def _independence(self) -> None:
        f = self.f
        self._heading("independence")
        self._say("independence.forwards")
        self._say(
            "independence.backwards", width=f(N), variance=f(V), weight=f(Symbol("w")), value=f(Symbol("z"))
        )
        tilt, ratio = independence(self.sheet.moments)
        self._line(tilt)
        self._line(ratio)
        one = ratio.right == 1
        self._say(f"independence.{'exact' if one else 'small'}", ratio=f(ratio.left), width=f(N))
        line, factors = shared()
        depth, v = Symbol("L", integer=True, positive=True), f(V)
        self._say("independence.shared", depth=f(depth), weight=f(Symbol("w")), variance=v)
        self._line(line)
        rows = tuple(((f(sympy.Integer(k)),), (f(c),)) for k, c in factors)
        self._say("independence.table", power=f(V**depth))
        self.blocks.append(Table(((f(depth),), (joined(f(line.left), " / ", f(V**depth)),)), rows))

    def _line(self, line: Line, **fillings: Any) -> None:
        """A chain of equal expressions, a line each; numbers are rounded, and said to be."""
        head, *rest = line.chain
        rows = []
        for n, e in enumerate(rest):
            shown = self._shown(_printable(_rounded(e)))
            relation = {"relation": _NEARLY} if e.has(sympy.Float) else {}
            rows.append(Row(self._shown(head) if n == 0 else None, shown, **relation))
        self.blocks.append(Equation(tuple(rows), self.view.number(), self.words(line.key, **fillings)))

    def _shown(self, e: Expr) -> Formula:
        """An expression, also if it is an integral; the constant of the normal density stands in front of one."""
        if not isinstance(e, sympy.Integral):
            return self.f(e)
        (variable, low, high), f = e.limits[0], self.f
        normal = sympy.exp(-(variable**2) / 2)
        front = Formula("", "", "")
        inside = e.function
        if inside.has(normal):
            front = joined(r"\frac{1}{\sqrt{2 \pi}} |1/√(2 π) |1/sqrt(2 pi) ")
            inside = inside * sympy.sqrt(2 * sympy.pi)
        start = joined("-|−|-", f(-low)) if low.is_negative or low.could_extract_minus_sign() else f(low)
        sign = joined(r"\int_{|∫_{|integral_(", start, "}^{|}^{|)^(", f(high), "} |} |) ")
        return joined(front, sign, f(inside), r" \, \mathrm{d} | d| dif ", f(variable))

    def _residual(self) -> None:
        f = self.f
        alpha, n = Symbol("alpha", positive=True), Symbol("L", integer=True, positive=True)
        c = Symbol("c", real=True)
        self._heading("residual")
        self._say("residual.what", branch=f(alpha), correlation=f(c))
        block = sympy.expand(1 + 2 * alpha * c + alpha**2)
        r = sympy.Function("r")
        self._equation(f(r(1)), f(block), self.words("analysis.residual.block"))
        growth = block.subs(c, 0) ** n
        self._equation(
            f(r(n)), f(growth), self.words("analysis.residual.growth", correlation=joined(f(c), " = 0"))
        )
        scales = (sympy.S.One, 1 / sympy.sqrt(n), 1 / n)
        for scale, key in zip(scales, ("explodes", "scale", "forgets"), strict=True):
            power = growth.subs(alpha, scale)
            limit = sympy.limit(power, n, sympy.oo)
            reason = self.words(f"analysis.residual.{key}", branch=joined(f(alpha), " = ", f(scale)))
            self._equation(self._limit(n, f(power)), f(limit), reason)
        rows = tuple(
            ((f(sympy.Integer(k)),), *((figure(float(growth.subs(alpha, a).subs(n, k)), 4),) for a in scales))
            for k in (10, 50, 100)
        )
        head = ((f(n),), *((joined(f(alpha), " = ", f(a)),) for a in scales))
        self._say("residual.table")
        self.blocks.append(Table(head, rows))

    def _finite_width(self) -> None:
        m, f = self.sheet.moments, self.f
        self._heading("finite")
        if m.slope_fourth is None or self.sheet.network.residual:
            self._say("finite.general", width=f(N))
            return
        depth = Symbol("L", integer=True, positive=True)
        if m.name == "identity":
            rate = lyapunov(N, SIGMA_W**2)
            self._equation(
                f(Symbol("lambda_1")), f(_printable(rate)), self.words("analysis.finite.linear", width=f(N))
            )
            rows = tuple(
                ((f(sympy.Integer(n)),), (figure(float(lyapunov(n)), 6),)) for n in (1, 2, 10, 100, 1000)
            )
            self._say("finite.table", weight=joined(f(SIGMA_W**2), " = 1"))
            self.blocks.append(Table(((f(N),), (f(Symbol("lambda_1")),)), rows))
            self._equation(
                f(Symbol("s", positive=True) ** 2),
                f(largest_square(depth)),
                self.words("analysis.finite.largest", weight=joined(f(SIGMA_W**2), " = 1")),
                _NEARLY,
            )
            growth = tuple(
                ((f(sympy.Integer(k)),), (figure(float(largest_square(k)), 5),)) for k in (1, 2, 5, 10, 50)
            )
            self.blocks.append(Table(((f(depth),), (f(Symbol("s", positive=True) ** 2),)), growth))
        variance = depth * log_variance(m.slope_fourth, m.slope_square)
        ratio = Symbol("r", positive=True)
        spread = f(sympy.Function("Var")(sympy.log(ratio)))
        self._equation(spread, f(variance), self.words("analysis.finite.variance", ratio=f(ratio)), _NEARLY)
        mean = f(_mean(sympy.log(ratio)))
        self._equation(mean, f(-variance / 2), self.words("analysis.finite.mean"), _NEARLY)

    def _measured(self) -> None:
        s = self.sheet
        if s.measured is None:
            return
        f = self.f
        self._heading("measured")
        networks = f(sympy.Integer(s.measured.networks))
        self._say("measured.what", networks=networks, width=f(sympy.Integer(s.width)))
        if s.branch is not None:
            alpha = joined(f(Symbol("alpha")), " = ", f(1 / sympy.sqrt(Symbol("L", positive=True))))
            self._say("measured.residual", branch=alpha, depth=joined("L = ", f(sympy.Integer(s.depths[-1]))))
        plus = r" \pm | ± | ± "
        rows = tuple(
            (
                (f(sympy.Integer(k)),),
                (figure(s.theory[k], 4),),
                (joined(figure(float(s.measured.mean[k]), 4), plus, figure(float(s.measured.error[k]), 2)),),
                (
                    joined(
                        figure(float(s.measured.log_mean[k]), 4),
                        plus,
                        figure(float(s.measured.log_error[k]), 2),
                    ),
                ),
            )
            for k in s.depths
        )
        head = tuple(self.words(f"analysis.measured.{k}") for k in ("layers", "theory", "mean", "logarithm"))
        self.blocks.append(Table(head, rows, (16, 24, 30, 30)))

    def _remedies(self) -> None:
        f, m = self.f, self.sheet.moments
        g, c, alpha = (Symbol(name, positive=True) for name in ("g", "c", "alpha"))
        V_, D = sympy.Function("V"), sympy.Function("D")
        self._heading("remedies")
        self._say("remedies.clipping", factor=f(sympy.Min(1, c / g)), norm=f(g), bound=f(c))
        self._equation(
            f(g * sympy.Min(1, c / g)), f(sympy.Min(g, c)), self.words("analysis.remedies.clipped")
        )
        self._say("remedies.clipping_only")
        spread = SIGMA_W**2 * V_(1) + SIGMA_B**2
        self._say("remedies.normalising", spread=f(sympy.sqrt(spread)))
        normal = SIGMA_W**2 * D(1) / spread
        rows = (Row(f(CHI), f(normal)),)
        self.blocks.append(Equation(rows, self.view.number(), self.words("analysis.remedies.normalised")))
        plain = sympy.simplify(normal.subs(SIGMA_B, 0))
        at_one = m.at(1.0)[1] / m.at(1.0)[0]
        value = joined(f(plain), r" \approx | ≈ | ≈ ", figure(at_one))
        self._equation(f(CHI), value, self.words("analysis.remedies.gain"))
        self._say("remedies.residual", branch=f(alpha))
        depth = Symbol("L", positive=True)
        root = 1 / sympy.sqrt(depth)
        block = 1 + alpha**2 * CHI
        chosen = self.words("analysis.remedies.scaled", branch=joined(f(alpha), " = ", f(root)))
        self._equation(f(block), f(block.subs(alpha, root)), chosen)

    def _limits(self) -> None:
        self._heading("limits")
        self._say("limits.what")


def _left(net: Network) -> Expr:
    from symgrad.expr import gradient

    return gradient(net.derivation.of, net.layers.state)


def _rounded(e: Expr) -> Expr:
    return e.xreplace({n: sympy.Float(f"{float(n):.6g}", 6) for n in e.atoms(sympy.Float)})
