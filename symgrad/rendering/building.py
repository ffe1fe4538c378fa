"""Building handouts again: only what has changed is made, and everything is written together or not at all.

A file is made of its recipe (the part in its language), the templates and fonts of the user, the options, and symgrad
with the libraries that it typesets with. A digest of these, and one of the file itself, is kept in the folder; a file
whose digests are the same is kept as it is.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from symgrad.files import write_files
from symgrad.rendering.handout import Choice, Unit, check_choice, made_of, units
from symgrad.rendering.phrases import LANGUAGES
from symgrad.rendering.profiles import profile_for
from symgrad.rendering.recipe import Item, Recipe, RecipeModel, Section
from symgrad.rendering.templates import template_folder

__all__ = ["STATE", "Built", "Plan", "build", "planned"]

STATE = ".symgrad-handout.json"
"""The file in a folder of handouts that says what its files were made of."""

_TEXTS = frozenset({"title", "text", "hint", "answer", "solution", "course", "lecturer"})
_LIBRARIES = ("sympy", "numpy", "jinja2", "typst", "matplotlib", "quickjs-ng")
_LARGEST_STATE = 10_000_000


@dataclass(frozen=True)
class Plan:
    """What of a recipe is to be made in a folder: all its units by digest, and those that are not there."""

    recipe: Recipe
    choice: Choice
    folder: Path
    digests: Mapping[Unit, str]
    missing: tuple[Unit, ...]
    kept: int

    @property
    def steps(self) -> int:
        """How many sections and files are made: what a progress bar counts."""
        documents = {(unit.seed, lang) for unit in self.missing for lang in unit.lang.split("+")}
        return len(documents) * len(self.recipe.sections) + len(self.missing)


@dataclass
class Built:
    """The files that were written, and how many are kept."""

    written: list[Path] = field(default_factory=list)
    kept: int = 0


def planned(recipe: Recipe, choice: Choice, folder: Path, *, force: bool = False) -> Plan:
    """What is to be made, and what is there already.

    Raises   RecipeError for a language, format, audience or profile that there is not
    """
    check_choice(recipe, choice)
    digests = {unit: _digest(recipe, choice, unit) for unit in units(recipe, choice)}
    known = {} if force else _state(folder)
    missing, kept = [], 0
    for unit, digest in digests.items():
        files = known.get(_name(recipe, unit), {})
        if files.get("made_of") == digest and files["files"] and _unchanged(folder, files["files"]):
            kept += len(files["files"])
        else:
            missing.append(unit)
    return Plan(recipe, choice, folder, digests, tuple(missing), kept)


def build(plans: Sequence[Plan], tell: Callable[[str], None] = lambda what: None) -> Built:
    """Make what the plans are missing; nothing is written before all of it is made.

    Raises   RecipeError for a section or template that cannot be used, OutputError for a folder that cannot be written
    """
    built = Built(kept=sum(plan.kept for plan in plans))
    by_folder: dict[Path, dict[str, str | bytes]] = {}
    states: dict[Path, dict[str, Any]] = {}
    for plan in plans:
        files = by_folder.setdefault(plan.folder, {})
        state = states.setdefault(plan.folder, _state(plan.folder))
        for unit, made in _made(plan, tell):
            files |= made
            state[_name(plan.recipe, unit)] = {
                "made_of": plan.digests[unit],
                "files": {name: _sha(_bytes(content)) for name, content in made.items()},
            }
    for folder, files in by_folder.items():
        if files:
            written = {STATE: json.dumps(states[folder], indent=1, sort_keys=True) + "\n"}
            write_files({**files, **written}, folder)
            built.written += [folder / name for name in files]
    return built


def _made(plan: Plan, tell: Callable[[str], None]) -> Iterator[tuple[Unit, dict[str, str | bytes]]]:
    yield from made_of(plan.recipe, plan.choice, plan.missing, tell)


# --- what a file is made of -------------------------------------------------------------------------------------


def _name(recipe: Recipe, unit: Unit) -> str:
    return "/".join((recipe.name, str(unit.seed), unit.lang, unit.audience, unit.form))


def _digest(recipe: Recipe, choice: Choice, unit: Unit) -> str:
    """Everything that the unit's files depend on, in one number."""
    profile = profile_for(unit.form, choice.profiles or recipe.profiles)
    parts = [
        _symgrad(),
        _name(recipe, unit),
        _plain(recipe, frozenset(unit.lang.split("+"))),
        _plain(choice.notation, frozenset()),
        profile.name if profile else "",
        choice.paper or recipe.paper,
        _tree(recipe.templates) if recipe.templates else "",
        [_listing(folder) for folder in choice.fonts] if unit.form == "pdf" else "",
    ]
    return _sha(json.dumps(parts, ensure_ascii=False, default=str).encode())


def _plain(value: Any, languages: frozenset[str]) -> Any:
    """A recipe as plain data: texts in the languages alone, without line numbers and the places of folders."""
    if isinstance(value, RecipeModel):
        parts = (value.name, value.text, value.of, value.written, value.weights, value.inputs)
        return [_plain(part, languages) for part in parts]
    if isinstance(value, Recipe | Section | Item):
        left_out = {"source", "templates", "line"}
        named = {k: v for k, v in vars(value).items() if k not in left_out}
        return _plain(named, languages)
    if isinstance(value, Mapping):
        return {
            str(key): _one_language(v, languages) if key in _TEXTS else _plain(v, languages)
            for key, v in value.items()
        }
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Sequence | frozenset | set):
        return [_plain(v, languages) for v in value]
    return str(value)


def _one_language(value: Any, languages: frozenset[str]) -> Any:
    """A text in the languages of a file; what is no table of languages stays whole."""
    if isinstance(value, Mapping) and all(key in LANGUAGES for key in value):
        value = {lang: text for lang, text in value.items() if lang in languages}
    return _plain(value, languages)


@cache
def _symgrad() -> str:
    """The program: its files, its templates, and the libraries that it derives and typesets with."""
    found = [f"python {sys.version_info[:2]}"]
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} none")
    package = Path(__file__).parents[1]
    return _sha("\n".join([*found, _tree(package), _tree(template_folder())]).encode())


def _tree(folder: Path) -> str:
    """The contents of all files below a folder."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            whole.update(f"{path.relative_to(folder)}\0{_sha(path.read_bytes())}\n".encode())
    return whole.hexdigest()


def _listing(folder: Path) -> str:
    """Names, sizes and times of a folder of fonts, which may be large."""
    files = sorted(p for p in folder.glob("*") if p.is_file())
    return "\n".join(f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files)


# --- what is there ----------------------------------------------------------------------------------------------


def _state(folder: Path) -> dict[str, Any]:
    """What the files of a folder were made of; nothing if that cannot be read."""
    path = folder / STATE
    try:
        if path.stat().st_size > _LARGEST_STATE:
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: entry
        for name, entry in found.items()
        if isinstance(entry, dict) and isinstance(entry.get("files"), dict)
    }


def _unchanged(folder: Path, files: Mapping[str, Any]) -> bool:
    """Whether all of the files are there as they were made."""
    try:
        return all(_sha((folder / name).read_bytes()) == digest for name, digest in files.items())
    except (OSError, ValueError):
        return False


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
