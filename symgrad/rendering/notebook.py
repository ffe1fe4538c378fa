"""Notebooks, in the format 4.5, written directly: the same document gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from symgrad.rendering.document import Block, Code, Document, Exercise, Heading, Space
from symgrad.rendering.formats import Writer, tidy
from symgrad.rendering.inline import inline_md

__all__ = ["write_notebook"]


def write_notebook(document: Document, folders: Sequence[Path] = ()) -> str:
    """The document as a notebook: prose and formulas in cells of Markdown, code and room for answers in cells of code."""
    writer = Writer("md", folders, document.words)
    cells: list[tuple[str, str, dict[str, Any]]] = []
    title = [f"# {inline_md(document.title)}", *(str(inline_md(line)) for line in document.head)]
    pending = ["\n\n".join(title)]

    def flush() -> None:
        text = tidy("\n".join(pending))
        if text.strip():
            cells.append(("markdown", text.rstrip("\n"), {}))
        pending.clear()

    def add(block: Block) -> None:
        if isinstance(block, Heading) and block.level == 1:
            flush()
        if isinstance(block, Exercise):
            flush()
            pending.append(str(writer(Exercise(block.number, block.title, (), block.points))))
            for inner in block.blocks:
                add(inner)
            flush()
        elif isinstance(block, Space):
            flush()
            place = {"exercise": block.exercise, "seed": block.seed}
            cells.append(("code", block.code, {"symgrad": place}))
        elif isinstance(block, Code) and block.language == "python":
            flush()
            cells.append(("code", block.text, {}))
        else:
            pending.append(str(writer(block)))

    for block in document.blocks:
        add(block)
    flush()
    if any(kind == "code" and "symgrad" in text for kind, text, _ in cells):
        cells.insert(1, ("code", "import symgrad", {}))
    return _json(cells)


def _json(cells: list[tuple[str, str, dict[str, Any]]]) -> str:
    made: list[dict[str, Any]] = []
    for number, (kind, text, metadata) in enumerate(cells):
        name = hashlib.sha256(f"{number}/{kind}/{text}".encode()).hexdigest()[:12]
        cell: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": metadata}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cell["source"] = text.splitlines(keepends=True)
        made.append(cell)
    whole = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    data = {"cells": made, "metadata": whole, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
