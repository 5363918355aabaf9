"""Trained models that come with the book: stored whole, checked, built anew; the book's are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latentbook.models import ISAPrior, NormalPrior
from latentbook.models.pretrained import ConvRecipe, model_card, pretrained, store_model
from latentbook.random import Generator

BOOK = Path(__file__).resolve().parents[2] / "book" / "assets" / "models"
NAMES = sorted(path.stem for path in BOOK.glob("*.safetensors"))
SMALL = ConvRecipe("isa", image_shape=(1, 8, 8), subspaces=(2, 1), channels=(3, 4), hidden=(5,))


@pytest.fixture
def stored(tmp_path):
    model = SMALL.build(Generator(3))
    store_model(tmp_path, "small", model, SMALL, {"seed": 3, "licence": "MIT", "scores": [{"mig": 0.1}]})
    return model, tmp_path


def test_a_stored_model_comes_back_as_it_was(stored):
    model, folder = stored
    again, x = pretrained("small", folder=folder), Generator(0).uniform(5, 64)[0]
    assert torch.equal(model.encode(x).mean, again.encode(x).mean)
    z = Generator(1).normal(3)[0]
    assert torch.equal(model.decode(z[None, None]), again.decode(z[None, None]))
    assert not any(parameter.requires_grad for parameter in again.parameters())
    card = model_card("small", folder=folder)
    assert card["seed"] == 3 and card["scores"] == [{"mig": 0.1}] and card["recipe"]["subspaces"] == [2, 1]
    assert {path.name for path in folder.iterdir()} == {"small.safetensors", "small.json"}


def test_a_model_is_found_from_a_chapter(stored, monkeypatch):
    model, folder = stored
    book = folder / "copy" / "book"
    store_model(book / "assets" / "models", "near", model, SMALL, {})
    (book / "priors").mkdir()
    monkeypatch.chdir(book / "priors")
    assert pretrained("near").members == 1


def test_a_changed_or_missing_model_is_refused(stored):
    _, folder = stored
    with pytest.raises(FileNotFoundError, match=r"name is 'smal'; expected one of the models there are: \['small'\]"):
        pretrained("smal", folder=folder)
    path = folder / "small.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"small.safetensors has the hash .*; expected .*, as its card says"):
        pretrained("small", folder=folder)
    path.unlink()
    with pytest.raises(ValueError, match="has the hash no file"):
        pretrained("small", folder=folder)


def test_one_member_is_stored_and_priors_have_names(tmp_path):
    with pytest.raises(ValueError, match="model has 2 members; expected 1"):
        store_model(tmp_path, "two", SMALL.build(Generator([0, 1])), SMALL, {})
    with pytest.raises(ValueError, match="prior is 'laplace'; expected 'normal' or 'isa'"):
        ConvRecipe("laplace")
    assert isinstance(ConvRecipe("normal").build(Generator(0)).prior, NormalPrior)
    assert isinstance(ConvRecipe("isa").build(Generator(0)).prior, ISAPrior)
    assert not list(tmp_path.iterdir())


def test_the_book_has_models_and_a_card_for_each():
    files = {path.name for path in BOOK.iterdir()}
    assert len(NAMES) >= 2 and files == {f"{name}.{end}" for name in NAMES for end in ("safetensors", "json")}


@pytest.mark.parametrize("name", NAMES)
def test_the_books_models_are_small_and_say_what_they_are(name):
    path = BOOK / f"{name}.safetensors"
    assert path.stat().st_size < 3e6
    card = model_card(name, folder=BOOK)
    expected = {"data", "objective", "seed", "scores of all seeds", "licence", "command", "config", "recipe"}
    assert expected <= set(card) and len(card["scores of all seeds"]) >= 5
    assert f"small-models --scale {card['config']['scale']}" in card["command"]
    assert pretrained(name, folder=BOOK).members == 1
