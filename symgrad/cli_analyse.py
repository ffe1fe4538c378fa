"""The command `analyse`: the stability sheet of a network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from symgrad.rendering.document import Document

__all__ = ["analyse"]

_FORMATS = ("text", "md", "tex", "html", "pdf", "json")


@click.command()
@click.argument("network", required=False)
@click.option(
    "--weight-variance", type=click.FloatRange(min=0, min_open=True), help="sigma_w^2; critical if not given."
)
@click.option("--bias-variance", type=click.FloatRange(min=0), default=0.0, help="sigma_b^2.")
@click.option("--depth", type=click.IntRange(1, 1000), default=30, help="Layers of the measured networks.")
@click.option("--width", type=click.IntRange(2, 4096), default=256, help="Width of the measured networks.")
@click.option(
    "--networks", type=click.IntRange(2, 10_000), default=24, help="How many networks are measured."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the measurement.")
@click.option("--format", "form", default="text", help="text, md, tex, html, pdf or json.")
@click.option("--lang", default="en", help="Language of the words: en, zh, or de (written by a machine).")
@click.option("--figures", help="A folder for figures (SVG), which need matplotlib.")
@click.option(
    "--compare",
    metavar="NAMES",
    help="Instead of a network: activations, theory beside networks of the depths, e.g. tanh,relu,erf,gelu,identity.",
)
@click.option("--depths", default="5,15,30", help="The depths that --compare measures.")
@click.option("-o", "--output", help="Write to a file instead of standard output.")
def analyse(network: str | None, **options: Any) -> None:
    r"""Say how gradients fare in NETWORK: a model file MODEL.sg, - for standard input, or a short form.

    \b
    symgrad analyse "mlp(x, depth=L, activation=tanh)"
    symgrad analyse network.sg --weight-variance 2 --depth 50 --format pdf -o sheet.pdf
    symgrad analyse --compare tanh,relu,erf,gelu,identity --depths 5,15,30 --figures figures
    """
    from symgrad.rendering.phrases import LANGUAGES

    form = options["form"]
    if form not in _FORMATS:
        raise click.UsageError(f"there is no format {form!r}; available: {', '.join(_FORMATS)}")
    if options["lang"] not in LANGUAGES:
        raise click.UsageError(f"there is no language {options['lang']!r}; available: {', '.join(LANGUAGES)}")
    if (network is None) == (options["compare"] is None):
        raise click.UsageError("give a network, or activations with --compare")
    data, document, drawn = _compared(options) if network is None else _sheet(network, options)
    if options["figures"]:
        from symgrad.files import write_files

        write_files(dict(drawn()), Path(options["figures"]))
    if form == "json":
        _write(json.dumps(data, ensure_ascii=False, indent=2) + "\n", options["output"])
    else:
        _write(_written(document, form), options["output"])


Drawn = Callable[[], Iterable[tuple[str, str]]]


def _sheet(network: str, options: dict[str, Any]) -> tuple[dict[str, Any], Document, Drawn]:
    """The stability sheet of one network: data, document, figures."""
    from symgrad.analysing.page import document_of
    from symgrad.analysing.pictures import pictures
    from symgrad.analysing.sheet import analyse as analysed
    from symgrad.analysing.sheet import to_data
    from symgrad.files import read_text
    from symgrad.reading import read_model

    is_file = network == "-" or network.endswith(".sg")
    text = read_text(network) if is_file else network if "\n" in network else f"out = {network}"
    keys = ("weight_variance", "bias_variance", "depth", "width", "networks", "seed")
    sheet = analysed(read_model(text), **{key: options[key] for key in keys})
    lang = options["lang"]
    return to_data(sheet), document_of(sheet, lang), lambda: pictures(sheet, lang)


def _compared(options: dict[str, Any]) -> tuple[dict[str, Any], Document, Drawn]:
    """Activations beside each other: data, document, the figure."""
    from symgrad.analysing.comparison import compare, comparison_document, picture, to_data
    from symgrad.rendering.figures import has_matplotlib

    names = [name.strip() for name in options["compare"].split(",") if name.strip()]
    depths = [d.strip() for d in options["depths"].split(",")]
    if not names or not all(d.isdigit() and 0 < int(d) <= 1000 for d in depths):
        raise click.UsageError("--compare takes activations, --depths numbers from 1 to 1000, with commas")
    asked = options["weight_variance"]
    found = compare(
        names,
        [int(d) for d in depths],
        bias_variance=options["bias_variance"],
        width=options["width"],
        networks=options["networks"],
        seed=options["seed"],
        **({} if asked is None else {"weight_variance": asked}),
    )
    lang = options["lang"]
    drawn = options["form"] in ("html", "pdf") and has_matplotlib()
    document = comparison_document(found, lang, drawn=drawn)
    return to_data(found), document, lambda: [("theory_and_measurement.svg", picture(found, lang))]


def _written(document: Document, form: str) -> str | bytes:
    if form == "pdf":
        from symgrad.rendering.pdf import write_pdf

        return write_pdf(document)
    if form == "html":
        from symgrad.rendering.html import write_html

        return write_html(document)
    from symgrad.rendering.formats import FORMATS, write_document

    return write_document(document, next(f for f in FORMATS if f == form))


def _write(answer: str | bytes, output: str | None) -> None:
    from symgrad.files import write_files, write_text

    if output and isinstance(answer, bytes):
        path = Path(output)
        write_files({path.name: answer}, path.parent)
    elif output:
        write_text(Path(output), str(answer))
    elif isinstance(answer, bytes):
        if sys.stdout.isatty():
            raise click.UsageError("a PDF is written to a file: -o sheet.pdf")
        sys.stdout.buffer.write(answer)
    else:
        sys.stdout.write(answer if answer.endswith("\n") else answer + "\n")
