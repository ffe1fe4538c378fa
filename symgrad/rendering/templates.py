"""Templates: what ships, blocks that a user writes instead, in a sandbox, with errors that name the line.

A format has one file, `document/FORMAT.jinja`, made of Jinja blocks: one for each kind of block of a document, and
`document` for what is around them; a profile has one more, `document/FORMAT.PROFILE.jinja`, of the blocks that it writes
in another way. A folder of a user may hold files of the same names with only the blocks that are to look different
(`super()` is the one that ships), or a whole template without blocks.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from symgrad.errors import RecipeError

__all__ = ["Rendered", "Templates", "asset_folder", "render_template", "template_folder"]


class Rendered(Markup):
    """Text that is ready for its format. Everything a template prints is this, or made of it."""


def template_folder() -> Path:
    """The folder of the templates and recipes that ship: in the package, or beside it in a checkout.

    Raises   RecipeError if it is not there
    """
    for folder in (Path(str(files("symgrad"))) / "templates", Path(__file__).parents[2] / "templates"):
        if folder.is_dir():
            return folder
    raise RecipeError("the templates of symgrad are not installed", hint="install the package again")


def asset_folder() -> Path:
    """The folder of the fonts and of KaTeX."""
    return Path(__file__).parent / "assets"


def _only_rendered(value: Any) -> Any:
    """What a template may print; anything else is text that nobody has escaped."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # StrictUndefined raises here
    if isinstance(value, Markup) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise RecipeError(f"a template prints {type(value).__name__} that was not rendered: {value!r:.60}")


def _environment(folders: Sequence[Path]) -> jinja2.Environment:
    return ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader([str(f) for f in folders]),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=True,  # macros then return markup, which is what may be printed
        finalize=_only_rendered,
    )


class Templates:
    """The blocks of one format: those of the user's folders first, then those that ship.

    Raises   RecipeError with the template's line for a template that cannot be used
    """

    def __init__(self, name: str, folders: Sequence[Path], profile: str = "") -> None:
        self.name = name
        self.folders = [*folders, template_folder()]
        self.chain: list[tuple[jinja2.Environment, jinja2.Template]] = []
        self.whole: jinja2.Template | None = None
        names = [name] if not profile else [name, name.replace(".jinja", f".{profile}.jinja")]
        shipped: set[str] = set()
        for folder, file in ((folder, file) for folder in reversed(self.folders) for file in names):
            if not (folder / file).is_file():
                continue
            environment = _environment([folder])
            template = self._guarded([folder], partial(environment.get_template, file))
            if folder == self.folders[-1]:
                shipped |= set(template.blocks)
            elif not template.blocks:
                self.whole = template
                continue
            unknown = sorted(set(template.blocks) - shipped)
            if unknown:
                raise RecipeError(
                    f"template {file}: there is no block {unknown[0]}",
                    hint="blocks: " + ", ".join(sorted(shipped)),
                )
            self.chain.insert(0, (environment, template))
        self.blocks: dict[str, list[Any]] = {}
        for _, template in self.chain:
            for block, function in template.blocks.items():
                self.blocks.setdefault(block, []).append(function)

    def __call__(self, block: str, data: Mapping[str, Any]) -> Rendered:
        """One block filled with data; the blocks inside it may be a user's or a profile's."""
        environment, template = next((e, t) for e, t in self.chain if block in t.blocks)
        context = template.new_context(dict(data))
        context.blocks.update({name: list(functions) for name, functions in self.blocks.items()})

        def run() -> str:
            try:
                return "".join(self.blocks[block][0](context))
            except Exception:
                environment.handle_exception()

        return Rendered(self._guarded(self.folders, run))

    def document(self, data: Mapping[str, Any]) -> str:
        """The frame of the document: the user's whole template, or the block `document`."""
        whole = self.whole
        if whole is None:
            return str(self("document", data))
        return self._guarded(self.folders, lambda: whole.render(data))

    def _guarded(self, folders: Sequence[Path], action: Callable[[], Any]) -> Any:
        return _guarded(self.name, folders, action)


def render_template(name: str, data: Mapping[str, Any], folders: Sequence[Path]) -> str:
    """A whole template filled with data; the first folder that has it counts.

    Raises   RecipeError with the template's line
    """
    environment = _environment(folders)
    text: str = _guarded(name, folders, lambda: environment.get_template(name).render(data))
    return text


def _guarded(name: str, folders: Sequence[Path], action: Callable[[], Any]) -> Any:
    """What an action returns; its errors as messages that name the line of the template."""
    try:
        return action()
    except jinja2.TemplateNotFound as error:
        known = sorted(_environment(folders).list_templates(filter_func=lambda n: n.endswith(".jinja")))
        raise RecipeError(
            f"there is no template {error.name}", hint="there are " + ", ".join(known)
        ) from error
    except jinja2.TemplateSyntaxError as error:
        raise _template_error(error.message or "syntax", error.name or name, error.lineno, folders) from error
    except RecipeError as error:
        raise _template_error(error.message, *_where(error, name, folders), folders) from error
    except Exception as error:  # a template is a program of somebody else
        raise _template_error(str(error), *_where(error, name, folders), folders) from error


def _where(error: BaseException, name: str, folders: Sequence[Path]) -> tuple[str, int]:
    """The innermost line of a template on the way to an error."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for folder in folders:
            if frame.filename.startswith(str(folder)) and frame.lineno is not None:
                return str(Path(frame.filename).relative_to(folder)), frame.lineno
    return name, 1


def _template_error(message: str, name: str, line: int, folders: Sequence[Path]) -> RecipeError:
    path = next((f / name for f in folders if (f / name).is_file()), None)
    source = path.read_text(encoding="utf-8") if path else ""
    shown = source.splitlines()[line - 1] if 0 < line <= len(source.splitlines()) else ""
    column = len(shown) - len(shown.lstrip()) + 1
    return RecipeError(f"template {name}: {message}", source=source, line=line, column=column)
