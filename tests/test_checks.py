"""Self-checks: right answers pass, wrong ones do not raise, and the token says nothing."""

from __future__ import annotations

import base64
import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from latentbook.checks import Verdict, check, make_token

numbers = st.floats(-1e6, 1e6, allow_nan=False)
tolerances = st.floats(1e-2, 1e3)


@settings(max_examples=60, deadline=None)
@given(answer=numbers, tolerance=tolerances, share=st.floats(-3, 3))
@example(answer=0.0, tolerance=0.5, share=0.0)
@example(answer=-0.25, tolerance=0.25, share=0.999)
@example(answer=0.25, tolerance=0.25, share=-0.999)
def test_a_number_passes_exactly_within_the_tolerance(answer, tolerance, share):
    assume(abs(abs(share) - 1) > 1e-4)
    given_answer = answer + share * tolerance
    assert bool(check(make_token(answer, tolerance), given_answer)) == (abs(share) < 1)


@settings(max_examples=25, deadline=None)
@given(answer=st.lists(numbers, min_size=1, max_size=6), data=st.data())
def test_an_array_passes_only_if_every_entry_does(answer, data):
    shares = data.draw(st.lists(st.floats(-0.99, 0.99), min_size=len(answer), max_size=len(answer)))
    near = np.array(answer) + 0.1 * np.array(shares)
    token = make_token(answer, 0.1)
    assert check(token, near)
    off = near.copy()
    off[data.draw(st.integers(0, len(answer) - 1))] += 0.25
    assert not check(token, off)


@pytest.mark.parametrize(
    "answer",
    [[[1.0, 2.0], [3.0, 4.0]], torch.arange(4.0).reshape(2, 2).requires_grad_(), np.arange(3), 7, np.float32(2)],
)
def test_lists_arrays_tensors_and_integers(answer):
    assert check(make_token(answer, 0.01), answer)


def test_a_scalar_may_come_in_an_array():
    token = make_token(2.0, 0.1)
    assert check(token, torch.tensor([2.05])) and check(token, [[2.0]])


@pytest.mark.parametrize("given_answer", ["b", "B", " b ", "B\n"])
def test_text_ignores_case_and_spaces(given_answer):
    assert check(make_token("b"), given_answer)


def test_wrong_text_and_truth_values():
    assert not check(make_token("b"), "c")
    assert check(make_token("the KL term"), "The  kl  term")
    assert check(make_token(True), True) and check(make_token(np.bool_(True)), "true")
    assert not check(make_token(True), False)


def test_what_is_printed_and_returned(capsys):
    token = make_token(0.5, 0.01)
    wrong = "Not yet: your number is not within 0.01 of the answer."
    assert check(token, 0.505) == Verdict(True, "Correct.")
    assert check(token, 0.7) == Verdict(False, wrong)
    assert "at least one" in check(make_token([1, 2], 0.1), [1, 3]).message
    assert capsys.readouterr().out.splitlines()[:2] == ["Correct.", wrong]


@pytest.mark.parametrize("blank", [None, ...])
def test_a_blank_is_not_an_error(blank):
    assert check(make_token(0.5, 0.01), blank).message.startswith("Not yet: there is no answer")
    assert not check(make_token("b"), blank)


def test_the_verdict_is_shown_once_in_a_notebook():
    from IPython.core.formatters import DisplayFormatter

    assert DisplayFormatter().format(Verdict(True, "Correct.")) == ({}, {})


