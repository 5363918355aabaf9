r"""Self-checks: a reader learns whether an answer is right, and the page does not give the answer away.

An author calls :func:`make_token` once and writes the token into the exercise; a reader calls :func:`check`. The
token holds a salted hash, computed slowly on purpose (scrypt), so that an answer is neither seen nor found by a quick
search. It is a curtain, not a lock: whoever tries every answer in turn will find it, and may as well do the exercise.

**How a hash can have a tolerance.** The number line is cut into cells of width :math:`2\tau`, placed so that the
answer :math:`a` sits in the middle of one. The token stores where the cuts lie, :math:`(a - \tau) \bmod 2\tau`, and the
hash of the cell's number. Then :math:`|x - a| < \tau` exactly when :math:`x` falls in the same cell. What the token
shows is the answer modulo :math:`2\tau`, so choose a tolerance that is small beside the answer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np

_PREFIX = "latentbook1."
_FIELDS = {"shape": list, "tolerance": float, "cuts": list, "salt": str, "digest": str}


@dataclass(frozen=True)
class Verdict:
    """What :func:`check` found; true exactly when the answer is right.

    Args:
        correct: whether the answer is right.
        message: one sentence for the reader, the one that was printed.
    """

    correct: bool
    message: str

    def __bool__(self) -> bool:
        return self.correct

    def _ipython_display_(self) -> None:
        """Show nothing at the end of a cell: the message has been printed."""


def make_token(answer: Any, tolerance: float | None = None, salt: bytes | None = None) -> str:
    """The token that lets readers check their answer to an exercise (for authors).

    Args:
        answer: a number, an array or tensor or nested list of numbers; or text, such as the letter of a choice, or a
            truth value.
        tolerance: for numbers, how far from ``answer`` every entry may lie, in the units of the answer (an absolute
            tolerance); for text, None.
        salt: bytes mixed into the hash; fresh random ones when None.

    Returns:
        A string of letters, digits, dots, hyphens and underscores.

    Raises:
        ValueError: if the answer is empty, NaN or infinite, if the tolerance is missing, not positive, or too fine for
            double precision at this answer.
        TypeError: if the answer is neither numbers nor text.
    """
    salt = secrets.token_bytes(6) if salt is None else salt
    if _is_text(answer):
        if tolerance is not None:
            raise ValueError(f"tolerance is {tolerance}, but the answer is text; expected None")
        if not _plain(answer):
            raise ValueError(f"answer is {answer!r}; expected some text")
        return _pack({"salt": salt.hex(), "digest": _digest(_plain(answer), salt)})
    numbers = _numbers(answer)
    if tolerance is None or not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance is {tolerance}; expected a positive number, in the units of the answer")
    tolerance = float(tolerance)
    if np.abs(numbers).max() / tolerance > 1e9:
        raise ValueError(f"tolerance is {tolerance}; expected at least 1e-9 of the largest number of the answer")
    cuts = np.mod(numbers - tolerance, 2 * tolerance)
    return _pack(
        {
            "shape": list(numbers.shape),
            "tolerance": tolerance,
            "cuts": cuts.ravel().tolist(),
            "salt": salt.hex(),
            "digest": _digest(_cells(numbers, cuts, tolerance), salt),
        }
    )


def check(token: str, answer: Any) -> Verdict:
    """Say whether ``answer`` is right (for readers). A wrong answer is no error.

    Upper and lower case and spaces do not matter in text. ``None`` and ``...`` count as not answered yet.

    Args:
        token: the string that came with the exercise.
        answer: your answer.

    Returns:
        A verdict, which is also printed.

    Raises:
        ValueError: if the token is not one of ours, or the answer holds NaN or infinity, or not as many numbers as
            expected.
        TypeError: if text is given where numbers are expected, or the other way round.

    Example:
        >>> verdict = check(make_token(0.25, tolerance=0.01), 0.2499)
        Correct.
    """
    secret = _unpack(token)
    if answer is None or answer is ...:
        verdict = Verdict(False, "Not yet: there is no answer here so far.")
    elif "shape" in secret:
        verdict = _check_numbers(secret, answer)
    else:
        verdict = _check_text(secret, answer)
    print(verdict.message)
    return verdict


def _check_text(secret: dict[str, Any], answer: Any) -> Verdict:
    if not _is_text(answer):
        raise TypeError(f"answer is {answer!r}; expected text in quotes, such as 'b', or True or False")
    if _same(secret, _plain(answer)):
        return Verdict(True, "Correct.")
    return Verdict(False, "Not yet: this is not the answer. Think again, or try a smaller case.")


def _check_numbers(secret: dict[str, Any], answer: Any) -> Verdict:
    shape, tolerance = tuple(secret["shape"]), secret["tolerance"]
    if _is_text(answer):
        raise TypeError(f"answer is {answer!r}; expected {_wanted(shape)}")
    numbers = _numbers(answer)
    if _squeezed(numbers.shape) != _squeezed(shape):
        raise ValueError(f"answer has shape {numbers.shape}; expected {_wanted(shape)}")
    cuts = np.array(secret["cuts"]).reshape(shape)
    if _same(secret, _cells(numbers.reshape(shape), cuts, tolerance)):
        return Verdict(True, "Correct.")
    one = math.prod(shape) == 1
    miss = "your number is not" if one else "at least one of your numbers is not"
    return Verdict(False, f"Not yet: {miss} within {tolerance:g} of the answer.")


def _is_text(answer: Any) -> bool:
    return isinstance(answer, str | bool | np.bool_)


def _plain(answer: Any) -> str:
    """Text without its case and spaces."""
    return "".join(str(answer).casefold().split())


def _numbers(answer: Any) -> np.ndarray:
    """The answer as float64."""
    if hasattr(answer, "detach"):
        answer = answer.detach().cpu()
    try:
        numbers = np.asarray(answer)
        if numbers.dtype.kind not in "iuf":
            raise TypeError
    except (TypeError, ValueError):
        raise TypeError(f"answer is {answer!r}; expected a number, or an array of numbers, or text") from None
    if numbers.size == 0:
        raise ValueError("answer is empty; expected at least one number")
    if not np.isfinite(numbers).all():
        raise ValueError(f"answer holds NaN or infinity ({answer!r}); expected finite numbers only")
    return numbers.astype(np.float64)


def _cells(numbers: np.ndarray, cuts: np.ndarray, tolerance: float) -> str:
    """The number of every entry's cell."""
    return ",".join(f"{cell:.0f}" for cell in np.floor((numbers - cuts) / (2 * tolerance)).ravel() + 0.0)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _wanted(shape: tuple[int, ...]) -> str:
    count = math.prod(shape)
    if count == 1:
        return "1 number"
    return f"{count} numbers" + (f" in the shape {shape}" if len(shape) > 1 else "")


