"""Codes as arrays, and which columns are kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentbook.report import Codes, select

Z = torch.arange(24.0).view(2, 3, 4)
ROLES = [["active", "passive", "mixed", "active"], ["passive", "passive", "passive", "mixed"]]


def test_codes_have_members():
    codes = Codes(Z[0].numpy(), torch.ones(3, 4))
    assert codes.means.shape == codes.variances.shape == (1, 3, 4) and len(codes) == 3
    assert Codes(Z).variances is None and Codes(Z).means.shape == (2, 3, 4)


def test_select():
    assert select(Z[0], ROLES[0]).tolist() == Z[0][:, [0, 2, 3]].tolist()
    assert select(Z[0], ROLES[0], keep="passive").tolist() == Z[0][:, [1]].tolist()
    assert isinstance(select(Z[0].numpy(), ROLES[0]), np.ndarray)
    kept = select(Z, ROLES)
    assert [member.shape for member in kept] == [(3, 3), (3, 1)]
    assert kept[1].tolist() == Z[1][:, [3]].tolist()
    assert select(Z, ROLES, keep="active")[1].shape == (3, 0)
    assert select(Z.tolist(), ROLES, keep=["mixed"])[0].shape == (3, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select(Z[0], ROLES), "codes has shape"),
        (lambda: select(Z, ROLES[0]), "codes has shape"),
        (lambda: select(Z[0], [1, 2, 3, 4]), "a word per latent"),
        (lambda: select(Z[0], ROLES[0], keep="off"), "keep is"),
        (lambda: select(Z[0], ROLES[0], keep=()), "keep is"),
        (lambda: Codes(torch.ones(3)), "means has shape"),
        (lambda: Codes(Z, torch.ones(3, 4)), "variances has shape"),
        (lambda: Codes(Z, -Z), "expected sigma"),
        (lambda: Codes(Z * math.nan), "means holds NaN"),
        (lambda: Codes("codes"), "means is a str"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
