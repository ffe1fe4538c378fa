"""The command `analyse`: the stability sheet of a network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from symgrad.errors import UnsupportedError

__all__ = ["analyse"]

_FORMATS = ("text", "md", "tex", "json")


@click.command()
@click.argument("network")
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
@click.option("--format", "form", default="text", help="text, md, tex or json.")
@click.option("--lang", default="en", help="Language of the words: en, zh, or de (written by a machine).")
@click.option("--figures", help="A folder for figures (SVG), which need matplotlib.")
@click.option("-o", "--output", help="Write to a file instead of standard output.")
def analyse(network: str, **options: Any) -> None:
    r"""Say how gradients fare in NETWORK: a model file MODEL.sg, - for standard input, or a short form.

    \b
    symgrad analyse "mlp(x, depth=L, activation=tanh)"
    symgrad analyse network.sg --weight-variance 2 --depth 50 --format md
    """
    from symgrad.analysing.sheet import analyse as analysed
    from symgrad.analysing.sheet import document_of, to_data
    from symgrad.files import read_text, write_text
    from symgrad.reading import read_model
    from symgrad.rendering.formats import FORMATS, write_document

    form = options["form"]
    if form not in _FORMATS:
        if form in ("html", "pdf", "ipynb", "typ"):
            raise UnsupportedError(
                f"the format {form} is not available here", hint="available: text, md, tex, json"
            )
        raise click.UsageError(f"there is no format {form!r}; available: {', '.join(_FORMATS)}")
    is_file = network == "-" or network.endswith(".sg")
    text = read_text(network) if is_file else network if "\n" in network else f"out = {network}"
    sheet = analysed(
        read_model(text),
        weight_variance=options["weight_variance"],
        bias_variance=options["bias_variance"],
        depth=options["depth"],
        width=options["width"],
        networks=options["networks"],
        seed=options["seed"],
    )
    if options["figures"]:
        from symgrad.analysing.pictures import pictures
        from symgrad.files import write_files

        write_files(dict(pictures(sheet, options["lang"])), Path(options["figures"]))
    if form == "json":
        answer = json.dumps(to_data(sheet), ensure_ascii=False, indent=2) + "\n"
    else:
        answer = write_document(document_of(sheet, options["lang"]), next(f for f in FORMATS if f == form))
    if options["output"]:
        write_text(Path(options["output"]), answer)
    else:
        sys.stdout.write(answer if answer.endswith("\n") else answer + "\n")