def _digest(text: str, salt: bytes) -> str:
    return hashlib.scrypt(text.encode(), salt=salt, n=2**14, r=8, p=1, dklen=12).hex()


def _same(secret: dict[str, Any], text: str) -> bool:
    return hmac.compare_digest(_digest(text, bytes.fromhex(secret["salt"])), secret["digest"])


def _pack(secret: dict[str, Any]) -> str:
    return _PREFIX + base64.urlsafe_b64encode(json.dumps(secret, separators=(",", ":")).encode()).decode().rstrip("=")


def _unpack(token: str) -> dict[str, Any]:
    problem = ValueError(f"token is {token!r}; expected the whole string that make_token gave, from {_PREFIX!r} on")
    if not isinstance(token, str) or not token.strip().startswith(_PREFIX):
        raise problem
    body = token.strip().removeprefix(_PREFIX)
    try:
        secret = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        wanted = _FIELDS if "shape" in secret else {"salt": str, "digest": str}
        whole = isinstance(secret, dict) and all(isinstance(secret.get(key), kind) for key, kind in wanted.items())
        whole = whole and len(bytes.fromhex(secret["salt"])) >= 0 and len(bytes.fromhex(secret["digest"])) == 12
        if "shape" in secret:
            whole = whole and math.prod(secret["shape"]) == len(secret["cuts"]) and secret["tolerance"] > 0
    except (binascii.Error, UnicodeDecodeError, ValueError, TypeError):
        raise problem from None
    if not whole:
        raise problem
    return secret
