"""Trees of exponents."""

from __future__ import annotations

import pytest

from latentbook.distributions import LpTree


def test_leaves_are_counted():
    assert LpTree(2.0, (3,)).leaves == 3
    assert LpTree(2.1, (LpTree(2.2, (4,)), 2, LpTree(1.0, (LpTree(3.0, (2, 1)), 1)))).leaves == 10


@pytest.mark.parametrize(
    ("children", "error", "message"),
    [
        ((), ValueError, "children is empty"),
        ((2, 0), ValueError, "children contains 0"),
        ((-1,), ValueError, "children contains -1"),
        (3, TypeError, "children is 3; expected a tuple"),
        ((2.0,), TypeError, "children contains 2.0"),
        ((True,), TypeError, "children contains True"),
    ],
)
def test_bad_children(children, error, message):
    with pytest.raises(error, match=message):
        LpTree(2.0, children)
