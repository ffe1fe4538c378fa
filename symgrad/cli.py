"""The command line: reads the arguments, calls the public functions, prints the answer.

Answers go to standard output, everything else to standard error. Exit codes: 0 done, 1 refuted or stale, 2 usage or
unreadable input, 3 unsupported. A user never sees a traceback.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import click

from symgrad.cli_analyse import analyse
from symgrad.cli_grade import grade
from symgrad.cli_handout import handout
from symgrad.cli_verify import lint, verify
from symgrad.errors import OutputError, SymgradError, UnsupportedError

__all__ = ["main"]

_DERIVATION_FORMATS = ("text", "md", "tex", "html", "json", "expr", "numpy", "jax", "torch")
_ELSEWHERE = ("html", "pdf", "ipynb")


class _Group(click.Group):
    """Lists the commands in the order of use, and leaves the examples in their help on lines of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if (
            cmd.help
        ):  # click wants the control character; in the help, where backslashes stand for LaTeX, it is spelt
            cmd.help = cmd.help.replace("\\b\n", "\b\n")
        super().add_command(cmd, name)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="symgrad", prog_name="symgrad")
def cli() -> None:
    """Derive gradients step by step, check every step, typeset the derivation."""


@cli.command()
@click.argument("question", required=False)
@click.option("--wrt", help="The variable: a name, or a member such as W[l].")
@click.option("--of", "of_", help="Which definition of a model file.")
@click.option("--given", multiple=True, help='A definition that comes before, e.g. "z = W @ x + b".')
@click.option("--shapes", help='Shapes, e.g. "W: m n, x: n, lam:".')
@click.option("--assume", help='Assumptions, e.g. "S: symmetric, y: onehot".')
@click.option("--functions", default="", help="Names of arbitrary smooth functions, e.g. phi.")
@click.option("--kind", default="gradient", help="gradient, jacobian, hessian or differential.")
@click.option("--method", help="backprop, differential or components; chosen if not given.")
@click.option("--layout", default="gradient", help="gradient or numerator.")
@click.option("--structure", help="symmetric-subspace, symmetric-entries or diagonal-entries.")
@click.option(
    "--format",
    "form",
    default="text",
    help="text, md, tex, html, json; expr (the answer alone); numpy, jax or torch (code).",
)
@click.option("--lang", default="en", help="Language of the words: en, zh, or de (written by a machine).")
@click.option("-o", "--output", help="Write to a file instead of standard output.")
@click.option("--check/--no-check", default=True, help="Check every step (default) or not.")
@click.option("--batch", help="Answer the questions of a JSON Lines file (- is standard input).")
@click.option("--jobs", default=1, type=click.IntRange(1, 64), help="Processes for --batch.")
@click.option(
    "--time-limit", default=60.0, type=click.FloatRange(min=0.1), help="Seconds a question of --batch."
)
def derive(question: str | None, **options: Any) -> None:
    r"""Derive QUESTION: an expression, a model file MODEL.sg, or - for standard input.

    \b
    symgrad derive "norm(X @ w - y)**2 / n" --wrt w --shapes "X: n d, w: d, y: n"
    symgrad derive network.sg --of loss --wrt W1
    """
    if options["batch"]:
        _batch(options)
        return
    if question is None:
        raise click.UsageError('a question is missing, e.g. symgrad derive "x @ x" --wrt x --shapes "x: n"')
    if not options["wrt"]:
        raise click.UsageError("derive by what? give --wrt NAME")
    from symgrad.api import derive as derive_it

    question = question.strip()
    form = _known_format(options["form"], _DERIVATION_FORMATS)
    _check_choice("--kind", options["kind"], ("gradient", "jacobian", "hessian", "differential"))
    _check_choice("--layout", options["layout"], ("gradient", "numerator", "denominator"))
    asked: Any = question
    of = options["of_"]
    functions = options["functions"].replace(",", " ").split()
    common = {"shapes": options["shapes"], "assume": options["assume"], "functions": functions}
    if question == "-" or question.endswith(".sg"):
        from symgrad.files import read_text
        from symgrad.reading import read_model

        text = read_text(question)
        if of is None and question == "-" and "=" not in text:
            asked = text.strip()
        else:
            asked, common = read_model(text, **common), {}
    elif of is not None:
        raise click.UsageError("--of names a definition of a model file; here the question is a formula")
    derivation = derive_it(
        asked,
        options["wrt"],
        of=of,
        given=options["given"],
        kind=options["kind"],
        method=options["method"],
        layout=options["layout"],
        structure=options["structure"],
        check=options["check"],
        **common,
    )
    _answer(_rendered(derivation, form, options["lang"]), options["output"])


