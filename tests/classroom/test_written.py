"""Was it written here? Honest work passes, and the ways round are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from latentbook.classroom import written_here

IMPORT = "from latentbook.metrics import mcc\n"
HONEST = {
    "plain": "def gap(x):\n    return x * x",
    "helpers": "def half(x):\n    return x / 2\ndef gap(x):\n    return half(x) + half(x)",
    "recursion": "def gap(x):\n    return x if x < 1 else gap(x - 1)",
    "other library": "import numpy as np\ndef gap(x):\n    return np.linalg.norm(x) + np.log(np.abs(x)).sum()",
    "the book elsewhere": IMPORT + "score = mcc\ndef gap(x):\n    return x",
    "the book in words": "def gap(x):\n    '''As latentbook.metrics.mcc.'''\n    return 'latentbook is elsewhere'",
    "a class": "class Gap:\n    def __call__(self, x):\n        return x\ngap = Gap()",
    "a closure": "def make(k):\n    def gap(x):\n        return k * x\n    return gap\ngap = make(2)",
    "partial": "import functools\ndef power(p, x):\n    return x ** p\ngap = functools.partial(power, 2)",
    "an unbound cell": "def make():\n    def gap(x):\n        return y\n    return gap\n    y = 1\ngap = make()",
    "a comprehension": "def gap(x):\n    return sum(a * a for a in x) + len([a for a in x])",
}
WAYS_ROUND = {
    "the function itself": "from latentbook.metrics import mcc as gap",
    "wrapper": IMPORT + "def gap(z, s):\n    return mcc(z, s).score",
    "through a module": "import latentbook.metrics as m\ndef gap(z, s):\n    return m.mcc(z, s)",
    "through the package": "import latentbook\ndef gap(z, s):\n    return latentbook.metrics.mcc(z, s)",
    "import inside": "def gap(z, s):\n    from latentbook.metrics import mcc\n    return mcc(z, s)",
    "import of a module inside": "def gap(z, s):\n    import latentbook.metrics as m\n    return m.mcc(z, s)",
    "importlib": "import importlib\ndef gap(z, s):\n    return importlib.import_module('latentbook.metrics').mcc",
    "exec": "def gap(z, s):\n    exec('from latentbook.metrics import mcc')",
    "helper": IMPORT + "def help(z, s):\n    return mcc(z, s)\ndef gap(z, s):\n    return help(z, s)",
    "lambda": IMPORT + "gap = lambda z, s: mcc(z, s)",
    "partial": "import functools\nfrom latentbook.metrics import mcc\ngap = functools.partial(mcc, kind='spearman')",
    "cache": "import functools\nfrom latentbook.metrics import mcc\ngap = functools.lru_cache(mcc)",
    "default": IMPORT + "def gap(z, s, f=mcc):\n    return f(z, s)",
    "keyword default": IMPORT + "def gap(z, s, *, f=mcc):\n    return f(z, s)",
    "closure": IMPORT + "def make(f):\n    return lambda z, s: f(z, s)\ngap = make(mcc)",
    "nested": IMPORT + "def gap(z, s):\n    def inner():\n        return mcc(z, s)\n    return inner()",
    "table": IMPORT + "table = {'f': [mcc]}\ndef gap(z, s):\n    return table['f'][0](z, s)",
    "globals": IMPORT + "def gap(z, s):\n    return globals()['mcc'](z, s)",
    "eval": IMPORT + "def gap(z, s):\n    return eval('mcc(z, s)')",
    "class": IMPORT + "class Gap:\n    f = staticmethod(mcc)\ngap = Gap",
    "method": IMPORT + "class Gap:\n    def f(self, z, s):\n        return mcc(z, s)\ngap = Gap().f",
    "instance": IMPORT + "class Gap:\n    def __call__(self, z, s):\n        return mcc(z, s)\ngap = Gap()",
    "object": "from latentbook.models.linear import FactorAnalysis\nimport torch\n"
    "fa = FactorAnalysis(torch.ones(1, 2, 1), torch.ones(1, 2))\ndef gap(m):\n    return fa.log_likelihood(m)",
    "copied code": IMPORT + "import types\ngap = types.FunctionType(mcc.__code__, globals())",
    "renamed": IMPORT + "mcc.__module__ = '__main__'\ndef gap(z, s):\n    return mcc(z, s)",
    "builtin": "gap = abs",
    "no function": "gap = 3.0",
    "torch's wrapper": "import torch\nfrom latentbook.metrics import mcc\ngap = torch.no_grad()(mcc)",
}


def notebook(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(code, names)
    return names


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_passes(name: str) -> None:
    written_here(notebook(HONEST[name])["gap"])


@pytest.mark.parametrize("name", WAYS_ROUND)
def test_ways_round_are_found(name: str) -> None:
    from latentbook.metrics import mcc

    try:
        with pytest.raises(AssertionError):
            written_here(notebook(WAYS_ROUND[name])["gap"])
    finally:
        mcc.__module__ = "latentbook.metrics.mcc"


def test_the_message_says_which_way() -> None:
    gap = notebook(WAYS_ROUND["helper"])["gap"]
    with pytest.raises(
        AssertionError, match=r"write gap yourself: it comes down to latentbook.metrics.mcc.mcc, by way of help"
    ):
        written_here(gap)


@pytest.mark.parametrize("allow", ["latentbook.metrics", "latentbook.metrics.mcc.mcc"])
def test_exceptions_are_allowed(allow: str) -> None:
    written_here(notebook(WAYS_ROUND["wrapper"])["gap"], allow=(allow, "latentbook.metrics.mcc"))


def test_another_package_may_be_forbidden() -> None:
    gap: Callable[..., Any] = notebook("import statistics\ndef gap(x):\n    return statistics.mean(x)")["gap"]
    written_here(gap)
    with pytest.raises(AssertionError, match="statistics"):
        written_here(gap, forbidden=("statistics",))


def test_names_come_in_a_sequence() -> None:
    with pytest.raises(TypeError, match="forbidden is 'latentbook'; expected a sequence"):
        written_here(abs, forbidden="latentbook")
