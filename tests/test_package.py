"""The wheel in a clean environment: the templates are found, the command runs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_grammar_templates_phrases_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "symgrad/py.typed" in names
    assert "symgrad/reading/text.lark" in names
    assert {"symgrad/rendering/phrases/en.toml", "symgrad/rendering/phrases/zh.toml"} <= names
    assert "symgrad/templates/recipes/gradients.toml" in names
    assert any(n.startswith("symgrad/templates/document/") for n in names)
    assert not any(n.startswith(("tests/", "output/")) for n in names)


def test_the_installed_wheel_makes_the_handout(wheel: Path, tmp_path: Path) -> None:
    """Installed beside the libraries of this environment, away from the checkout."""
    place = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), str(wheel)],
        check=True,
    )
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import symgrad; from symgrad.cli import run;"
        "assert symgrad.__file__.startswith(sys.argv[1]), symgrad.__file__;"
        "sys.exit(run(['handout', 'gradients', '-o', 'made', '--lang', 'en', '--to', 'md']))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(place)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "made").glob("*.md"))


def test_types_are_shipped_and_the_version_is_one() -> None:
    import symgrad

    assert (ROOT / "symgrad" / "py.typed").exists()
    assert symgrad.__version__.count(".") == 2
