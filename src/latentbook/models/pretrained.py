"""Small trained models that come with the book: no pickle, checked by their hash, built anew from a recipe.

In a folder such as ``book/assets/models``::

    hearts-isa-vae.safetensors   the weights
    hearts-isa-vae.json          the card: what the model is, its recipe, its scores, and the sha256 of the weights
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from latentbook.models.likelihoods import BernoulliLikelihood
from latentbook.models.priors import NormalPrior, Prior
from latentbook.models.structured_priors import ISAPrior
from latentbook.models.vae import VAE
from latentbook.nn import stack_size
from latentbook.random import Generator


@dataclass(frozen=True)
class ConvRecipe:
    """A small convolutional VAE of pictures whose pixels are on or off.

    Attributes:
        prior: "normal" for N(0, I), "isa" for independent subspaces with s = 1.
        image_shape: (channels, height, width).
        subspaces: latents in each subspace; their sum is the number of latents, for a normal prior too.
        inner: exponent within subspaces.
        outer: exponent between subspaces.
        channels: channels of the encoder's convolutions, each of which halves the image.
        hidden: hidden units from the last convolution to the latents.

    Raises:
        ValueError: if ``prior`` is neither.
    """

    prior: str = "normal"
    image_shape: tuple[int, ...] = (1, 32, 32)
    subspaces: tuple[int, ...] = (2,) * 5
    inner: float = 2.2
    outer: float = 2.1
    channels: tuple[int, ...] = (8, 16)
    hidden: tuple[int, ...] = (64,)

    def __post_init__(self) -> None:
        if self.prior not in ("normal", "isa"):
            raise ValueError(f"prior is {self.prior!r}; expected 'normal' or 'isa'")

    def build(self, generator: Generator) -> VAE:
        """The untrained stack, one member a seed of the generator."""
        sizes = {"channels": self.channels, "hidden": self.hidden}
        options = {"activation": "leaky_relu", "likelihood": BernoulliLikelihood(), "prior": self._prior()}
        return VAE.conv(self.image_shape, sum(self.subspaces), **sizes, **options, generator=generator)

    def _prior(self) -> Prior:
        if self.prior == "normal":
            return NormalPrior(sum(self.subspaces))
        return ISAPrior(self.subspaces, inner=self.inner, outer=self.outer)


def pretrained(name: str, *, folder: Path | None = None) -> VAE:
    """A trained model that comes with the book, ready to encode, decode and traverse, on the CPU.

    Args:
        name: such as "hearts-isa-vae".
        folder: where the models are; None looks for ``book/assets/models`` in the working directory and those above it,
            and beside the package's sources. A package installed without the book has none.

    Returns:
        A stack of one member. Its training is told by :func:`model_card`.

    Raises:
        FileNotFoundError: if there is no such model; the error names those there are.
        ValueError: if the weights are not the ones that the card describes.
    """
    place, card = _find(name, folder)
    path = place / f"{name}.safetensors"
    found = _digest(path) if path.exists() else "no file"
    if found != card["sha256"]:
        raise ValueError(f"{path} has the hash {found}; expected {card['sha256']}, as its card says")
    recipe = {key: tuple(value) if isinstance(value, list) else value for key, value in card["recipe"].items()}
    model = ConvRecipe(**recipe).build(Generator(0))
    model.load_state_dict(load_file(path))
    return model.requires_grad_(False)


def model_card(name: str, *, folder: Path | None = None) -> dict[str, object]:
    """What is known of a trained model: data, objective, seed, scores over the seeds that were trained, licence.

    Args:
        name: such as "hearts-isa-vae".
        folder: as for :func:`pretrained`.

    Raises:
        FileNotFoundError: as :func:`pretrained`.
    """
    return _find(name, folder)[1]


def store_model(folder: Path, name: str, model: VAE, recipe: ConvRecipe, card: Mapping[str, object]) -> None:
    """Write a model of one member and its card, each file beside its place first, then renamed.

    Args:
        folder: where to.
        name: of the model, the files' names.
        model: built by ``recipe``, trained.
        recipe: how to build it.
        card: what a user must know, as JSON values.

    Raises:
        ValueError: if the model has more than one member.
    """
    if stack_size(model) != 1:
        raise ValueError(f"model has {stack_size(model)} members; expected 1")
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / f"{name}.safetensors", folder / f".{name}.partial"
    save_file({key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}, partial)
    os.replace(partial, path)
    story = {**card, "recipe": dataclasses.asdict(recipe), "sha256": _digest(path)}
    partial.write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, folder / f"{name}.json")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _find(name: str, folder: Path | None) -> tuple[Path, dict[str, object]]:
    """The folder of a model, and its card."""
    here, package = Path.cwd(), Path(__file__).resolve().parents[3]
    near = [place / "book" / "assets" / "models" for place in (here, *here.parents, package)]
    places = near if folder is None else [Path(folder)]
    for place in places:
        if (place / f"{name}.json").is_file():
            return place, json.loads((place / f"{name}.json").read_text(encoding="utf-8"))
    names = sorted({path.stem for place in places for path in place.glob("*.safetensors")})
    raise FileNotFoundError(f"name is {name!r}; expected one of the models there are: {names}")
