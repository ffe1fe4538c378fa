"""ARCHITECTURE.md is kept true: the order of the stages is read there and held against the imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import symgrad

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "symgrad"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def stages() -> list[str]:
    """The stages in the order of the page's flow line."""
    flow = re.search(r"^    errors -> (.*)$", PAGE, re.MULTILINE)
    assert flow
    return ["errors", *(s.strip() for s in flow[1].split("->"))]


def exceptions() -> set[tuple[str, str]]:
    """The imports against the flow that the page owns up to: `a` imports `b`."""
    return set(re.findall(r"^- `([\w./]+)` imports `([\w.]+)`", PAGE, re.MULTILINE))


def stage_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "symgrad" and len(parts) > 1 else None


def imports(path: Path) -> list[str]:
    """Every module of symgrad that a file imports, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("symgrad"):
            names = (
                [f"{node.module}.{a.name}" for a in node.names] if node.module == "symgrad" else [node.module]
            )
            found += names
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("symgrad")]
    return found


FILES = sorted(
    p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py" and p != PACKAGE / "__main__.py"
)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_stage_imports_only_stages_before_it(path: Path) -> None:
    order = stages()
    relative = path.relative_to(PACKAGE)
    here = relative.parts[0].removesuffix(".py")
    assert here in order, f"ARCHITECTURE.md does not place {here}"
    for module in imports(path):
        there = stage_of(module)
        if there is None or (str(relative), module) in exceptions():
            continue
        assert order.index(there) <= order.index(here), f"{relative} imports {module}"


def test_every_exception_on_the_page_is_needed() -> None:
    for name, module in exceptions():
        assert module in imports(PACKAGE / name), f"{name} no longer imports {module}"


def test_the_page_names_every_folder_and_stays_one_page() -> None:
    for folder in (p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"):
        assert f"{folder}/" in PAGE, folder
    assert len(PAGE.splitlines()) <= 110


def test_the_public_surface_is_the_one_on_the_page() -> None:
    listed = re.search(r"^Public names: (.*)$", PAGE, re.MULTILINE)
    assert listed
    assert sorted(re.findall(r"`(\w+)`", listed[1])) == sorted(symgrad.__all__)
    for name in symgrad.__all__:
        assert hasattr(symgrad, name)


def test_no_text_is_run_as_code() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path == PACKAGE / "rendering" / "html.py":
            continue  # `eval` is how QuickJS is given the KaTeX that ships; tests/test_html.py looks at what it is given
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                assert called not in ("eval", "exec", "parse_expr", "loads_pickle"), path
                if called == "sympify":  # which reads text as code unless it is told not to
                    assert [k.arg for k in node.keywords] == ["strict"], path


def test_the_root_holds_what_a_repository_has() -> None:
    known = {
        *("pyproject.toml", "symgrad", "templates", "tests", "README.md", "output"),
        *(
            "CHANGELOG.md",
            "ARCHITECTURE.md",
            "LICENSE",
            ".gitignore",
            ".ci",
            ".git",
            ".pre-commit-hooks.yaml",
        ),
    }
    made = {".venv", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis", "dist", "build"}
    assert {p.name for p in ROOT.iterdir()} <= known | made
