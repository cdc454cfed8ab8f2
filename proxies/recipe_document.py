"""Recipes of full trainings, read from YAML: shipped ones by name, a user's by file. No torch."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from proxies.recipe import TrainingRecipe
from search_spaces.document import read_spec
from search_spaces.messages import suggest
from search_spaces.spec import Name, Probability, Resolution, Spec

RECIPES = Path(__file__).with_name("recipes")


class RecipeDocument(Spec):
    """How a network is trained in full.

    What is not given (image sizes in pixels, `dropout`, `drop_path`) is as the architecture's own recipe
    says, else 224 pixels and no regularisation. `compile`: through torch.compile.
    """

    schema_version: Literal["nas.recipe/1"] = Field(alias="schema")
    name: Name
    notes: str = ""
    recipe: TrainingRecipe
    train_resolution: Resolution | None = None
    eval_resolution: Resolution | None = None
    dropout: Probability | None = None
    drop_path: Probability | None = None
    compile: bool = False


class UnknownRecipeError(ValueError):
    """No recipe has this name."""


def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name_or_path: str | Path) -> RecipeDocument:
    """A shipped recipe by name, or one from a YAML file.

    Raises:
        UnknownRecipeError: no recipe has this name; the nearest is given.
        DocumentError: the file cannot be read as a recipe.
    """
    text, path = str(name_or_path), Path(name_or_path)
    if text in recipe_names():
        path = RECIPES / f"{text}.yaml"
    elif path.suffix not in {".yaml", ".yml"} and len(path.parts) == 1:
        known = recipe_names()
        raise UnknownRecipeError(
            f"recipe {text!r} is unknown{suggest(text, known)}; known: {', '.join(known)}"
        )
    return read_spec(path, RecipeDocument)
