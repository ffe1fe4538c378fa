r"""What a LaTeX formula talks about: a context with its notes and definitions read."""

from __future__ import annotations

import re
from collections import OrderedDict

from sympy import Expr
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import OneMatrix

from symgrad.expr import (
    FUNCTIONS,
    Correlate,
    Elementwise,
    Family,
    Loop,
    Softmax,
    is_leaf,
    size,
    walk,
)
from symgrad.reading.claim import Context
from symgrad.reading.context import shape_lists
from symgrad.reading.latex.definitions import read_definitions
from symgrad.reading.latex.functions import FUNCTION_WORDS
from symgrad.reading.latex.notes import read_notes
from symgrad.reading.latex.places import Function
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.values import untransposed

__all__ = ["Setting", "setting_of", "shared_setting"]


def setting_of(context: Context) -> Setting:
    """The setting of a context.

    Raises   SymgradError if a definition cannot be read and no other says what it says
    """
    from symgrad.reading.claim import _Reader

    reader = _Reader("", context)
    setting = Setting(context, reader.model)
    declared = shape_lists(context.shapes)
    for name in declared:
        if name not in reader.model.symbols and name.isidentifier():
            setting.names[name] = reader._expression(name)
    setting.names |= dict(reader.model.symbols)
    for e in setting.names.values():
        for s in getattr(e, "shape", ()):
            for a in getattr(s, "free_symbols", ()):
                if getattr(a, "is_positive", False):
                    setting.sizes[str(a)] = a
    for sizes in declared.values():
        for s in sizes:
            if s.isidentifier():
                setting.sizes.setdefault(s, size(s))
    for name in context.functions:
        setting.functions[name] = Function(name)
    for name, words in reader.model.assumptions.items():
        if "function" in words:
            setting.functions[name] = Function(name)
    for item in reader.model.items:
        for d in item.body if isinstance(item, Loop) else (item,):
            for node in walk(d.value):
                if isinstance(node, Elementwise) and node.name not in FUNCTIONS:
                    setting.functions.setdefault(node.name.rstrip("'"), Function(node.name.rstrip("'")))
    setting.words = FUNCTION_WORDS | {n for n in setting.names if len(n) > 1} | _words_of(context)
    setting.zero_based = any(re.search(r"_\s*\{?\s*[a-z]\s*=\s*0\b", t) for t in context.definitions_latex)
    setting.base_said = any(re.search(r"_\s*\{?\s*[a-z]\s*=\s*[01]\b", t) for t in context.definitions_latex)
    said = (*(t.split("=")[0] for t in context.definitions_latex), *map(str, context.symbols))
    setting.pi_is_a_name = any(re.match(r"\s*\{?\s*\\pi(?![A-Za-z])", t) for t in said)
    _axes(setting)
    read_notes(setting, reader)
    read_definitions(setting)
    setting.target = _asked(context.target, setting, reader) if context.target else reader.target
    setting.wrt = _asked(context.wrt, setting, reader) if context.wrt else None
    return setting


_RECENT: OrderedDict[tuple[object, ...], Setting] = OrderedDict()
_MOST_RECENT = 8


def shared_setting(context: Context) -> Setting:
    """The setting of a context, read once for several claims; it is not to be changed."""
    given = (context.shapes, context.assume, context.dims_equal, context.functions, context.symbols)
    key = (
        context.definitions, context.definitions_latex, context.target, context.f, context.wrt, context.kind,
        context.layout, id(context.model), repr(given),
    )  # fmt: skip
    setting = _RECENT.get(key)
    if setting is None or setting.context.model is not context.model:
        setting = setting_of(context)
        _RECENT[key] = setting
        while len(_RECENT) > _MOST_RECENT:
            _RECENT.popitem(last=False)
    else:
        _RECENT.move_to_end(key)
    return setting


def _asked(name: str, setting: Setting, reader: object) -> Expr | None:
    """The function or variable of the question; None if only the LaTeX could have it, and has not."""
    found = setting.names.get(name)
    if found is not None and not isinstance(found, Family):
        return found
    if setting.context.definitions_latex and not setting.context.definitions and name.isidentifier():
        return None
    e: Expr = reader._expression(name)  # type: ignore[attr-defined]
    return e


def _words_of(context: Context) -> frozenset[str]:
    """Names of several letters that the definitions themselves call."""
    found = set()
    for text in context.definitions_latex:
        for match in re.finditer(r"(?:^|=)\s*([A-Za-z]{2,})\s*\(", text):
            if not re.fullmatch(r"d[A-Za-z]", match[1]):
                found.add(match[1])
    return frozenset(found)


def _said_axis(context: Context) -> str | None:
    """Along which axis a softmax goes, where the definitions say so in words."""
    text = " ".join(context.definitions_latex)
    rows = re.search(r"row-?\s?wise|(each|every|per|by) row|按行|逐行", text)
    columns = re.search(r"column-?\s?wise|(each|every|per|by) column|按列|逐列", text)
    if bool(rows) == bool(columns):
        return None
    return "1" if rows else "0"


def _axes(setting: Setting) -> None:
    """Along which axis the model takes its softmax, and whether it correlates."""
    axes, biases = set(), set()
    for d in setting.model.definitions():
        for node in walk(d.value):
            if isinstance(node, Softmax) and node.arg.shape[1] != 1:
                axes.add(node.axis)
            if (
                isinstance(node, MatMul)
                and isinstance(node.args[-1], OneMatrix)
                and node.args[-1].shape[0] == 1
                and is_leaf(node.args[0])
            ):
                biases.add(1)  # b 1^T: a sample is a column
            if (
                isinstance(node, MatMul)
                and isinstance(node.args[0], OneMatrix)
                and node.args[0].shape[1] == 1
                and is_leaf(untransposed(node.args[-1]))
            ):
                biases.add(0)
            if isinstance(node, Correlate):
                setting.functions["*"] = Function("correlate")
    said = _said_axis(setting.context)
    if said is not None:
        setting.functions["softmax axis"] = Function(said)
    samples = biases | {1 - a for a in axes}
    if len(samples) == 1:
        (setting.samples,) = samples
    if len(axes) == 1:
        setting.functions["softmax axis"] = Function(str(axes.pop()))