def test_the_token_shows_the_answer_only_modulo_the_cell():
    one, two = (make_token(answer, 0.01, salt=b"salt") for answer in (3.14159, 3.14159 + 40 * 0.02))
    inside = [json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")) for token in (one, two)]
    assert np.allclose(inside[0].pop("cuts"), inside[1].pop("cuts"))
    assert inside[0].pop("digest") != inside[1].pop("digest")
    assert inside[0] == inside[1] == {"shape": [], "tolerance": 0.01, "salt": b"salt".hex()}
    assert "b" not in json.loads(base64.urlsafe_b64decode(make_token("b").split(".")[1] + "==")).values()


def test_a_salt_makes_the_same_answer_look_different():
    assert make_token("b") != make_token("b")
    assert make_token("b", salt=b"x") == make_token("b", salt=b"x")


def test_every_guess_costs_memory_and_work(monkeypatch):
    """The hash is a costly one (16 MiB a guess), and one guess is one hash: dear to a search, cheap to a reader."""
    token, calls, scrypt = make_token(0.5, 0.01), [], hashlib.scrypt

    def counted(*arguments, **cost):
        calls.append(128 * cost["n"] * cost["r"])
        return scrypt(*arguments, **cost)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    check(token, 0.1)
    assert calls == [2**24]


token = make_token([1.0, 2.0, 3.0], 0.1)


def _forged(**changes):
    secret = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return "latentbook1." + base64.urlsafe_b64encode(json.dumps(secret | changes).encode()).decode()


@pytest.mark.parametrize(
    "bad",
    [
        *["", "hello", token[:-9], token[12:], "latentbook1.", "latentbook1.W10", "latentbook1.eyJ9", None, 5],
        *["latentbook1.ü", "latentbook1.NQ"],
        *[_forged(cuts=[1.0]), _forged(tolerance=0.0), _forged(digest="zz"), _forged(salt=3), _forged(shape=["a"])],
    ],
)
def test_a_malformed_token_is_refused(bad):
    with pytest.raises(ValueError, match="token is .*expected the whole string"):
        check(bad, 1.0)


@pytest.mark.parametrize(
    "answer, error, words",
    [
        (1.0, ValueError, "expected 3 numbers"),
        ([1.0, 2.0], ValueError, r"answer has shape \(2,\); expected 3 numbers"),
        ([[1.0], [2.0], [float("nan")]], ValueError, "NaN or infinity"),
        ([1.0, 2.0, float("inf")], ValueError, "NaN or infinity"),
        ([], ValueError, "answer is empty"),
        ("b", TypeError, "expected 3 numbers"),
        ([1.0, [2.0], 3.0], TypeError, "expected a number"),
        ({"a": 1}, TypeError, "expected a number"),
        (1 + 2j, TypeError, "expected a number"),
    ],
)
def test_an_answer_that_cannot_be_judged_is_refused_by_name(answer, error, words):
    with pytest.raises(error, match=words):
        check(token, answer)


def test_a_number_where_text_is_expected():
    with pytest.raises(TypeError, match="expected text"):
        check(make_token("b"), 2)


def test_the_shape_is_named():
    with pytest.raises(ValueError, match=r"4 numbers in the shape \(2, 2\)"):
        check(make_token([[1, 2], [3, 4]], 0.1), [1, 2, 3, 4])
    with pytest.raises(ValueError, match="expected 1 number"):
        check(make_token(1, 0.1), [1, 2])


@pytest.mark.parametrize(
    "answer, tolerance, error, words",
    [
        (1.0, None, ValueError, "tolerance is None"),
        (1.0, 0.0, ValueError, "tolerance is 0.0"),
        (1.0, -1.0, ValueError, "tolerance is -1.0"),
        (1.0, float("nan"), ValueError, "tolerance is nan"),
        (1e9, 1e-3, ValueError, "at least 1e-9"),
        (float("nan"), 0.1, ValueError, "NaN or infinity"),
        ([], 0.1, ValueError, "answer is empty"),
        ("b", 0.1, ValueError, "the answer is text"),
        (" ", None, ValueError, "expected some text"),
        (object(), 0.1, TypeError, "expected a number"),
    ],
)
def test_authors_get_clear_errors_too(answer, tolerance, error, words):
    with pytest.raises(error, match=words):
        make_token(answer, tolerance)
