"""Recipes as TOML files. Nothing in them is executed; what is wrong is named with its line and what would fit."""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from sympy import Rational, Symbol

from symgrad.errors import RecipeError, SymgradError
from symgrad.expr import Model
from symgrad.reading import read_model
from symgrad.rendering.notation import Notation
from symgrad.rendering.phrases import LANGUAGES
from symgrad.rendering.profiles import PROFILES
from symgrad.rendering.recipe import EXERCISES, MODEL, SECTIONS, Group, Item, Recipe, RecipeModel, Section
from symgrad.rendering.templates import template_folder

__all__ = ["RecipeReader", "load_recipe", "read_recipe", "ready_recipes", "starter"]

_WORDS = ("title", "text", "hint", "answer", "solution")


_PAPERS = ("a4", "letter")


_OPTIONAL = {"title", "method", "batch", "loss_was", "final", "expect"}


_MOST_TEXT = 200_000


_TOP = (
    *("name", "title", "course", "lecturer", "date", "paper", "name_field", "notation", "templates"),
    "profiles",
    *("models", "sections"),
)


_NOTATION: dict[str, tuple[Any, ...]] = {
    "transpose": ("top", "T", "prime"),
    "layer": ("(l)", "[l]", "_l"),
    "digits": ("index", "layer"),
    "bold": (False, True),
}


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe that ships (by its name), or a TOML file.

    Raises   RecipeError saying which line, which key, and what would fit
    """
    shipped = template_folder() / "recipes"
    text = str(name_or_path)
    path = Path(name_or_path)
    if re.fullmatch(r"\w+", text) and not path.is_file():
        path = shipped / f"{text}.toml"
        if not path.is_file():
            known = sorted(p.stem for p in shipped.glob("*.toml"))
            close = difflib.get_close_matches(text, known, 1)
            raise RecipeError(
                f"there is no recipe {text}",
                hint=f"did you mean {close[0]}?"
                if close
                else f"recipes that ship: {', '.join(known)}; or give a file",
            )
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text") from error
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    if path.suffix.lower() in (".md", ".markdown"):
        from symgrad.rendering.markdown_source import read_markdown

        if len(content) > _MOST_TEXT:
            raise RecipeError(f"the notes have {len(content)} characters, more than {_MOST_TEXT}")
        return read_markdown(content, path.stem, path.parent)
    return read_recipe(content, folder=path.parent)


def ready_recipes() -> list[tuple[str, str]]:
    """The names and titles of the recipes that ship."""
    found = []
    for path in sorted((template_folder() / "recipes").glob("*.toml")):
        title = tomllib.loads(path.read_text(encoding="utf-8"))["title"]
        found.append((path.stem, title if isinstance(title, str) else title["en"]))
    return found


def starter() -> str:
    """A commented recipe to start from."""
    return (template_folder() / "starter.toml").read_text(encoding="utf-8")


def read_recipe(content: str, folder: Path | None = None) -> Recipe:
    """A recipe from its text; `folder` is where its own templates may be.

    Raises   RecipeError saying which line, which key, and what would fit
    """
    if len(content) > _MOST_TEXT:
        raise RecipeError(f"the recipe has {len(content)} characters, more than {_MOST_TEXT}")
    try:
        data = tomllib.loads(content, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(match[1]), int(match[2])) if match else (1, 1)
        message = re.sub(r" \(at .*\)", "", str(error))
        raise RecipeError(
            f"the recipe is not TOML: {message}", source=content, line=line, column=column
        ) from error
    return RecipeReader(content, folder).recipe(data)


class RecipeReader:
    """Reads the tables of a recipe and says what is wrong with them, and where."""

    def __init__(self, content: str, folder: Path | None) -> None:
        self.content = content
        self.lines = content.splitlines()
        self.folder = folder

    def fail(self, message: str, pattern: str, hint: str | None = None, after: int = 0) -> RecipeError:
        """An error at the first line, from `after` on, that matches."""
        line = self.line_of(pattern, after)
        return RecipeError(message, source=self.content, line=line, column=1, hint=hint)

    def line_of(self, pattern: str, after: int = 0) -> int:
        """The number of the first line that matches, from line `after` on."""
        for i, line in enumerate(self.lines, 1):
            if i >= after and re.search(pattern, line):
                return i
        return max(after, 1)

    def known(self, table: Mapping[str, Any], allowed: Sequence[str], what: str, after: int = 0) -> None:
        """Refuse a key that means nothing."""
        for key in table:
            if key not in allowed:
                close = difflib.get_close_matches(key, allowed, 1)
                hint = f"did you mean {close[0]}?" if close else f"keys that fit: {', '.join(allowed)}"
                raise self.fail(f"{what} has an unknown key {key!r}", rf"\b{re.escape(key)}\b", hint, after)

    def recipe(self, data: Mapping[str, Any]) -> Recipe:
        """The whole recipe."""
        self.known(data, _TOP, "the recipe")
        name = data.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][\w-]{0,63}", name):
            raise self.fail(
                "the recipe needs a name of letters, digits and underscores", "^name", 'name = "gradients"'
            )
        title = self.words(data.get("title"), "the title of the recipe", "^title")
        models = self.table(data.get("models", {}), "models")
        read = {key: self.model(key, self.table(value, f"models.{key}")) for key, value in models.items()}
        sections = data.get("sections")
        if not isinstance(sections, list) or not sections:
            raise self.fail(
                "the recipe has no sections", "sections", 'write [[sections]] with kind = "example"'
            )
        return Recipe(
            name,
            title,
            read,
            tuple(self.section(i, s, read) for i, s in enumerate(sections)),
            self.content,
            self.own_templates(data),
            **self.head(data),
        )

    def head(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """What stands in the head of the handout, and how it is written."""
        found: dict[str, Any] = {}
        for key in ("course", "lecturer"):
            if key in data:
                found[key] = self.words(data[key], f"the {key}", f"^{key}")
        if "date" in data:
            if type(data["date"]) is not datetime.date:
                raise self.fail("the date is no day", "^date", "write date = 2026-11-24, without quotes")
            found["date"] = data["date"]
        if "paper" in data:
            if data["paper"] not in _PAPERS:
                raise self.fail(f"there is no paper {data['paper']!r}", "^paper", '"a4" or "letter"')
            found["paper"] = data["paper"]
        if "name_field" in data:
            if not isinstance(data["name_field"], bool):
                raise self.fail("name_field is true or false", "^name_field")
            found["name_field"] = data["name_field"]
        if "profiles" in data:
            given = data["profiles"]
            names = [p.name for p in PROFILES]
            if not isinstance(given, list) or not all(name in names for name in given):
                raise self.fail(
                    f"profiles is a list of {', '.join(names)}", "^profiles", 'profiles = ["github", "exam"]'
                )
            found["profiles"] = tuple(given)
        if "notation" in data:
            table = self.table(data["notation"], "notation")
            start = self.line_of(r"^\s*\[?\s*notation")
            self.known(table, tuple(_NOTATION), "the notation", start)
            for key, value in table.items():
                if value not in _NOTATION[key]:
                    listed = ", ".join(
                        str(v).lower() if isinstance(v, bool) else f'"{v}"' for v in _NOTATION[key]
                    )
                    raise self.fail(f"the notation has no {key} {value!r}", rf"\b{key}\b", listed, start)
            found["notation"] = Notation(**table)
        return found

    def own_templates(self, data: Mapping[str, Any]) -> Path | None:
        """The folder of templates of the recipe, which is beside it."""
        given = data.get("templates")
        if given is None:
            return None
        if not isinstance(given, str) or self.folder is None:
            raise self.fail("templates is the name of a folder beside the recipe", "^templates")
        path = (self.folder / given).resolve()
        if not path.is_relative_to(self.folder.resolve()) or not path.is_dir():
            raise self.fail(f"there is no folder {given} beside the recipe", "^templates")
        return path

    def table(self, value: Any, what: str) -> Mapping[str, Any]:
        """A table; anything else is refused."""
        if not isinstance(value, dict):
            raise self.fail(f"{what} is not a table", re.escape(what.rpartition(".")[2]))
        return value

    def words(self, value: Any, what: str, pattern: str, after: int = 0) -> Mapping[str, str]:
        """A text for each language; one string serves all."""
        if isinstance(value, str):
            return dict.fromkeys(LANGUAGES, value)
        if not isinstance(value, dict) or not value or not all(isinstance(v, str) for v in value.values()):
            raise self.fail(f"{what} is no text", pattern, 'write { en = "...", zh = "..." }', after)
        for lang in value:
            if lang not in LANGUAGES:
                raise self.fail(
                    f"{what} has an unknown language {lang!r}",
                    pattern,
                    f"languages: {', '.join(LANGUAGES)}",
                    after,
                )
        return value

    # --- models -----------------------------------------------------------------------------------------

    def model(self, name: str, table: Mapping[str, Any]) -> RecipeModel:
        """A model with its numbers and groups."""
        start = self.line_of(rf"^\s*\[\s*models\.{re.escape(name)}\s*\]")
        self.known(table, ("text", "of", "values", "weights", "inputs"), f"the model {name}", start)
        text, of = table.get("text"), table.get("of")
        if not isinstance(text, str) or not isinstance(of, str):
            raise self.fail(f"the model {name} needs text and of", "", 'text = """...""" and of = "L"', start)
        first = next((line for line in text.splitlines() if line.strip()), "")
        offset = self.line_of(re.escape(first.strip()), start) if first else start
        blank = next((i for i, line in enumerate(text.splitlines()) if line.strip()), 0)
        try:
            model = read_model(text)
            model.symbol(of)
        except SymgradError as error:
            line = offset + (error.line or 1) - 1 - blank
            raise RecipeError(
                f"the model {name}: {error.message}",
                source=self.content,
                line=line,
                column=error.column or 1,
                details=error.details,
                hint=error.hint and error.hint.replace("--shapes ", "in the text, "),
            ) from error
        written = self.values(name, table.get("values", {}), model, start)
        return RecipeModel(
            name,
            text,
            of,
            model,
            {k: Rational(v) for k, v in written.items()},
            written,
            self.group(name, table.get("weights"), model, "weights", start),
            self.group(name, table.get("inputs"), model, "inputs", start),
        )

    def values(self, name: str, value: Any, model: Model, start: int) -> dict[str, str]:
        """Numbers for inputs, as they are written."""
        written: dict[str, str] = {}
        for key, given in self.table(value, f"models.{name}.values").items():
            if (
                isinstance(given, bool)
                or not isinstance(given, int | Decimal)
                or not Decimal(given).is_finite()
            ):
                raise self.fail(f"the value of {key} is no number", rf"\b{re.escape(key)}\s*=", None, start)
            if abs(Decimal(given)) > 10**9 or len(str(given)) > 20 or "E" in str(given):
                raise self.fail(
                    f"the value of {key} is too long to be printed", rf"\b{re.escape(key)}\s*=", None, start
                )
            self.entry(name, key, model, start)
            written[key] = str(given)
        return written

    def group(self, name: str, value: Any, model: Model, what: str, start: int) -> Group | None:
        """Scalars that are one vector to the reader."""
        if value is None:
            return None
        table = self.table(value, f"models.{name}.{what}")
        self.known(table, ("name", "entries"), f"{what} of the model {name}", start)
        entries = table.get("entries")
        if not isinstance(table.get("name"), str) or not isinstance(entries, list) or not entries:
            raise self.fail(
                f"{what} of the model {name} needs a name and entries",
                rf"^{what}",
                '{ name = "W", entries = ["w1"] }',
                start,
            )
        for entry in entries:
            self.entry(name, entry, model, start)
        return Group(table["name"], tuple(entries))

    def entry(self, name: str, entry: Any, model: Model, start: int) -> None:
        """Refuse a name that is no scalar input of the model."""
        inputs = [str(s) for s in model.inputs() if isinstance(s, Symbol)]
        if not isinstance(entry, str) or entry not in inputs:
            raise self.fail(
                f"the model {name} has no scalar input {entry}",
                rf"\b{re.escape(str(entry))}\b",
                f"its scalar inputs are {', '.join(inputs)}",
                start,
            )

    # --- sections ---------------------------------------------------------------------------------------

    def section(self, index: int, value: Any, models: Mapping[str, RecipeModel]) -> Section:
        """One section: its kind, its keys, and the models that it names."""
        starts = [i for i, line in enumerate(self.lines, 1) if re.match(r"\s*\[\[\s*sections\s*\]\]", line)]
        start = starts[index] if index < len(starts) else 1
        table = self.table(value, "sections")
        kind = table.get("kind")
        if kind not in SECTIONS:
            close = difflib.get_close_matches(str(kind), list(SECTIONS), 1)
            hint = f"did you mean {close[0]}?" if close else f"kinds: {', '.join(SECTIONS)}"
            raise self.fail(f"there is no kind of section {kind!r}", "^kind", hint, start)
        allowed = SECTIONS[kind]
        self.known(table, ("kind", "title", *allowed), f"the section {kind}", start)
        for key, what in allowed.items():
            if key not in table:
                if key in _OPTIONAL or (kind, key) == ("text", "model"):
                    continue
                raise self.fail(f"the section {kind} needs {key}: {what}", "", None, start)
            if what is MODEL:
                self.model_name(table[key], key, kind, models, start)
        options = dict(table)
        if "title" in table:
            options["title"] = self.words(table["title"], f"the title of the section {kind}", "^title", start)
        if "text" in table:
            options["text"] = self.words(table["text"], f"the text of the section {kind}", "^text", start)
        if kind == "exercises":
            listed = self.list_of(table["items"], "items", start)
            options["items"] = [self.item(i, models, start) for i in listed]
        if options.get("expect", "true") not in ("true", "refuted"):
            raise self.fail(
                f"the section {kind}: expect is no answer", "^expect", '"true" or "refuted"', start
            )
        self.numbers(options, kind, start)
        if kind == "depth":
            options["cases"] = [
                self.case(c, models, start) for c in self.list_of(table["cases"], "cases", start)
            ]
        return Section(kind, options, start)

    def model_name(
        self, name: Any, key: str, kind: str, models: Mapping[str, RecipeModel], start: int
    ) -> None:
        """Refuse a model that is not there."""
        if name not in models:
            raise self.fail(
                f"the section {kind}: there is no model {name!r}",
                rf"\b{key}\b",
                f"models: {', '.join(models)}",
                start,
            )

    def item(self, value: Any, models: Mapping[str, RecipeModel], start: int) -> Item:
        """One exercise."""
        table = self.table(value, "items")
        kind = table.get("kind")
        if kind not in EXERCISES:
            close = difflib.get_close_matches(str(kind), list(EXERCISES), 1)
            hint = f"did you mean {close[0]}?" if close else f"kinds: {', '.join(EXERCISES)}"
            raise self.fail(f"there is no kind of exercise {kind!r}", re.escape(str(kind)), hint, start)
        self.known(table, ("kind", "model", "wrt", "points", "space", *_WORDS), f"the exercise {kind}", start)
        for key in sorted(EXERCISES[kind] - set(table)):
            raise self.fail(f"the exercise {kind} needs {key}", rf"\b{kind}\b", None, start)
        if "model" in table:
            self.model_name(table["model"], "model", "exercises", models, start)
        for key, most in (("points", 1000), ("space", 60)):
            given = table.get(key, 0)
            if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= most:
                raise self.fail(f"{key} is a whole number up to {most}", rf"\b{key}\b", None, start)
        texts = {
            k: self.words(table[k], f"the {k} of an exercise", rf"\b{k}\b", start)
            for k in _WORDS
            if k in table
        }
        own = {k: table[k] for k in ("model", "wrt", "points", "space") if k in table}
        return Item(kind, start, texts=texts, **own)

    def numbers(self, options: dict[str, Any], kind: str, start: int) -> None:
        """Check the keys that are numbers."""
        if "depth" in options and not (
            isinstance(options["depth"], int)
            and not isinstance(options["depth"], bool)
            and 0 < options["depth"] <= 1000
        ):
            raise self.fail(f"the section {kind}: depth is a whole number up to 1000", "^depth", None, start)
        if "weights" in options:
            listed = self.list_of(options["weights"], "weights", start)
            options["weights"] = [self.one_number(v, "weights", start) for v in listed]
        if "scale" in options:
            options["scale"] = self.one_number(options["scale"], "scale", start)

    def one_number(self, value: Any, what: str, start: int) -> Rational:
        """A number that can be printed."""
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or len(str(value)) > 12:
            raise self.fail(f"{what}: {value} is no short number", rf"^{what}", None, start)
        return Rational(str(value))

    def list_of(self, value: Any, what: str, start: int) -> list[Any]:
        """A list that is not empty."""
        if not isinstance(value, list) or not value:
            raise self.fail(f"{what} is a list", rf"^{what}", None, start)
        return value

    def case(self, value: Any, models: Mapping[str, RecipeModel], start: int) -> dict[str, Any]:
        """One case of a section on depth."""
        table = self.table(value, "cases")
        self.known(table, ("model", "wrt", "title"), "a case of the section depth", start)
        self.model_name(table.get("model"), "model", "depth", models, start)
        if not isinstance(table.get("wrt"), str):
            raise self.fail("a case of the section depth needs wrt", "cases", 'wrt = "X[0]"', start)
        title = self.words(table.get("title"), "the title of a case", "title", start)
        return {**table, "title": title}
