"""The commands that check what others wrote: `verify` and `lint`."""

from __future__ import annotations

import json
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from symgrad.errors import ReadError, SymgradError

__all__ = ["lint", "verify"]

_VERIFY_FORMATS = ("text", "json", "md", "tex")


def context_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what a claim talks about."""
    for option in reversed(
        (
            click.option(
                "--given", multiple=True, help='A definition, in text or LaTeX, e.g. "z = W @ x + b".'
            ),
            click.option("--model", "model_file", help="A model file with the definitions."),
            click.option("--shapes", help='Shapes, e.g. "W: m n, x: n, lam:".'),
            click.option("--assume", help='Assumptions, e.g. "S: symmetric, y: onehot".'),
            click.option("--functions", default="", help="Names of arbitrary smooth functions, e.g. phi."),
            click.option("--of", "of_", help="What is differentiated, where the claim does not say it."),
            click.option("--wrt", help="By what, where the claim does not say it."),
            click.option("--kind", help="gradient, jacobian, hessian or differential."),
            click.option("--layout", help="gradient or numerator; found out if not given."),
            click.option(
                "--symbol", multiple=True, help=r'What a LaTeX symbol is, e.g. "\delta^l = delta1".'
            ),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("claims", nargs=-1)
@context_options
@click.option("--format", "form", default="text", help="text, json, md or tex.")
@click.option("--lang", default="en", help="Language of the words: en, zh, or de (written by a machine).")
@click.option("--time-limit", default=10.0, type=click.FloatRange(min=0.1), help="Seconds a claim.")
@click.option(
    "--memory-limit", default=4096, type=click.IntRange(min=256), help="Megabytes, where they can be bounded."
)
@click.option("--batch", help="Verify the claims of a JSON Lines file (- is standard input).")
@click.option("--jobs", default=1, type=click.IntRange(1, 64), help="Processes for --batch.")
@click.option("-o", "--output", help="Write to a file instead of standard output.")
def verify(claims: tuple[str, ...], **options: Any) -> None:
    r"""Verify CLAIMS: formulas in LaTeX or text, MODEL.sg before them, or - for claims on standard input.

    \b
    symgrad verify "dL/dw = 2 * X.T @ (X @ w - y)" --given "L = norm(X @ w - y)**2" --shapes "X: n d, w: d, y: n"
    symgrad verify network.sg "\frac{\partial L}{\partial W_1} = \delta_1 x^\top"

    Exit codes: 0 nothing refuted, 1 something refuted, 2 unreadable, 3 unsupported.
    """
    if options["batch"]:
        _batch(options)
        return
    if not claims:
        raise click.UsageError(
            'a claim is missing, e.g. symgrad verify "dL/dx = 2 * x" --given "L = x @ x" --shapes "x: n"'
        )
    if options["form"] not in _VERIFY_FORMATS:
        raise click.UsageError(
            f"there is no format {options['form']!r}; available: {', '.join(_VERIFY_FORMATS)}"
        )
    from symgrad.checking.budget import limit_memory

    limit_memory(options["memory_limit"])
    listed, context = _context(list(claims), options)
    shown: list[str] = []
    codes: list[int] = []
    for claim in listed:
        text, code = _one(claim, context, options, alone=len(listed) == 1)
        shown.append(text)
        codes.append(code)
    if options["form"] == "json":
        data = [json.loads(s) for s in shown]
        text = json.dumps(data[0] if len(data) == 1 else data, ensure_ascii=False, indent=2) + "\n"
    else:
        text = "\n".join(shown)
    write_answer(text, options["output"])
    # The gravest outcome counts: something refuted, then unreadable, then unsupported.
    code = next((c for c in (1, 2, 3) if c in codes), 0)
    if code:
        sys.exit(code)


def _one(claim: str, context: Any, options: dict[str, Any], *, alone: bool) -> tuple[str, int]:
    """The answer to one claim and its exit code; among several an unreadable one does not stop the others."""
    from symgrad.rendering.verdict import render, to_json
    from symgrad.verifying import verdict_on

    try:
        verdict = verdict_on(claim, context, seconds=options["time_limit"])
    except SymgradError as error:
        if alone:
            raise
        word = "unsupported" if error.exit_code == 3 else "unreadable"
        click.echo(f"{word}: {error}", err=True)
        record = {"claim": claim, "verdict": word, "message": str(error)}
        return (json.dumps(record) if options["form"] == "json" else f"{word}: {claim}\n"), error.exit_code
    code = 1 if verdict.verdict == "refuted" else 0
    if options["form"] == "json":
        return json.dumps({"claim": claim, **to_json(verdict, options["lang"])}, ensure_ascii=False), code
    return render(verdict, options["form"], options["lang"]), code


def _context(claims: list[str], options: dict[str, Any]) -> tuple[list[str], Any]:
    """The claims and their context; a first argument that ends in .sg is the model."""
    from symgrad.files import read_text
    from symgrad.reading import read_model
    from symgrad.reading.claim import KINDS, Context, is_latex

    for name, known in (("kind", KINDS), ("layout", ("gradient", "numerator"))):
        if options[name] is not None and options[name] not in known:
            raise click.UsageError(f"--{name} is {options[name]!r}; it is one of: {', '.join(known)}")
    file = options["model_file"]
    if file is None and claims[0].endswith(".sg"):
        file = claims.pop(0)
    functions = tuple(options["functions"].replace(",", " ").split())
    model = None
    if file is not None:
        model = read_model(
            read_text(file), shapes=options["shapes"], assume=options["assume"], functions=functions
        )
        if options["given"]:
            raise click.UsageError("--given beside a model file: put the definitions into the file")
    if claims == ["-"]:
        claims = [line.strip() for line in read_text("-").splitlines() if line.strip()]
    if not claims:
        raise click.UsageError("a claim is missing after the model file")
    symbols = {}
    for entry in options["symbol"]:
        left, equals, right = entry.partition("=")
        if not equals:
            raise ReadError(f"the symbol {entry!r} cannot be read", hint=r'write "\delta^l = delta1"')
        symbols[left.strip()] = right.strip()
    given = tuple(options["given"])
    in_latex = any(is_latex(g) for g in given)
    return claims, Context(
        definitions=() if in_latex else given,
        definitions_latex=given if in_latex else (),
        shapes=options["shapes"],
        assume=options["assume"],
        functions=functions,
        symbols=symbols,
        target=options["of_"],
        wrt=options["wrt"],
        kind=options["kind"],
        layout=options["layout"],
        model=model,
    )


def _batch(options: dict[str, Any]) -> None:
    from symgrad.files import check_readable, write_lines
    from symgrad.verify_batch import verdict_lines
    from symgrad.workers import read_lines

    check_readable(options["batch"])
    answers: Iterable[str] = verdict_lines(
        read_lines(options["batch"]),
        jobs=options["jobs"],
        seconds=options["time_limit"],
        lang=options["lang"],
        megabytes=options["memory_limit"],
    )
    seen: list[bool] = []

    def noted() -> Iterator[str]:
        for answer in answers:
            seen.append(json.loads(answer)["verdict"] == "refuted")
            yield answer

    if options["output"]:
        write_lines(Path(options["output"]), noted())
    else:
        for line in noted():
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    if any(seen):
        sys.exit(1)


def write_answer(text: str, output: str | None) -> None:
    """To standard output, or whole into a file."""
    text = text if text.endswith("\n") or not text else text + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    from symgrad.files import write_text

    write_text(Path(output), text)


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--format", "form", default="text", help="text, json, github or sarif.")
@click.option("--lang", default="en", help="Language of the words: en, zh, or de (written by a machine).")
@click.option("--fix", is_flag=True, help="Write corrected formulas back into the files.")
@click.option("--dry-run", is_flag=True, help="With --fix: show what would change and write nothing.")
@click.option("--time-limit", default=10.0, type=click.FloatRange(min=0.1), help="Seconds a formula.")
@click.option("--codes", is_flag=True, is_eager=True, expose_value=False, callback=lambda c, _, v: _codes(c, v),
              help="List the codes of the findings.")  # fmt: skip
@click.option("-o", "--output", help="Write to a file instead of standard output.")
def lint(files: tuple[str, ...], **options: Any) -> None:
    r"""Check every displayed formula of FILES: Markdown, LaTeX or notebooks.

    Definitions accumulate down a document; shapes and assumptions are read from it. A comment `symgrad: ignore`
    before a formula, or `symgrad: off` and `symgrad: on`, switches the check off.

    Exit codes: 0 nothing refuted, 1 something refuted, 2 unreadable.
    """
    from symgrad.files import read_text, write_text
    from symgrad.linting import lint as lint_it
    from symgrad.linting import render
    from symgrad.linting.report import FORMATS, readings
    from symgrad.rendering.phrases import load

    if options["form"] not in FORMATS:
        raise click.UsageError(f"there is no format {options['form']!r}; available: {', '.join(FORMATS)}")
    if options["dry_run"] and not options["fix"]:
        raise click.UsageError("--dry-run goes with --fix")
    if options["fix"] and "-" in files:
        raise click.UsageError("--fix writes into files, and standard input is none")
    reports = []
    texts = {}
    for name in files:
        texts[name] = read_text(name)
        reports.append(lint_it(name, texts[name], seconds=options["time_limit"]))
    if options["fix"]:
        from symgrad.linting.fixing import corrected, difference

        for report in reports:
            text, count = corrected(report)
            if not count:
                continue
            if options["dry_run"]:
                sys.stdout.write(difference(report.file, texts[report.file], text))
                continue
            marked = Path(report.file).read_bytes().startswith(BOM_UTF8)  # a byte order mark stays
            write_text(Path(report.file), "\ufeff" + text if marked else text)
            click.echo(f"{report.file}: {count} formulas corrected", err=True)
            texts[report.file] = text
        if options["dry_run"]:
            sys.exit(1 if any(r.refuted for r in reports) else 0)
        reports = [lint_it(name, texts[name], seconds=options["time_limit"]) for name in files]
    write_answer(render(reports, options["form"], options["lang"]), options["output"])
    for report in reports:
        if report.readings:
            said = load(options["lang"]).phrases["lint.readings"]
            listed = readings(report, options["lang"])
            click.echo(f"{report.file}: " + said.replace("{readings}", listed), err=True)
        _summary(report)
    if any(r.refuted for r in reports):
        sys.exit(1)


def _summary(report: Any) -> None:
    """How many formulas were what."""
    roles = [f.role for f in report.findings]
    right = sum(1 for f in report.findings if f.verdict is not None and f.verdict.is_right)
    skipped = roles.count("skipped")
    click.echo(
        f"{report.file}: {len(roles)} formulas, {roles.count('definition')} definitions, {roles.count('claim')} claims "
        f"({right} right, {len(report.refuted)} refuted), {skipped} skipped",
        err=True,
    )


def _codes(context: click.Context, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from symgrad.linting import CODES

    for code, kind in CODES.items():
        click.echo(f"{code}  {kind}")
    context.exit()
