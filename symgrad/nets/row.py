"""A layer, a loss or a network as a short form: what it takes and what it is written out as."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Block", "Row"]


@dataclass(frozen=True)
class Row:
    """A layer or a loss.

    A row is written out where it is called: `h = layer_norm(x, g, c)` becomes definitions of h and of the quantities
    that have a name of their own in the row (`_c` is called h_c).

    `body` are definitions, one a line, the last line being the value; names that begin with an underscore are the row's
    own. `shapes` are those of the arguments in the example, `out` that of the value (nothing for a scalar), `by` what the
    example is derived by, `declares` names that the body needs besides its arguments. `options` are further arguments,
    given by name, with their defaults. A row in index notation names the indices of its value in `index`, and all its
    letters in `letters`: they are exchanged where a model uses them as names.
    """

    name: str
    arguments: str
    body: str
    shapes: str
    by: str
    source: str
    out: str = ""
    assume: str = ""
    declares: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    index: str = ""
    letters: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return tuple(self.arguments.split())

    @property
    def lines(self) -> tuple[str, ...]:
        """The definitions and, last, the value."""
        return tuple(line.strip() for line in self.body.strip().splitlines())

    @property
    def places(self) -> list[str]:
        """The letters of the indices of its value."""
        return re.findall(r"(?:^|, )(\w+)(?=,|$| in )", self.index)

    @property
    def call(self) -> str:
        """How it is called: `conv1d_channels(X, K, b, stride=1)`."""
        options = (f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({', '.join([*self.parameters, *options])})"


@dataclass(frozen=True)
class Block:
    """A network of symbolic length: the options with their defaults, and its lines with {places} for them.

    `about` says what it computes, `shapes` what its inputs and parameters are, `source` where it is from.
    """

    name: str
    about: str
    options: dict[str, str]
    text: str
    shapes: str
    source: str

    @property
    def call(self) -> str:
        """How it is called: `mlp(x, depth=L, width=n, activation=tanh)`."""
        return f"{self.name}(x, {', '.join(f'{key}={value}' for key, value in self.options.items())})"
