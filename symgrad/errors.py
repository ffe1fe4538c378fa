"""What symgrad says when it cannot go on: what, where, and what would fit.

Every error that a user can cause is a `SymgradError`. The command line turns it into one message and
an exit code; nothing else is ever shown to a user.
"""

from __future__ import annotations

__all__ = [
    "CheckError",
    "DeriveError",
    "MissingExtraError",
    "NameUnknownError",
    "OutputError",
    "ReadError",
    "RecipeError",
    "ShapeError",
    "SymgradError",
    "TooLargeError",
    "UnsupportedError",
]


class SymgradError(Exception):
    """A message for the user: what is wrong, where, and what would fit.

    `line` and `column` are 1-based positions in `source`, the text that was read; `hint` is a full
    sentence that says what would fit.

    >>> print(ReadError("unclosed bracket", source="tr(A", line=1, column=3, hint="add ')'"))
    unclosed bracket
      at     line 1, column 3: tr(A
                                 ^
      hint   add ')'
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        line: int | None = None,
        column: int | None = None,
        details: tuple[str, ...] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.source = source
        self.line = line
        self.column = column
        self.details = details
        self.hint = hint

    def located(self, source: str, line: int, column: int) -> SymgradError:
        """The same error with a position, unless it has one already."""
        if self.line is None:
            self.source, self.line, self.column = source, line, column
        return self

    def __str__(self) -> str:
        rows = [self.message]
        rows += [f"  {detail}" for detail in self.details]
        if self.line is not None and self.column is not None:
            where = f"  at     line {self.line}, column {self.column}: "
            lines = (self.source or "").splitlines()
            shown, caret = _window(lines[self.line - 1] if self.line <= len(lines) else "", self.column)
            rows += [where + shown, " " * (len(where) + caret) + "^"]
        if self.hint:
            rows.append(f"  hint   {self.hint}")
        return "\n".join(rows)


def _window(line: str, column: int, width: int = 72) -> tuple[str, int]:
    """The part of a long line around a column, and where the column is in it."""
    line = "".join(c if c.isprintable() else " " for c in line)
    start = 0 if len(line) <= width else max(0, min(column - 1 - width // 2, len(line) - width))
    return line[start : start + width].rstrip(), column - 1 - start


class ReadError(SymgradError):
    """The text is not in the language."""


class NameUnknownError(ReadError):
    """A name or a function that nobody declared."""


class ShapeError(SymgradError):
    """Sizes that do not fit each other."""


class TooLargeError(ReadError):
    """Input beyond the bounds on length, depth or exponents."""


class RecipeError(SymgradError):
    """A recipe or a template that cannot be used."""


class OutputError(SymgradError):
    """A file or folder that cannot be written."""


class DeriveError(SymgradError):
    """The question itself makes no sense, e.g. the gradient of a matrix."""


class UnsupportedError(SymgradError):
    """Understood, but no method can do it."""

    exit_code = 3


class MissingExtraError(UnsupportedError):
    """An optional part that is not installed; the message names the command that installs it."""


class CheckError(SymgradError):
    """A derived step failed its check. This is a fault of symgrad, and nothing is returned."""

    exit_code = 3
