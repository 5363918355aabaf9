"""Small trained models that come with the book: no pickle, checked by their hash, built anew from a recipe.

In a folder such as ``book/assets/models``::

    hearts-isa-vae.safetensors   the weights; the card, recipe included, stands in the header
    hearts-isa-vae.txt           the card, to be read
    manifest.json                sha256 of each file
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
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
    channels: tuple[int, ...] = (8, 16, 16)
    hidden: tuple[int, ...] = (128,)

    def __post_init__(self) -> None:
        if self.prior not in ("normal", "isa"):
            raise ValueError(f"prior is {self.prior!r}; expected 'normal' or 'isa'")

    def build(self, generator: Generator) -> VAE:
        """The untrained stack, one member a seed of the generator."""
        sizes = {"channels": self.channels, "hidden": self.hidden}
        options = {"likelihood": BernoulliLikelihood(), "prior": self._prior(), "generator": generator}
        return VAE.conv(self.image_shape, sum(self.subspaces), **sizes, **options)

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
        ValueError: if the file is not the one that the manifest describes, or is damaged.
    """
    path = _checked(name, folder)
    recipe = model_card(name, folder=folder)["recipe"]
    recipe = {key: tuple(value) if isinstance(value, list) else value for key, value in recipe.items()}
    model = ConvRecipe(**recipe).build(Generator(0))
    model.load_state_dict(load_file(path))
    return model.requires_grad_(False)


def model_card(name: str, *, folder: Path | None = None) -> dict[str, object]:
    """What is known of a trained model: data, objective, seed, scores over the seeds that were trained, licence.

    Args:
        name: such as "hearts-isa-vae".
        folder: as for :func:`pretrained`.

    Raises:
        FileNotFoundError, ValueError: as :func:`pretrained`.
    """
    with safetensors.safe_open(_checked(name, folder), framework="pt") as file:
        return json.loads(file.metadata()["card"])


def store_model(folder: Path, name: str, model: VAE, recipe: ConvRecipe, card: Mapping[str, object]) -> Path:
    """Write a model of one member, its card, and their hashes; each file beside its place first, then renamed.

    Args:
        folder: where to.
        name: of the model, the files' names.
        model: built by ``recipe``, trained.
        recipe: how to build it.
        card: what a user must know, as JSON values.

    Returns:
        The path of the weights.

    Raises:
        ValueError: if the model has more than one member.
    """
    if stack_size(model) != 1:
        raise ValueError(f"model has {stack_size(model)} members; expected 1")
    folder.mkdir(parents=True, exist_ok=True)
    card = {**card, "recipe": dataclasses.asdict(recipe)}
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    partial = folder / f".{name}.partial"
    save_file(weights, partial, metadata={"card": json.dumps(card)})
    os.replace(partial, folder / f"{name}.safetensors")
    _write(folder / f"{name}.txt", "".join(f"{key}: {_words(value)}\n" for key, value in card.items()))
    files = {f"{name}{end}": _digest(folder / f"{name}{end}") for end in (".safetensors", ".txt")}
    _write(folder / "manifest.json", json.dumps(dict(sorted((_manifest(folder) | files).items())), indent=2) + "\n")
    return folder / f"{name}.safetensors"


def _words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)


def _digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha256(content if path.suffix == ".safetensors" else content.replace(b"\r\n", b"\n")).hexdigest()


def _manifest(folder: Path) -> dict[str, str]:
    path = folder / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _checked(name: str, folder: Path | None) -> Path:
    """The path of a model's weights, after comparing their hash."""
    here, package = Path.cwd(), Path(__file__).resolve().parents[3]
    near = [place / "book" / "assets" / "models" for place in (here, *here.parents, package)]
    found = [(place, hashes) for place in (near if folder is None else [Path(folder)]) if (hashes := _manifest(place))]
    for place, hashes in found:
        expected = hashes.get(f"{name}.safetensors")
        if expected is None:
            continue
        path = place / f"{name}.safetensors"
        digest = _digest(path) if path.exists() else "no file"
        if digest != expected:
            raise ValueError(f"{path} has the hash {digest}; expected {expected}, as in the manifest")
        return path
    names = sorted({Path(file).stem for _, hashes in found for file in hashes})
    raise FileNotFoundError(f"name is {name!r}; expected one of the models there are: {names}")
