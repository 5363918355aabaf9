"""Small convolutional models: made by a command, and the ones in the book score as their cards say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latentbook.data import sprites
from latentbook.experiments import small_models
from latentbook.experiments._images import scores
from latentbook.experiments.small_models import Config, pictures
from latentbook.models.pretrained import model_card, pretrained

BOOK = Path(__file__).resolve().parents[2] / "book" / "assets" / "models"


def test_the_pictures_are_those_of_the_reduced_set_with_all_their_pixels():
    data, reduced = pictures("hearts"), sprites.hearts()
    assert data.features == 1024 and len(data) == len(reduced) and torch.equal(data.factors, reduced.factors)
    assert torch.equal(data.x.sum(1), reduced.x.sum(1))


def test_the_first_seed_of_each_method_is_kept_with_the_scores_of_all(tmp_path):
    table = small_models.run(Config("tiny", models=tmp_path))
    for method in ("beta-vae", "isa-vae"):
        card = model_card(f"hearts-{method}", folder=tmp_path)
        rows = table[table.method == method]
        assert [row["elbo"] for row in card["scores of all seeds"]] == rows["elbo"].tolist()
        data = pictures("hearts")
        model = pretrained(f"hearts-{method}", folder=tmp_path)
        found = scores(model, data, data.factors, [0], images=len(data), samples=20)
        assert float(found["elbo"]) == pytest.approx(rows["elbo"].iloc[0], rel=1e-4)
        assert str(tmp_path) not in str(card)


@pytest.mark.parametrize("name", sorted(path.stem for path in BOOK.glob("*.safetensors")))
def test_the_books_models_score_as_their_cards_say(name):
    card = model_card(name, folder=BOOK)
    data = pictures(card["config"]["dataset"])
    found = scores(pretrained(name, folder=BOOK), data, data.factors, [0], images=len(data), samples=1000)
    said = card["scores of this seed"]
    assert float(found["elbo"]) == pytest.approx(said["elbo"], abs=0.5)
    assert float(found["mig"]) == pytest.approx(said["mig"], abs=0.03)


@pytest.mark.parametrize("name", ["beta", "anneal"])
def test_bad_settings_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} is -1.0; expected"):
        Config("tiny", **{name: -1.0})
