"""The stability sheet: the recurrence of a network's adjoint, what bounds it, what becomes of it, and a measurement."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, IndexedBase, Product, Symbol

from symgrad.analysing.finite_width import N, log_variance, lyapunov
from symgrad.analysing.initialisation import Line, glorot, he
from symgrad.analysing.mean_field import Critical, along, critical, depth_scale, fixed_point
from symgrad.analysing.moments import Moments, Q, moments, steepest
from symgrad.analysing.monte_carlo import Measured, measure
from symgrad.analysing.network import Network, read_network
from symgrad.errors import UnsupportedError
from symgrad.expr import Model
from symgrad.rendering.document import (
    Block,
    Document,
    Equation,
    Formula,
    Heading,
    Inline,
    Items,
    Paragraph,
    Row,
    Table,
    joined,
)
from symgrad.rendering.phrases import load
from symgrad.rendering.view import View

__all__ = ["Sheet", "analyse", "document_of", "figure", "to_data"]

SIGMA_W, SIGMA_B, CHI = (
    Symbol("sigma_w", positive=True),
    Symbol("sigma_b", positive=True),
    Symbol("chi", positive=True),
)
_NEARLY = Formula(r"\approx", "≈", "≈")
BIASES = (1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.3)


@dataclass(frozen=True)
class Sheet:
    """All that is known of a network's stability; `theory` and `measured` are squared norms, first layer over last."""

    network: Network
    moments: Moments
    steepest: Expr
    critical: Critical | None
    weight_variance: float
    bias_variance: float
    q: float
    chi: float
    depths: tuple[int, ...]
    width: int
    theory: tuple[float, ...]
    measured: Measured | None
    branch: float | None


