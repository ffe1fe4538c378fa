"""The gallery: complete and up to date, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from symgrad.cli import run
from symgrad.gallery import NETWORKS, QUESTIONS, make_gallery, stale

OUTPUT = Path(__file__).parents[1] / "output"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return dict(make_gallery())


def test_the_gallery_is_up_to_date(made: dict[str, str]) -> None:
    assert stale(made, OUTPUT) == []


def test_the_gallery_has_what_it_should(made: dict[str, str]) -> None:
    for name in QUESTIONS:
        assert {f"{name}.md", f"{name}.tex", f"{name}.json"} <= set(made)
    assert {n.rsplit(".", 1)[1] for n in made if n.startswith("gradients/")} >= {"md", "tex"}
    for name in (*NETWORKS, "stability"):
        assert {f"networks/{name}.en.md", f"networks/{name}.zh.md"} <= set(made)
    assert "rules.md" in made
    assert not any(str(OUTPUT.parent) in text or "seconds" in text for text in made.values())


def test_check_says_what_is_stale(
    made: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("symgrad.gallery.make_gallery", lambda: iter(made.items()))
    monkeypatch.setattr("symgrad.gallery.samples", lambda: iter([("a/b.pdf", b"%PDF")]))
    assert run(["gallery", "-o", str(tmp_path)]) == 0
    assert run(["gallery", "--check", "-o", str(tmp_path)]) == 0
    (tmp_path / "rules.md").write_text("mine\n")
    (tmp_path / "extra.md").write_text("old\n")
    assert run(["gallery", "--check", "-o", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "rules.md" in out
    assert "extra.md" in out
