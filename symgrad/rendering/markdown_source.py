"""Notes in Markdown with directives: fenced blocks that say what symgrad is to fill in.

    ```symgrad model fit of L          a model, in the block's text; L is what is differentiated
    ```symgrad derive L wrt W          the derivation; `final = "..."` in the block pins its form
    ```symgrad claim                   claims, one a line; `claim refuted` for wrong ones
    ```symgrad exercise derive L wrt W points 4 space 6

A head between two lines of +++ holds what a recipe has at its top (title, course, language, ...), as TOML.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from symgrad.errors import RecipeError
from symgrad.rendering.recipe import EXERCISES, Item, Recipe, RecipeModel, Section
from symgrad.rendering.recipe_reader import RecipeReader

__all__ = ["read_markdown"]

_FENCE = re.compile(r"^(`{3,}|~{3,})\s*(.*)$")
_HEAD = (
    "name",
    "title",
    "language",
    "course",
    "lecturer",
    "date",
    "paper",
    "name_field",
    "notation",
    "templates",
    "profiles",
)
_WRT = re.compile(r"(\w+)\s+wrt\s+(\w+(?:\[[^\]]*\])?(?:\s*,\s*\w+(?:\[[^\]]*\])?)*)\s*(.*)")


def read_markdown(content: str, name: str, folder: Path | None = None) -> Recipe:
    """A recipe from notes in Markdown.

    Raises   RecipeError with the line that cannot be used
    """
    return _Notes(content, name, folder).recipe()


class _Notes:
    """Reads the notes line by line."""

    def __init__(self, content: str, name: str, folder: Path | None) -> None:
        self.content, self.lines = content, content.splitlines()
        self.reader = RecipeReader(content, folder)
        self.name = re.sub(r"\W+", "_", name).strip("_") or "notes"
        self.models: dict[str, RecipeModel] = {}
        self.sections: list[Section] = []
        self.title: str | None = None
        self.lang = "zh" if re.search(r"[\u4e00-\u9fff]", content) else "en"

    def fail(self, message: str, line: int, hint: str | None = None) -> RecipeError:
        """An error at a line."""
        return RecipeError(message, source=self.content, line=line, column=1, hint=hint)

    def recipe(self) -> Recipe:
        """The whole."""
        head, at = self.head()
        self.lang = head.pop("language", self.lang)
        self.body(at)
        title = head.get("title", self.title)
        if title is None:
            raise self.fail("the notes have no title", 1, "begin with a line such as: # Least squares")
        if not any(s.kind not in ("text", "heading") for s in self.sections):
            raise self.fail("there is no directive in the notes", 1, "write ```symgrad derive L wrt W")
        first = next(iter(self.models), None)
        self.sections = [
            replace(s, options={**s.options, "model": first})
            if s.kind == "text" and first is not None and "model" not in s.options
            else s
            for s in self.sections
        ]
        words = self.reader.words(
            {self.lang: title} if isinstance(title, str) else title, "the title", "^title"
        )
        return Recipe(
            head.get("name", self.name),
            words,
            self.models,
            tuple(self.sections),
            self.content,
            self.reader.own_templates(head),
            **self.reader.head(head),
        )

    def head(self) -> tuple[dict[str, Any], int]:
        """The head, and the index of the line after it."""
        if not self.lines or self.lines[0].strip() != "+++":
            return {}, 0
        end = next((i for i, line in enumerate(self.lines[1:], 1) if line.strip() == "+++"), None)
        if end is None:
            raise self.fail("the head does not end", 1, "close it with a line of +++")
        try:
            head = tomllib.loads("\n".join(self.lines[1:end]))
        except tomllib.TOMLDecodeError as error:
            raise self.fail(f"the head is not TOML: {error}", 1) from error
        self.reader.known(head, _HEAD, "the head")
        return head, end + 1

    def body(self, at: int) -> None:
        """Everything after the head."""
        prose: list[str] = []
        start = at + 1

        def flush() -> None:
            text = "\n".join(prose).strip()
            if text:
                options: dict[str, Any] = {"text": {self.lang: text}, "plain": True}
                if self.models:
                    options["model"] = list(self.models)[-1]
                self.sections.append(Section("text", options, start))
            prose.clear()

        while at < len(self.lines):
            line = self.lines[at]
            fence = _FENCE.match(line)
            heading = re.match(r"(#{1,3})\s+(.*)", line)
            if fence:
                end = next(
                    (i for i in range(at + 1, len(self.lines)) if self.lines[i].strip() == fence[1]), None
                )
                if end is None:
                    raise self.fail("the block does not end", at + 1, f"close it with {fence[1]}")
                block = self.lines[at + 1 : end]
                flush()
                if fence[2].split()[:1] == ["symgrad"]:
                    self.directive(
                        fence[2].split(None, 1)[1] if " " in fence[2].strip() else "", block, at + 1
                    )
                else:
                    code = {"text": "\n".join(block), "language": fence[2].strip() or "text"}
                    self.sections.append(Section("code", code, at + 1))
                at = end + 1
                start = at + 1
                continue
            if heading:
                flush()
                if len(heading[1]) == 1 and self.title is None:
                    self.title = heading[2].strip()
                else:
                    level = max(len(heading[1]) - 1, 1)
                    text = {"text": {self.lang: heading[2].strip()}, "level": level}
                    self.sections.append(Section("heading", text, at + 1))
                start = at + 2
            else:
                prose.append(line)
            at += 1
        flush()

    # --- directives -----------------------------------------------------------------------------------

    def directive(self, words: str, block: list[str], line: int) -> None:
        """One fenced block of symgrad."""
        verb, _, rest = words.strip().partition(" ")
        known = {"model": self.model, "derive": self.derive, "claim": self.claim, "exercise": self.exercise}
        if verb not in known:
            raise self.fail(f"there is no directive {verb!r}", line, f"directives: {', '.join(known)}")
        known[verb](rest.strip(), block, line)

    def model(self, rest: str, block: list[str], line: int) -> None:
        """A model: its name and what is differentiated."""
        match = re.fullmatch(r"(\w+)\s+of\s+(\w+)", rest)
        if not match:
            raise self.fail("a model has a name and a function", line, "```symgrad model fit of L")
        table = {"text": "\n".join(block) + "\n", "of": match[2]}
        self.models[match[1]] = self.reader.model(match[1], table)

    def asked(self, rest: str, line: int) -> tuple[str, list[str], str]:
        """The model whose function is asked for, the variables, and what follows."""
        match = _WRT.fullmatch(rest)
        if not match:
            raise self.fail(f"what is derived by what? {rest!r}", line, "```symgrad derive L wrt W")
        of, variables, more = match[1], [v.strip() for v in match[2].split(",")], match[3].strip()
        named = re.match(r"model\s+(\w+)\s*(.*)", more)
        if named:
            if named[1] not in self.models:
                raise self.fail(
                    f"there is no model {named[1]}", line, f"models: {', '.join(self.models) or 'none'}"
                )
            return named[1], variables, named[2]
        found = [name for name, m in self.models.items() if m.of == of]
        if not found:
            raise self.fail(f"no model above has the function {of}", line, f"```symgrad model NAME of {of}")
        return found[-1], variables, more

    def options(self, block: list[str], allowed: tuple[str, ...], line: int) -> dict[str, Any]:
        """The lines of a block as TOML."""
        try:
            options = tomllib.loads("\n".join(block))
        except tomllib.TOMLDecodeError as error:
            raise self.fail(f"the block is not TOML: {error}", line) from error
        self.reader.known(options, allowed, "the block", line)
        return options

    def derive(self, rest: str, block: list[str], line: int) -> None:
        """A derivation."""
        model, variables, more = self.asked(rest, line)
        if more:
            raise self.fail(f"not understood: {more}", line)
        options = self.options(block, ("final", "method"), line)
        section = {"model": model, "wrt": variables, "plain": True, **options}
        self.sections.append(Section("derivation", section, line))

    def claim(self, rest: str, block: list[str], line: int) -> None:
        """Claims, one a line."""
        if rest not in ("", "refuted", "true") or not self.models:
            raise self.fail(f"not understood: claim {rest}", line, "```symgrad claim, after a model")
        for text in (t.strip() for t in block):
            if text:
                options = {"model": list(self.models)[-1], "claim": text, "expect": rest or "true"}
                self.sections.append(Section("claim", options, line))

    def exercise(self, rest: str, block: list[str], line: int) -> None:
        """An exercise: its kind, what is asked, points and space."""
        kind, _, asked = rest.partition(" ")
        if kind not in EXERCISES:
            raise self.fail(f"there is no kind of exercise {kind!r}", line, f"kinds: {', '.join(EXERCISES)}")
        options = self.options(block, ("text", "title", "hint", "answer", "solution"), line)
        numbers = {k: int(v) for k, v in re.findall(r"\b(points|space)\s+(\d{1,3})\b", asked)}
        asked = re.sub(r"\b(points|space)\s+\d{1,3}\b", "", asked).strip()
        model: str | None = None
        variables: list[str | None] = [None]
        if asked:
            model, found, more = self.asked(asked, line)
            variables = list(found)
            if more:
                raise self.fail(f"not understood: {more}", line)
        given = {
            "text": options.get("text"),
            "model": model,
            "wrt": variables[0],
            "solution": options.get("solution"),
        }
        for needed in sorted(EXERCISES[kind]):
            if given.get(needed) is None:
                raise self.fail(f"the exercise {kind} needs {needed}", line)
        texts = {k: {self.lang: str(v)} for k, v in options.items()}
        item = Item(kind, line, model, variables[0], texts=texts, **numbers)
        self.sections.append(Section("exercises", {"items": [item], "plain": True}, line))