def analyse(
    model: Model,
    *,
    weight_variance: float | None = None,
    bias_variance: float = 0.0,
    depth: int = 30,
    width: int = 256,
    networks: int = 24,
    seed: int = 0,
) -> Sheet:
    """The stability of a network of layers that are alike, at an initialisation (the critical one if none is given).

    Units    weight_variance is sigma_w^2: one weight has the variance sigma_w^2 / n
    Raises   UnsupportedError for a network with several states or activations, or without a second moment

    >>> from symgrad import nets
    >>> sheet = analyse(nets.mlp(activation="relu"), depth=4, width=32, networks=2)
    >>> sheet.critical.exact, sheet.chi, sheet.steepest
    (2, 1.0, 1)
    """
    network = read_network(model)
    m = moments(network.activation)
    try:
        point = critical(m, bias_variance)
    except UnsupportedError:
        point = None
    if weight_variance is None and point is not None:
        weight_variance, q = point.weight_variance, 1.0 if point.q is None else point.q
    else:
        weight_variance = 1.0 if weight_variance is None else weight_variance
        q = fixed_point(m, weight_variance, bias_variance)
    at = q if 0 < q < math.inf else 1.0 if q else 1e-12
    chi = weight_variance * m.at(at)[1]
    branch = 1 / math.sqrt(depth) if network.residual else None
    depths = tuple(sorted({max(1, depth // 6), max(1, depth // 2), depth}))
    start = q if 1e-6 < q < math.inf else 1.0
    factors = [*_factors(m, weight_variance, bias_variance, start, depth, branch)]
    measured = measure(
        network.activation,
        weight_variance,
        bias_variance,
        depth=depth,
        width=width,
        networks=networks,
        q=start,
        branch=branch,
        seed=seed,
    )
    theory = tuple(math.prod(factors[depth - k :]) for k in range(depth + 1))
    return Sheet(
        network,
        m,
        steepest(network.activation),
        point,
        weight_variance,
        bias_variance,
        q,
        chi,
        depths,
        width,
        theory,
        measured,
        branch,
    )


def _factors(
    m: Moments, weight: float, bias: float, q: float, depth: int, branch: float | None
) -> Iterator[float]:
    """The factors of the squared norm, layer by layer."""
    if branch is None:
        yield from along(m, weight, bias, q, depth)
        return
    state = q
    for _ in range(depth):
        z = weight * state + bias
        square, slopes = m.at(z)
        yield 1 + branch**2 * weight * slopes
        state += branch**2 * square


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


def _expectation(inside: Formula) -> Formula:
    return joined(r"\mathbb{E}[|E[|E[", inside, "]")


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
    return Document(words("analysis.title"), tuple(page.blocks), lang)


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
        size = joined(r"\lVert |‖|norm(", f(_left(net)), r" \rVert|‖|)")
        last = joined(r"\lVert |‖|norm(", f(_left(net).xreplace({loop.index: loop.upper})), r" \rVert|‖|)")
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
        for value, key in ((1 / (1 + r), "below"), (sympy.S.One, "one"), (1 + r, "above")):
            limit = sympy.limit(value**n, n, sympy.oo)
            product = f(gamma * Symbol("s", positive=True))
            left = joined(
                r"\lim_{|lim_(|lim_(",
                f(n),
                r" \to | → | -> ",
                f(sympy.oo),
                "} |) |) ",
                r"\left( |(|(",
                f(value),
                r" \right)^{|)^|)^(",
                f(n),
                "}||)",
            )
            self._equation(
                left,
                f(limit),
                self.words(f"analysis.worst.{key}", largest=product),
            )

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
        scale = depth_scale(s.chi)
        about = [
            joined(f(SIGMA_W**2), " = ", figure(s.weight_variance)),
            joined(f(SIGMA_B**2), " = ", figure(s.bias_variance)),
            joined(f(Q), " = ", figure(s.q)),
            joined(f(CHI), " = ", figure(s.chi)),
        ]
        self._say("typical.here", values=self.view.listed(about))
        close = abs(s.chi - 1) < 1e-6
        key = "kept" if close else "vanishes" if s.chi < 1 else "explodes"
        self._say(f"typical.{key}", scale=figure(scale), factor=f(CHI))

    def _moment(self, name: str, square: Expr, closed: Expr | None, number: float) -> None:
        """A moment as an expectation, and in closed form or as a number at q = 1."""
        f = self.f
        left = f(sympy.Function(name)(Q))
        mean = _expectation(f(square))
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
        f = self.f
        self._heading("init")
        fan_in, fan_out, v = (
            Symbol("n_in", positive=True),
            Symbol("n_out", positive=True),
            Symbol("v", positive=True),
        )
        self._say("init.symbols", inputs=f(fan_in), outputs=f(fan_out), variance=f(v))
        for line in [*he(self.sheet.network.activation), *glorot()]:
            self._line(line)

    def _line(self, line: Line) -> None:
        rounded = line.right.has(sympy.Float)
        right = self.f(_printable(_rounded(line.right)))
        self._equation(self.f(line.left), right, self.words(line.key), _NEARLY if rounded else None)

    def _residual(self) -> None:
        f = self.f
        alpha, n = Symbol("alpha", positive=True), Symbol("L", integer=True, positive=True)
        self._heading("residual")
        self._say("residual.what", branch=f(alpha))
        self._equation(
            f(sympy.Function("r")(n)), f((1 + alpha**2) ** n), self.words("analysis.residual.growth")
        )
        scaled = (1 + 1 / n) ** n
        self._equation(f(alpha), f(1 / sympy.sqrt(n)), self.words("analysis.residual.scale"))
        limit = sympy.limit(scaled, n, sympy.oo)
        left = joined(r"\lim_{|lim_(|lim_(", f(n), r" \to | → | -> ", f(sympy.oo), "} |) |) ", f(scaled))
        self._equation(left, f(limit), self.words("analysis.residual.limit"))

    def _finite_width(self) -> None:
        m, f = self.sheet.moments, self.f
        straight = m.slope_square is not None and not m.slope_square.free_symbols
        self._heading("finite")
        if not straight:
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
        variance = depth * log_variance(_fourth(m), m.slope_square)
        ratio = Symbol("r", positive=True)
        spread = f(sympy.Function("Var")(sympy.log(ratio)))
        self._equation(spread, f(variance), self.words("analysis.finite.variance", ratio=f(ratio)), _NEARLY)
        mean = _expectation(f(sympy.log(ratio)))
        self._equation(mean, f(-variance / 2), self.words("analysis.finite.mean"), _NEARLY)

    def _measured(self) -> None:
        s = self.sheet
        if s.measured is None:
            return
        f = self.f
        self._heading("measured")
        networks = f(sympy.Integer(s.measured.networks))
        self._say("measured.what", networks=networks, width=f(sympy.Integer(s.width)))
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
        g, c = Symbol("g", positive=True), Symbol("c", positive=True)
        self._heading("remedies")
        clipped = sympy.Min(1, c / g)
        ratio = sympy.Function("D")(1) / sympy.Function("V")(1)
        at_one = m.at(1.0)[1] / m.at(1.0)[0]
        self.blocks.append(
            Items(
                (
                    self.words("analysis.remedies.clipping", factor=f(clipped), norm=f(g), bound=f(c)),
                    self.words(
                        "analysis.remedies.normalising",
                        factor=joined(f(CHI), " = ", f(ratio), r" \approx | ≈ | ≈ ", figure(at_one)),
                    ),
                    self.words("analysis.remedies.residual"),
                )
            )
        )

    def _limits(self) -> None:
        self._heading("limits")
        self._say("limits.what")


def _left(net: Network) -> Expr:
    from symgrad.expr import gradient

    return gradient(net.derivation.of, net.layers.state)


def _fourth(m: Moments) -> Expr:
    """E[phi'^4] for two straight pieces."""
    from symgrad.analysing.moments import _two_pieces

    pieces = _two_pieces(m.name)
    assert pieces is not None  # noqa: S101 - asked for straight pieces only
    return (pieces[0] ** 4 + pieces[1] ** 4) / 2


def _rounded(e: Expr) -> Expr:
    return e.xreplace({n: sympy.Float(f"{float(n):.6g}", 6) for n in e.atoms(sympy.Float)})


def to_data(sheet: Sheet) -> dict[str, Any]:
    """The sheet as data: what JSON can hold."""
    m, s = sheet.moments, sheet
    point = s.critical
    measured = s.measured
    return {
        "activation": m.name,
        "residual": s.network.residual,
        "shared_weights": s.network.shared,
        "steepest_slope": float(s.steepest),
        "V": None if m.square is None else str(m.square),
        "D": None if m.slope_square is None else str(m.slope_square),
        "V_at_1": m.at(1.0)[0],
        "D_at_1": m.at(1.0)[1],
        "critical": None
        if point is None
        else {
            "weight_variance": point.weight_variance,
            "bias_variance": point.bias_variance,
            "q": point.q,
            "exact": None if point.exact is None else str(point.exact),
        },
        "weight_variance": s.weight_variance,
        "bias_variance": s.bias_variance,
        "q": s.q if math.isfinite(s.q) else None,
        "chi": s.chi,
        "depth_scale": depth_scale(s.chi) if math.isfinite(depth_scale(s.chi)) else None,
        "width": s.width,
        "layers": [
            {
                "back": k,
                "theory": s.theory[k],
                "mean": float(measured.mean[k]),
                "error": float(measured.error[k]),
                "log_mean": float(measured.log_mean[k]),
                "log_error": float(measured.log_error[k]),
            }
            for k in range(len(s.theory))
        ]
        if measured is not None
        else [],
    }
