"""Arrays that take long to make, kept on disk between runs."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError

import numpy as np

VARIABLE = "LATENTBOOK_CACHE"


def folder(cache: str | os.PathLike[str] | None) -> Path:
    """Where to keep files: ``cache``, else $LATENTBOOK_CACHE, else ``latentbook`` in the user's cache folder."""
    if cache is not None:
        return Path(cache)
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentbook"


def stored(path: Path, make: Callable[[], np.ndarray], sha256: str) -> np.ndarray:
    """The array in the file at ``path``, mapped into memory; made and written there first where it is not.

    A file whose content is not as expected is made again, with a warning; where none can be written, the array is kept
    in memory, with a warning. The file is written beside its place and renamed, so that it is whole or absent.

    Args:
        path: a file in the format of ``numpy.save``.
        make: makes the array.
        sha256: of the array's bytes, as hexadecimal digits.

    Raises:
        RuntimeError: if ``make`` gives an array with other bytes.
    """
    if path.exists():
        try:
            return _read(path, sha256)
        except (OSError, EOFError, ValueError, TokenError) as error:  # the last from numpy's reading of a header
            warnings.warn(f"{path} is damaged ({error}); making it again", RuntimeWarning, stacklevel=3)
    array = make()
    if (found := _digest(array)) != sha256:
        raise RuntimeError(f"{path.name} was made with sha256 {found}; expected {sha256}. Please report this machine")
    try:
        _write(path, array)
    except OSError as error:
        warnings.warn(f"{path} could not be written ({error}); going on without", RuntimeWarning, stacklevel=3)
        return array
    del array  # or it would be in memory twice
    return _read(path, sha256)


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def _read(path: Path, sha256: str) -> np.ndarray:
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if (found := _digest(array)) != sha256:
        raise ValueError(f"its sha256 is {found[:12]}..., not {sha256[:12]}...")
    return array


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".partial", delete=False) as file:
        try:
            np.save(file, array, allow_pickle=False)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
