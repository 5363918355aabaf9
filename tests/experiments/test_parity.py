"""The same runs in two precisions."""

from __future__ import annotations

import pandas as pd
import pytest

from latentbook.experiments import parity
from latentbook.training import TrainConfig


def test_differences_are_paired_by_seed_and_failed_runs_are_left_out():
    settings = {"task": "moebius", "level": 10.0, "error": ""}
    values = {"float32": (1.0, 2.0, 6.0), "bfloat16": (1.5, 2.0, 6.1)}
    rows = [
        {"method": method, "seed": seed, "elbo": value, "mcc_mean": 0.5, "mig": None, **settings}
        for method, some in values.items()
        for seed, value in enumerate(some)
    ]
    rows[-1] |= {"elbo": None, "mcc_mean": None, "error": "diverged at step 3"}
    found = parity.compare(pd.DataFrame(rows)).set_index("score")
    assert set(found.index) == {"elbo", "mcc_mean"}
    elbo = found.loc["elbo"]
    assert (elbo["float32"], elbo["bfloat16"], elbo["seeds"]) == (1.5, 1.75, 2)
    assert elbo["difference"] == pytest.approx(0.25) and elbo["error"] == pytest.approx(0.25)
    assert elbo["spread"] == pytest.approx(0.5**0.5)


def test_precisions_share_seeds_and_differ_in_nothing_else():
    table = parity.run(parity.Config("tiny", device="cpu"))
    by = table.set_index(["method", "task", "seed"])
    assert set(table["method"]) == set(parity.PRECISIONS) and (table.error == "").all()
    for task in ("hearts", "moebius"):
        one, other = (by.loc[precision, task]["elbo"] for precision in parity.PRECISIONS)
        assert (one != other).all()  # bfloat16 was used
        assert other.to_numpy() == pytest.approx(one.to_numpy(), rel=0.02)
    assert by.loc["float32", "hearts"]["mig"].notna().all() and by.loc["float32", "hearts"]["mcc_mean"].isna().all()


def test_the_recipe_passes_its_precision_on():
    config = parity.Rounded(10, precision="bfloat16").training([1, 2], device="cpu")
    assert isinstance(config, TrainConfig) and config.precision == "bfloat16" and config.seeds == (1, 2)
