"""Command line: ``python -m latentbook.experiments NAME [--option value ...]``."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

import tyro

from latentbook import experiments


def names() -> list[str]:
    """The experiments there are: the public modules of this package, a dash for every underscore."""
    found = (module.name for module in pkgutil.iter_modules(experiments.__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"latentbook.experiments.{name.replace('-', '_')}")


def _summary(name: str) -> str:
    return (_module(name).__doc__ or "").strip().splitlines()[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment that the first argument names; the others set fields of its Config."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m latentbook.experiments NAME [--option value ...]\n\nexperiments:")
        print("\n".join(f"  {name:18} {_summary(name)}" for name in names()))
        return 0
    name, *options = arguments
    if name not in names():
        print(f"NAME is {name!r}; expected one of {names()}", file=sys.stderr)
        return 2
    module = _module(name)
    config = tyro.cli(module.Config, prog=f"latentbook.experiments {name}", args=options)
    print(module.run(config).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
