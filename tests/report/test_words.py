"""Results over seeds in words."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from latentbook.report import over_seeds, tally, verdict


def test_mean_and_spread():
    assert over_seeds(torch.tensor([1.0, 2.0, 3.0])) == "2.0 ± 1.0"
    assert over_seeds([0.123, 0.125], 2) == "0.12 ± 0.00"
    assert over_seeds([3.14159], 3) == "3.142"
    column = pd.DataFrame({"gain": [1.0, 2.0, 3.0]})["gain"]
    assert over_seeds(column) == over_seeds(column.to_numpy()) == "2.0 ± 1.0"
    assert tally(column > 1.5) == "2 of 3"


def test_verdict_counts(capsys):
    assert tally(torch.tensor([True, False, True])) == "2 of 3"
    verdict("the gap is positive", [True, True], of="runs")
    assert capsys.readouterr().out == "the gap is positive: 2 of 2 runs\n"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: over_seeds(torch.zeros(2, 2)), "values has shape"),
        (lambda: over_seeds([]), "values has shape"),
        (lambda: tally(torch.tensor(True)), "holds has shape"),
        (lambda: tally([1.0, 2.0]), "holds has dtype"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
