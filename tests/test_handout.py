"""The handout on gradients: everything in it follows from the models of its recipe."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from sympy import Rational

from symgrad.errors import CheckError, RecipeError
from symgrad.rendering.document import Equation, formulas
from symgrad.rendering.formats import template_folder
from symgrad.rendering.handout import build, document, load_recipe, read_recipe
from symgrad.rendering.numbers import number
from symgrad.rendering.phrases import REVIEWED, load
from symgrad.rendering.recipe import Recipe
from symgrad.rendering.workbook import Workbook

HAN = re.compile(r"[\u4e00-\u9fff]")


@cache
def files() -> dict[str, str]:
    """The texts of the notes; their pictures are looked at elsewhere."""
    made_ = build(load_recipe("gradients"))
    return {name: text for name, text in made_.items() if isinstance(text, str)}


def section(text: str, number_: int) -> str:
    """One section of a Markdown handout."""
    return re.split(r"(?m)^## ", text)[number_]


# --- the handout that ships --------------------------------------------------------------------------


def test_it_comes_in_both_languages_and_formats() -> None:
    assert sorted(files()) == [f"gradients.{lang}.{form}" for lang in ("en", "zh") for form in ("md", "tex")]
    assert not HAN.search(files()["gradients.en.md"] + files()["gradients.en.tex"])
    assert not re.search(r"[a-z]{3,} [a-z]{3,} [a-z]{3,}", files()["gradients.zh.md"])


def test_the_same_recipe_gives_the_same_bytes() -> None:
    again = build(load_recipe("gradients"), ["en"], ["md", "tex"])
    assert again == build(load_recipe("gradients"), ["en"], ["md", "tex"])
    assert files().items() >= {(n, t) for n, t in again.items() if isinstance(t, str)}


@pytest.mark.parametrize("lang", REVIEWED)
def test_its_markdown_is_portable(lang: str, markdown_problems: Callable[[str], list[str]]) -> None:
    assert markdown_problems(files()[f"gradients.{lang}.md"]) == []


def test_every_formula_is_typeset(katex: Callable[[str], str]) -> None:
    shown = {f.latex for f in formulas(document(Workbook(load_recipe("gradients")), "zh").blocks) if f.latex}
    assert len(shown) > 100
    for latex in sorted(shown):
        assert "katex" in katex(latex)


@pytest.mark.parametrize("lang", REVIEWED)
def test_both_languages_show_the_same_formulas(lang: str) -> None:
    displayed = re.compile(r"(?ms)^\$\$\n(.*?)\n\$\$$")
    assert displayed.findall(files()[f"gradients.{lang}.md"]) == displayed.findall(files()["gradients.en.md"])


@pytest.mark.parametrize("lang", REVIEWED)
def test_equation_numbers_count_up_and_references_go_back(lang: str) -> None:
    text = files()[f"gradients.{lang}.md"]
    numbers = [int(n) for n in re.findall(r"(?m)^\*\*\((\d+)\)\*\*", text)]
    assert numbers == list(range(1, len(numbers) + 1))
    for line in text.splitlines():
        own = re.match(r"\*\*\((\d+)\)\*\*(.*)", line)
        if own:
            assert all(int(n) < int(own[1]) for n in re.findall(r"\((\d+)\)", own[2])), line


@pytest.mark.parametrize("lang", REVIEWED)
def test_the_single_layer_is_derived_with_its_numbers(lang: str) -> None:
    text = files()[f"gradients.{lang}.md"]
    assert "$Z = 0.5 \\times 2 + 1.0 \\times 3 = 4$" in section(text, 2)
    steps = section(text, 3)
    for line in (
        r"\frac{\partial L}{\partial Z} = 1",
        r"\frac{\partial L}{\partial w_{1}} = \frac{\partial L}{\partial Z} \cdot "
        r"\frac{\partial Z}{\partial w_{1}} = 1 \cdot x_{1} = x_{1}",
        r"\frac{\partial L}{\partial W} = X",
        r"\frac{\partial L}{\partial X} = W",
        r"\frac{\partial L}{\partial W} & = [2, 3]",
        r"\frac{\partial L}{\partial X} & = [0.5, 1.0]",
    ):
        assert line in steps, line
    assert load(lang)("entries.weights.equal", formula="", equations="")[0].text in steps


@pytest.mark.parametrize("lang", REVIEWED)
def test_a_layer_has_the_scalar_form_and_the_matrix_form(lang: str) -> None:
    text = section(files()[f"gradients.{lang}.md"], 5)
    upstream = r"\frac{\partial J}{\partial Z^{(l)}}"
    assert rf"\frac{{\partial J}}{{\partial W^{{(l)}}}} = X^{{(l-1)}} {upstream}" in text
    assert rf"\frac{{\partial J}}{{\partial W^{{(l)}}}} = {upstream} X^{{(l-1)\top}}" in text
    assert rf"\frac{{\partial J}}{{\partial X^{{(l-1)}}}} = W^{{(l)\top}} {upstream}" in text
    assert rf"\frac{{\partial J}}{{\partial b^{{(l)}}}} = {upstream}" in text


@pytest.mark.parametrize("lang", REVIEWED)
def test_the_transposes_are_explained_by_the_indices(lang: str) -> None:
    text = section(files()[f"gradients.{lang}.md"], 5)
    assert r"\delta_{" in text
    assert load(lang)("layer.matrix.transposes", equations="")[0].text in text


@pytest.mark.parametrize("lang", REVIEWED)
def test_any_depth_has_closed_forms_with_proofs(lang: str) -> None:
    text, words = section(files()[f"gradients.{lang}.md"], 6), load(lang)
    product = r"\mathop{\overset{\rightarrow}{\prod}}\limits_{k=1}^{L}"
    last = r"\frac{\partial J}{\partial X^{(L)}}"
    for form in (
        rf"\left[ {product} W^{{(k)\top}} \right] {last}",
        rf"(W^{{\top}})^{{L}} {last}",
        r"\left( \prod_{k=1}^{L} w^{(k)} \right) \frac{\partial J}{\partial x^{(L)}}",
        r"w^{L} \frac{\partial J}{\partial x^{(L)}}",
        rf"\left[ {product} (W^{{(k)\top}} \mathrm{{diag}}(\phi^{{\prime}}(Z^{{(k)}}))) \right] {last}",
        r"\sum_{k=0}^{L - 1} (W^{\top})^{k}",
        r"(I - W^{\top})^{-1} (I - (W^{\top})^{L}) (X^{(L)} - y)",
    ):
        assert form in text, form
    assert text.count(words("depth.base")[0].text) == 6
    assert text.count(words("depth.step", hypothesis="")[-1].text) == 6
    assert text.count(r"$L = 1, \ldots, 8$") == 6


@pytest.mark.parametrize("lang", REVIEWED)
def test_limits_and_factors_are_computed(lang: str) -> None:
    text = section(files()[f"gradients.{lang}.md"], 7)
    assert r"\lim_{L \to \infty} \left( \frac{1}{r + 1} \right)^{L} = 0" in text
    assert r"\lim_{L \to \infty} 1^{L} = 1" in text
    assert r"\lim_{L \to \infty} \left( r + 1 \right)^{L} = \infty" in text
    assert r"0.5^{50} \approx 8.88 \times 10^{-16}" in text
    assert r"1.5^{50} \approx 6.38 \times 10^{8}" in text
    summary = section(files()[f"gradients.{lang}.md"], 8)
    assert r"0.5^{50} \approx 8.88 \times 10^{-16}" in summary
    assert "$[20, 30]$" in summary


@pytest.mark.parametrize("lang", REVIEWED)
def test_every_equation_is_checked(lang: str) -> None:
    """Each numbered equation carries its evidence, but the principle, numbers put in, and limits."""
    made = document(Workbook(load_recipe("gradients")), lang)
    words = load(lang)
    plain = [b for b in made.blocks if isinstance(b, Equation) and b.number is not None and not b.mark]
    allowed = {"chain_rule.general", "entries.numbers", "limits.below", "limits.one", "limits.above"}
    starts = tuple(words.phrases[key].split("{")[0] for key in allowed)
    assert all(b.lead[0].text.startswith(starts) for b in plain)
    assert not any(b.mark == words("evidence.mark.none") for b in made.blocks if isinstance(b, Equation))


def test_no_formula_is_typed_into_the_recipes() -> None:
    for path in (template_folder() / "recipes").glob("*.toml"):
        assert not re.search(r"\\[a-z]|[∂∑∏×]", path.read_text(encoding="utf-8")), path


# --- other models, other handouts ------------------------------------------------------------------------

LINEAR = "w1 :\nw2 :\nx1 :\nx2 :\nZ = w1*x1 + w2*x2\nL = Z"
SINGLE = ("chain_rule", "example", "entries", "meaning")


def single(
    text: str = LINEAR,
    size: int = 2,
    values: str = "x1 = 2, x2 = 3, w1 = 0.5, w2 = 1.0",
    kinds: tuple[str, ...] = SINGLE,
    head: str = "",
) -> str:
    names = range(1, size + 1)
    return "\n".join(
        [
            'name = "t"',
            'title = "T"',
            head,
            "[models.m]",
            'of = "L"',
            f'text = """\n{text}\n"""',
            f'weights = {{ name = "W", entries = {[f"w{i}" for i in names]} }}',
            f'inputs = {{ name = "X", entries = {[f"x{i}" for i in names]} }}',
            f"values = {{ {values} }}",
            *(f'\n[[sections]]\nkind = "{kind}"\nmodel = "m"' for kind in kinds),
        ]
    )


def made(text: str, lang: str = "en") -> str:
    return build(read_recipe(text), [lang], ["md"])[f"t.{lang}.md"]


def test_three_inputs_change_formulas_numbers_and_table() -> None:
    text = made(
        single(
            "w1 :\nw2 :\nw3 :\nx1 :\nx2 :\nx3 :\nZ = w1*x1 + w2*x2 + w3*x3\nL = Z",
            3,
            "x1 = 2, x2 = 3, x3 = -1, w1 = 0.5, w2 = 1.0, w3 = 0.25",
        )
    )
    assert r"0.5 \times 2 + 1.0 \times 3 + 0.25 \times (-1) = 3.75" in text
    assert r"\frac{\partial L}{\partial w_{3}} = \frac{\partial L}{\partial Z}" in text
    assert r"| $\frac{\partial L}{\partial W} = X$ | $[2, 3, -1]$ |" in text
    assert r"| $\frac{\partial L}{\partial X} = W$ | $[0.5, 1.0, 0.25]$ |" in text


@pytest.mark.parametrize("lang", REVIEWED)
def test_a_square_loss_makes_the_gradient_a_multiple_of_the_input(lang: str) -> None:
    text = made(single(LINEAR.replace("L = Z", "L = Z**2")), lang)
    words = load(lang)
    assert words("entries.weights.multiple", formula="", equations="", factor="")[0].text in text
    assert words("entries.weights.equal", formula="", equations="")[0].text not in text
    assert r"| $\frac{\partial L}{\partial W} = 2 Z X$ | $[16, 24]$ |" in text
    assert r"\frac{\partial L}{\partial x_{1}} & = 2 Z w_{1} = 2 \times 4 \times 0.5 = 4" in text
    assert "$L = 4^{2} = 16$" in text


def test_a_sigmoid_adds_a_step_and_rounded_numbers() -> None:
    text = made(single(LINEAR.replace("L = Z", "A = sigmoid(Z)\nL = A")))
    assert r"\frac{\partial A}{\partial Z} = A (1 - A)" in text
    assert (
        r"\frac{\partial L}{\partial Z} = \frac{\partial L}{\partial A} \cdot \frac{\partial A}{\partial Z}"
        in text
    )
    assert r"$\frac{\partial L}{\partial W} = A (1 - A) X$ | $\approx [0.0353, 0.0530]$ |" in text
    assert r"$A = \sigma(4) \approx 0.982$" in text


def test_another_dependence_is_neither_equal_nor_a_multiple() -> None:
    text = made(single("w1 :\nw2 :\nx1 :\nx2 :\nZ = w1*x1 + w2*x2**2\nL = Z**2 + w1"))
    assert r"\frac{\partial L}{\partial W} = [1 + 2 Z x_{1}, 2 Z x_{2}^{2}]" in text
    assert "has these entries" in text
    assert "[41, 180]" in text


def shipped_models() -> str:
    text = (template_folder() / "recipes" / "gradients.toml").read_text(encoding="utf-8")
    return text[: text.index("[[sections]]")]


def test_another_activation_changes_the_closed_form() -> None:
    head = shipped_models().replace("phi : function\n", "").replace("phi(", "tanh(")
    cases = 'cases = [{ model = "activated", wrt = "X[0]", title = "T" }]'
    text = build(read_recipe(f'{head}[[sections]]\nkind = "depth"\n{cases}\n'), ["en"], ["md"])[
        "gradients.en.md"
    ]
    assert r"(W^{(k)\top} \mathrm{diag}(1 - (X^{(k)})^{2}))" in text
    assert r"\phi" not in text


@pytest.mark.parametrize("lang", REVIEWED)
def test_the_words_about_a_batch_fit_its_shape(lang: str) -> None:
    head, words = shipped_models(), load(lang)
    columns = "X : n N\nb : m\nY : m N\nZ = W @ X + outer(b, ones(N))"
    rows = "X : N n\nb : m\nY : N m\nZ = X @ W.T + b"
    assert columns in head
    section_text = '[[sections]]\nkind = "affine"\nmodel = "one_layer"\nbatch = "batch"\n'
    first, second = (
        build(read_recipe(text + section_text), [lang], ["md"])[f"gradients.{lang}.md"]
        for text in (head, head.replace(columns, rows))
    )
    assert words("affine.columns.intro")[0].text in first
    assert words("affine.rows.intro")[0].text in second
    assert r"\frac{\partial J}{\partial W} = \frac{\partial J}{\partial Z} X^{\top}" in first
    assert r"\frac{\partial J}{\partial W} = \left( \frac{\partial J}{\partial Z} \right)^{\top} X" in second


def test_a_text_and_a_derivation_of_ones_own() -> None:
    text = made(
        single(kinds=())
        + '\n[[sections]]\nkind = "text"\ntitle = "Mine"\ntext = "100% of a_b"\n'
        + '\n[[sections]]\nkind = "derivation"\nmodel = "m"\nwrt = ["w1", "x2"]\n'
    )
    assert "## 1. Mine\n\n100% of a\\_b\n" in text
    assert r"\frac{\partial L}{\partial x_{2}} = w_{2} \frac{\partial L}{\partial Z} = w_{2}" in text


def test_a_template_beside_the_recipe_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "document"
    folder.mkdir(parents=True)
    (folder / "md.jinja").write_text("<< title >>, <% for b in blocks %>.<% endfor %>\n")
    (tmp_path / "r.toml").write_text(single(head='templates = "mine"'))
    assert build(load_recipe(tmp_path / "r.toml"), ["en"], ["md"])["t.en.md"].startswith("T, ....")


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message", "line_holds"),
    [
        (("of =", "off ="), "unknown key 'off'", "off ="),
        (("values =", "value ="), "unknown key 'value'", "value ="),
        (('kind = "example"', 'kind = "exmple"'), "no kind of section 'exmple'", "exmple"),
        (('"meaning"\nmodel = "m"', '"meaning"\nmodel = "n"'), "there is no model 'n'", 'model = "n"'),
        (('"meaning"\nmodel', '"meaning"\nmodl'), "unknown key 'modl'", "modl"),
        (('title = "T"', 'title = { fr = "T" }'), "unknown language 'fr'", "title"),
        (("L = Z", "L = Q"), "Q", "L = Q"),
        (("w1 = 0.5", 'w1 = "half"'), "the value of w1 is no number", "half"),
        (("w1 = 0.5", "w9 = 0.5"), "no scalar input w9", "w9"),
        (('name = "t"', 'name = "../t"'), "needs a name", "../t"),
        (('name = "t"', "name = t"), "not TOML", "name = t"),
        (('title = "T"', 'title = "T"\ntemplates = ".."'), "no folder", "templates"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_line(
    tmp_path: Path, change: tuple[str, str], message: str, line_holds: str
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(single().replace(*change))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert message in str(caught.value)
    assert caught.value.line is not None
    assert line_holds in path.read_text().splitlines()[caught.value.line - 1]


def test_an_unknown_recipe_says_which_there_are() -> None:
    with pytest.raises(RecipeError, match="did you mean gradients"):
        load_recipe("gradient")
    with pytest.raises(RecipeError, match="cannot read"):
        load_recipe("no/such/file.toml")


def test_missing_numbers_titles_and_formats_are_refused() -> None:
    with pytest.raises(RecipeError, match="no number for w2") as caught:
        made(single(values="x1 = 2, x2 = 3, w1 = 0.5"))
    assert caught.value.line is not None
    with pytest.raises(RecipeError, match="no title in 'zh'"):
        made(single().replace('title = "T"', 'title = { en = "T" }'), "zh")
    with pytest.raises(RecipeError, match="no format 'docx'"):
        build(read_recipe(single()), ["en"], ["docx"])
    with pytest.raises(RecipeError, match="no phrases in 'fr'"):
        build(read_recipe(single()), ["fr"], ["md"])


def test_limits_need_a_power_of_one_number() -> None:
    shipped = (template_folder() / "recipes" / "gradients.toml").read_text(encoding="utf-8")
    head = shipped[: shipped.index("[[sections]]")]
    text = (
        head + '[[sections]]\nkind = "limits"\nmodel = "activated"\nwrt = "X[0]"\ndepth = 9\nweights = [2]\n'
    )
    with pytest.raises(RecipeError, match="power of one number"):
        build(read_recipe(text), ["en"], ["md"])


def test_a_wrong_equation_is_never_printed() -> None:
    book = Workbook(read_recipe(single()))
    derivation = book.derive(book.model("m"), "w1")
    with pytest.raises(CheckError, match="nothing is returned"):
        book.check(derivation, (derivation.left, 2 * derivation.final))


def test_derivations_are_shared_by_the_languages() -> None:
    recipe: Recipe = read_recipe(single())
    book = Workbook(recipe)
    document(book, "en")
    before = dict(book.done)
    document(book, "zh")
    assert book.done == before


@pytest.mark.parametrize(
    ("value", "latex", "exact"),
    [
        (Rational(4), "4", True),
        (Rational(-1, 2), "-0.5", True),
        (Rational(1, 3), "0.333", False),
        (Rational(1, 2) ** 50, r"8.88 \times 10^{-16}", False),
        (Rational(3, 2) ** 50, r"6.38 \times 10^{8}", False),
        (-0.1192029, "-0.119", False),
        (123456.7, "123457", False),
        (0.0, "0", False),
    ],
)
def test_numbers_are_exact_or_said_to_be_rounded(value: Rational, latex: str, exact: bool) -> None:
    shown, is_exact = number(value)
    assert (shown.latex, is_exact) == (latex, exact)
