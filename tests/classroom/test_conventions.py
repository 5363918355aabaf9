"""The conventions of the assignments say in code what they say in words."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.classroom.conventions import ENCODED, NOISES, SPREADS, UNITS, prior_words, spreads

V = torch.tensor([0.25, 1.0, 3.0], dtype=torch.float64)
MEANS = {
    "variance": V,
    "deviation": V**0.5,
    "precision": V**-1,
    "log_variance": V.log(),
}


@pytest.mark.parametrize("argument", SPREADS)
def test_a_spread_is_written_and_read_back(argument: str) -> None:
    spread = SPREADS[argument]
    written = eval(spread["encode"], {"v": V})
    assert spread["argument"] == argument and torch.allclose(written, MEANS[argument])
    assert torch.allclose(eval(spread["variance"], {argument: written}), V)
    assert ENCODED[argument](0.25) == pytest.approx(float(written[0]))


@pytest.mark.parametrize(("argument", "of"), [("gamma2", 1), ("noise_variance", -1), ("noise_deviation", -0.5)])
def test_a_noise_is_written_and_read_back(argument: str, of: float) -> None:
    noise = NOISES[argument]
    written = eval(noise["encode"], {"g": 9.0})
    assert noise["argument"] == argument and written == pytest.approx(9.0**of)
    assert eval(noise["precision"], {argument: written}) == pytest.approx(9.0)


@pytest.mark.parametrize(("unit", "size"), [(UNITS[0], 1.0), (UNITS[1], math.log(2))])
def test_a_unit(unit: dict[str, str], size: float) -> None:
    for code in (f"nats{unit['per']}", f"{unit['open']}nats{unit['close']}"):
        assert eval(code, {"nats": 5.0, "math": math}) == pytest.approx(5.0 / size)
    assert eval(f"5.0{unit['to_nats']}", {"math": math}) == pytest.approx(5.0 * size)
    assert float(eval(unit["exp"], {"log_w": torch.tensor(3.0)})) == pytest.approx(math.exp(3 * size))


@pytest.mark.parametrize("variance", [1, 2, 4])
def test_a_prior(variance: int) -> None:
    words = prior_words(variance)
    for code, expected in (
        (f"6.0{words['per_prior']}", 6 / variance),
        (f"{words['times_prior']}6.0", 6 * variance),
        (f"{words['times_deviation']}6.0", 6 * variance**0.5),
        (str(words["prior_deviation"]), variance**0.5),
    ):
        assert eval(code, {"math": math}) == pytest.approx(expected)
    assert all("1 *" not in str(word) and "/ 1" not in str(word) for word in prior_words(1).values())


def test_what_is_not_known_is_named() -> None:
    assert [spread["mistaken"] for spread in spreads({"precision": "a", "variance": "b"})] == ["a", "b"]
    with pytest.raises(ValueError, match=r"mistaken has the arguments \['sigma'\]; expected some of"):
        spreads({"sigma": "v"})
    with pytest.raises(ValueError, match=r"variance is 3; expected one of \[1, 2, 4\]"):
        prior_words(3)
