"""A loop of symbolic length at numbers of layers: which lengths, and expressions at them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sympy import Expr, Indexed, Integer, Pow, Product, Sum, Symbol, expand
from sympy.matrices.expressions.matpow import MatPow

from symgrad.deriving.depth import INSTANCES
from symgrad.expr import Loop, MatrixSum, Member, Model, OrderedProduct, leaves, substitute, walk

__all__ = ["a_middle_layer", "apart", "asked_layer", "at_a_general_layer", "instances", "layer_of"]

_EVERY_LAYER = 4


def a_middle_layer(model: Model, expressions: Iterable[Expr]) -> dict[Symbol, Integer]:
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


def apart(e: Expr, index: Symbol) -> Expr:
    """The expression with another name for `index` where a sum or product binds it."""
    other = Symbol(f"{index}__", integer=True, positive=True)
    bound = {
        n: n.xreplace({index: other})
        for n in walk(e)
        if (isinstance(n, MatrixSum | OrderedProduct) and n.index == index)
        or (isinstance(n, Sum | Product) and n.limits[0][0] == index)
    }
    return e.xreplace(bound)


def instances(model: Model, wrt: Expr, most: int = INSTANCES) -> Iterator[dict[Symbol, Integer]]:
    """The lengths, and for each the layers, at which a closed form is checked: lengths 1 to `most`.

    Every layer of the short ones, the first, one in the middle and the last of the long ones. Where there are several
    loops with lengths of their own, these differ.
    """
    loops = [item for item in model.items if isinstance(item, Loop)]
    for n in range(1, most + 1):
        at: dict[Symbol, Integer] = {}
        for place, loop in enumerate(loops):
            at |= _length(loop, 1 + (n - 1 + 3 * place) % most, at)
        if any((loop.upper - loop.lower).xreplace(at).is_negative for loop in loops):
            continue
        own = [loop for loop in loops if wrt.has(loop.index)]
        if own:
            first, last = (int(b.xreplace(at)) for b in (own[0].lower, own[0].upper))
            layers = range(first, last + 1) if n <= _EVERY_LAYER else (first, (first + last) // 2, last)
            for k in layers:
                yield {**at, own[0].index: Integer(k)}
        elif not any(_is_beyond(wrt, loop.upper.xreplace(at)) for loop in loops):
            yield at
        if not at:
            return


def _is_beyond(wrt: Expr, last: Expr) -> bool:
    """Whether a member such as a[4] is not there yet when the loop ends at layer 3."""
    index = wrt.index if isinstance(wrt, Member) else wrt.indices[0] if isinstance(wrt, Indexed) else None
    return index is not None and bool((index - last).is_positive)


def layer_of(v: Expr) -> Expr | None:
    """The index of a member of a family."""
    if isinstance(v, Member):
        return v.index
    return v.indices[0] if isinstance(v, Indexed) else None


def asked_layer(general: Expr, e: Expr, index: Symbol) -> Expr | None:
    """The layer at which an expression with a loop's index in it is another one; None if it never is.

    >>> from symgrad.expr import Family, size
    >>> l = Symbol("l", integer=True)
    >>> a = Family("a", (size("n"), size(1)), l)
    >>> asked_layer(a[l - 1], a[l + 3], l)
    l + 4
    """
    if type(general) is not type(e):
        return None
    for a, b in zip(leaves(general), leaves(e), strict=False):
        own, where = layer_of(a), layer_of(b)
        if own is not None and where is not None and own.has(index):
            layer = expand(where - (own - index))
            return layer if general.xreplace({index: layer}) == e else None
    return None


def at_a_general_layer(e: Expr, layer: Expr, loop: Loop) -> Expr:
    """A closed form for one layer, with the loop's index for it: products from there on, powers of their length."""
    shift = loop.index - layer
    replace: dict[Expr, Expr] = {}
    for n in walk(e):
        if isinstance(n, OrderedProduct) and n.bounds == (layer + 1, loop.upper):
            replace[n] = OrderedProduct(n.body, n.index, loop.index + 1, loop.upper, n.direction)
        elif isinstance(n, Product) and n.limits[0][1:] == (layer + 1, loop.upper):
            replace[n] = Product(n.function, (n.limits[0][0], loop.index + 1, loop.upper))
        elif isinstance(n, MatPow | Pow) and expand(n.args[1] - loop.upper + layer).is_number:
            replace[n] = n.func(n.args[0], expand(n.args[1] - shift))
    return substitute(e, replace) if replace else e