def _rendered(derivation: Any, form: str, lang: str) -> str:
    if form == "expr":
        return derivation.to_numpy() + "\n"
    if form in ("numpy", "jax", "torch"):
        return derivation.to_code(form)
    from symgrad.rendering.derivation import render, to_json

    if form == "json":
        import json

        return json.dumps(to_json(derivation, lang), ensure_ascii=False, indent=2) + "\n"
    return render(derivation, form, lang)


def _batch(options: dict[str, Any]) -> None:
    from symgrad.batch import answer_all
    from symgrad.files import check_readable, write_lines
    from symgrad.workers import read_lines

    path = options["batch"]
    check_readable(path)
    answers = answer_all(read_lines(path), jobs=options["jobs"], seconds=options["time_limit"])
    shown = _progress(answers, None if path == "-" else _count_lines(path), "questions")
    if options["output"]:
        write_lines(Path(options["output"]), shown)
        return
    for answer in shown:
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


def _count_lines(path: str) -> int | None:
    """How many lines a file has, for the progress bar; None where it is no file that can be read twice."""
    if not sys.stderr.isatty() or not Path(path).is_file():
        return None
    with Path(path).open("rb") as stream:
        return sum(bool(line.strip()) for line in stream)


def _progress(items: Iterable[Any], count: int | None, what: str) -> Iterable[Any]:
    """The items, with a progress bar where standard error is a terminal and standard output is not."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=count)
        for item in items:
            yield item
            bar.advance(task)


cli.add_command(handout)
cli.add_command(verify)
cli.add_command(lint)
cli.add_command(grade)
cli.add_command(analyse)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be one before the work is done."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder")


@cli.command()
@click.argument("name", required=False)
@click.option("--format", "form", default="text", help="text or md.")
@click.option("-o", "--output", help="Write to a file instead of standard output.")
def rules(name: str | None, form: str, output: str | None) -> None:
    """Show the rule catalogue, or the rule NAME in full."""
    from symgrad.catalogue import catalogue_markdown, catalogue_text, entry_text

    _known_format(form, ("text", "md"))
    if name is not None:
        _answer(entry_text(name) + "\n", output)
    elif form == "md":
        _answer(catalogue_markdown(), output)
    else:
        _answer(catalogue_text() + "\n", output)


@cli.command()
@click.option(
    "--check", is_flag=True, help="Say what is stale instead of writing; exit code 1 if anything is."
)
@click.option("-o", "--output", default="output", help="The folder, output if not given.")
def gallery(check: bool, output: str) -> None:
    """Write the gallery: the handout, single derivations, the rule catalogue."""
    from symgrad.files import write_files
    from symgrad.gallery import make_gallery, samples, stale

    folder = Path(output)
    _check_folder(folder)
    files = dict(_progress(make_gallery(), 20, "gallery"))
    if not check:
        write_files({**files, **dict(samples())}, folder)
        click.echo(f"{len(files)} files in {folder}", err=True)
        return
    outdated = stale(files, folder)
    for name in outdated:
        click.echo(f"stale: {folder / name}")
    if outdated:
        click.echo("symgrad gallery writes them again", err=True)
        sys.exit(1)


def _answer(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    from symgrad.files import write_text

    write_text(Path(output), text if text.endswith("\n") else text + "\n")


def _known_format(form: str, known: tuple[str, ...]) -> str:
    if form in known:
        return form
    if form in _ELSEWHERE:
        raise UnsupportedError(
            f"the format {form} is not available here", hint="available: " + ", ".join(known)
        )
    raise click.UsageError(f"there is no format {form!r}; available: {', '.join(known)}")


def _check_choice(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise click.UsageError(f"{option} is {value!r}; it is one of: {', '.join(known)}")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        cli.main([_apart_from_options(a) for a in given], prog_name="symgrad", standalone_mode=False)
        sys.stdout.flush()
        return 0
    except SymgradError as error:
        click.secho(f"{_label(error)}: ", err=True, nl=False, fg="red", color=_colour())
        click.echo(str(error), err=True)
        return error.exit_code
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped", err=True)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except RecursionError:
        click.echo(
            "error: the formula is nested too deeply; name its parts in definitions of their own", err=True
        )
        return 2
    except Exception as error:
        if os.environ.get("SYMGRAD_DEBUG"):
            raise
        click.echo(
            f"error: a fault of symgrad ({type(error).__name__}: {error}); please report the formula. "
            "SYMGRAD_DEBUG=1 shows where.",
            err=True,
        )
        return 3


def _apart_from_options(argument: str) -> str:
    """A formula that begins with a minus sign, with a space in front, so that it is not read as an option."""
    an_option = re.fullmatch(r"-\w?|-o[\w./]+|--[a-z][a-z-]*(=.*)?|--", argument, re.DOTALL)
    return f" {argument}" if argument.startswith("-") and not an_option else argument


def _colour() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None


def _label(error: SymgradError) -> str:
    return "unsupported" if isinstance(error, UnsupportedError) else "error"
