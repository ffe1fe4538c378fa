"""The derivations and verdicts of one recipe."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sympy import Expr

from symgrad.api import Derivation, Method, derive
from symgrad.checking.derivation import check_steps
from symgrad.deriving.steps import Evidence, Step
from symgrad.errors import RecipeError, SymgradError
from symgrad.expr import Definition, Model
from symgrad.rendering.recipe import Recipe, RecipeModel
from symgrad.verifying import Verdict, verify

__all__ = ["Workbook"]


@dataclass
class Workbook:
    """The derivations of one recipe, each made and checked once, for all languages and formats."""

    recipe: Recipe
    done: dict[tuple[str, str, str, Method | None], Derivation] = field(default_factory=dict)
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)

    def model(self, name: str) -> RecipeModel:
        """A model of the recipe."""
        return self.recipe.models[name]

    def derive(
        self, model: RecipeModel, wrt: str, of: str | None = None, method: Method | None = None
    ) -> Derivation:
        """A checked derivation.

        Raises   RecipeError with what could not be derived, and why
        """
        key = (model.name, wrt, of or model.of, method)
        if key not in self.done:
            try:
                self.done[key] = derive(model.model, wrt, of=of or model.of, method=method)
            except RecipeError:
                raise
            except SymgradError as error:
                raise RecipeError(
                    f"the model {model.name}: the gradient of {key[2]} by {wrt}: {error.message}",
                    details=error.details,
                    hint=error.hint,
                ) from error
        return self.done[key]

    def local(self, model: RecipeModel, definition: Definition, wrt: str) -> Derivation:
        """The derivative of one definition by a quantity in it, all other quantities being held constant."""
        alone = Model((definition,), model.model.symbols, model.model.assumptions)
        only = replace(
            model, name=f"{model.name}: {definition.symbol}", of=str(definition.symbol), model=alone
        )
        return self.derive(only, wrt)

    def verify(self, model: RecipeModel, claim: str) -> Verdict:
        """The verdict on a claim about a model.

        Raises   RecipeError if it cannot be read
        """
        key = (model.name, claim)
        if key not in self.verdicts:
            try:
                self.verdicts[key] = verify(claim, model.model, of=model.of)
            except SymgradError as error:
                raise RecipeError(f"the claim {claim}: {error.message}", hint=error.hint) from error
        return self.verdicts[key]

    def check(self, derivation: Derivation, equation: tuple[Expr, ...]) -> Evidence:
        """The evidence for an equation over the model of a derivation.

        Raises   CheckError if its sides differ
        """
        step = Step(1, "shown", equation)
        return check_steps(derivation, (step,))[0].evidence
