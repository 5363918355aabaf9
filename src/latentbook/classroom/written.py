"""Was a function written here, or is it the package's own under another name? Hidden tests ask.

The compiled code is read, not run. From the asked function the search follows helper functions, classes, closures,
defaults and containers of the same notebook, and names in a module that the code looks up (``objectives.elbo``). Other
libraries are not followed. It stops honest shortcuts, not a forger: source copied from the package passes.
"""

from __future__ import annotations

import builtins
import dis
import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_LOOKUPS = ("LOAD_GLOBAL", "LOAD_NAME")
_CLOSURES = ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_CLOSURE")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_BY_TEXT = frozenset(("globals", "locals", "vars", "getattr", "eval", "exec", "__import__", "import_module"))
_SILENT = ("CACHE", "PUSH_NULL", "PRECALL", "EXTENDED_ARG", "NOP")
_MISSING = object()


def written_here(
    function: Callable[..., Any], *, forbidden: Sequence[str] = ("latentbook",), allow: Sequence[str] = ()
) -> None:
    """Make sure that a function is the student's own work, and no wrapper of a package's.

    Args:
        function: what the student was asked to write.
        forbidden: packages or modules whose functions and classes it may not reach, with all that lies below them.
        allow: exceptions, by dotted name: a module, such as "latentbook.random", or a function in it.

    Raises:
        AssertionError: if it reaches a callable of a forbidden module, or is no function written in Python; the message
            says by which way, kindly.
        TypeError: if ``forbidden`` or ``allow`` is a single string.
    """
    for name, value in {"forbidden": forbidden, "allow": allow}.items():
        if isinstance(value, str):
            raise TypeError(f"{name} is {value!r}; expected a sequence of names, such as ({value!r},)")
    label = getattr(function, "__name__", repr(function))
    if not callable(function):
        raise AssertionError(f"{label} is not a function: it is a {type(function).__name__}.")
    search = _Search(tuple(forbidden), tuple(allow), label, getattr(function, "__globals__", {}))
    if isinstance(function, BuiltinFunctionType):
        search.complain(_name(function), ())
    search.visit(function, ())


class _Search:
    """What has been seen, and what must not be."""

    def __init__(self, forbidden: tuple[str, ...], allow: tuple[str, ...], label: str, home: dict[str, Any]) -> None:
        self.forbidden, self.allow, self.label, self.home = forbidden, allow, label, home
        self.files = tuple(filter(None, (_place(sys.modules.get(name)) for name in forbidden)))
        self.seen: dict[int, Any] = {}  # keeps the objects alive, so that no id is used twice

    def banned(self, name: str) -> bool:
        return _below(name, self.forbidden) and not _below(name, self.allow)

    def local(self, module: str | None) -> bool:
        """Is this the notebook?"""
        return module in ("__main__", self.home.get("__name__", "__main__")) and not self.banned(f"{module}.")

    def complain(self, name: str, way: tuple[str, ...]) -> None:
        through = f", by way of {' and '.join(way)}" if way else ""
        raise AssertionError(
            f"Please write {self.label} yourself: it comes down to {name}{through}. "
            "You may use the book's helpers elsewhere in this notebook, but this function is the exercise."
        )

    def visit(self, value: Any, way: tuple[str, ...]) -> None:
        """Follow one object."""
        if id(value) in self.seen:
            return
        self.seen[id(value)] = value
        if isinstance(value, ModuleType):
            if self.banned(value.__name__):
                self.complain(value.__name__, way)
        elif isinstance(value, dict):
            self.all(value.values(), way)
        elif isinstance(value, list | tuple | set | frozenset):
            self.all(value, way)
        elif callable(value):
            if self.banned(_name(value)):
                self.complain(_name(value), way)
            self.follow(value, way)

    def all(self, values: Any, way: tuple[str, ...]) -> None:
        for value in list(values)[:1000]:
            self.visit(value, way)

    def follow(self, value: Any, way: tuple[str, ...]) -> None:
        """Look inside a callable that is not forbidden itself."""
        if isinstance(value, functools.partial):
            self.all((value.func, *value.args, *value.keywords.values()), way)
        elif isinstance(value, MethodType):
            self.all((value.__func__, value.__self__), way)
        elif isinstance(value, FunctionType):
            self.function(value, way)
        elif isinstance(value, type):
            if self.local(value.__module__):
                self.all([getattr(part, "__func__", part) for part in vars(value).values()], (*way, value.__name__))
                self.all(value.__mro__[1:], way)
        elif self.local(type(value).__module__):
            self.visit(type(value), way)
            self.all(getattr(value, "__dict__", {}).values(), way)
        elif hasattr(value, "__wrapped__"):
            self.visit(value.__wrapped__, way)

    def function(self, value: FunctionType, way: tuple[str, ...]) -> None:
        """Follow what a function holds, and of the notebook's own also what its code looks up."""
        if value.__name__ != self.label and value.__name__ not in way:
            way = (*way, value.__name__)
        closure = dict(zip(value.__code__.co_freevars, map(_contents, value.__closure__ or ()), strict=True))
        self.all((value.__defaults__, value.__kwdefaults__, vars(value), closure), way)
        if self.local(value.__globals__.get("__name__", "__main__")):
            if value.__code__.co_filename.startswith(self.files or ("\0",)):
                self.complain(f"the code of {value.__code__.co_name} in the package", way)
            self.code(value.__code__, {**vars(builtins), **value.__globals__, **closure}, way)

    def code(self, code: CodeType, names: dict[str, Any], way: tuple[str, ...]) -> None:
        for name in _imports(code):
            if self.banned(name):
                self.complain(name, way)
        self.all(_lookups(code, names), way)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self.code(constant, names, way)
            elif isinstance(constant, str) and constant != _docstring(code):
                self.text(constant, names if _BY_TEXT.intersection(code.co_names) else {}, way)

    def text(self, text: str, names: dict[str, Any], way: tuple[str, ...]) -> None:
        """A name or code in quotes, for ``importlib``, ``globals`` or ``eval``."""
        for name in [text.strip(), *re.findall(r"\b(?:import|from)\s+([A-Za-z_][\w.]*)", text)]:
            if self.banned(name):
                self.complain(name, way)
        self.all([names[word] for word in re.findall(r"[A-Za-z_]\w*", text) if word in names], way)


def _place(module: ModuleType | None) -> str | None:
    """The folder of a package, the file of a module."""
    file = getattr(module, "__file__", None)
    return file and (os.path.dirname(file) + os.sep if hasattr(module, "__path__") else file)


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def _below(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def _name(value: Any) -> str:
    """The dotted name of a callable; a function's module is where its code looks up names, whatever it says itself."""
    value = getattr(value, "__func__", value)
    if not isinstance(value, FunctionType | BuiltinFunctionType | type):
        kind = type(value)
        return f"{kind.__module__}.{kind.__qualname__}"
    module = value.__globals__.get("__name__") if isinstance(value, FunctionType) else value.__module__
    return f"{module}.{value.__qualname__}"


def _docstring(code: CodeType) -> Any:
    return code.co_consts[0] if code.co_consts else None


def _imports(code: CodeType) -> Iterator[str]:
    """The modules, and the names in them, that the body imports."""
    module, names = "", None  # the names of a "from" import are loaded just before it
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_FROM":
            yield f"{module}.{step.argval}"
        elif step.opname == "IMPORT_NAME":
            module = step.argval
            if not names:
                yield module
        names = step.argval if step.opname == "LOAD_CONST" else None


def _lookups(code: CodeType, names: dict[str, Any]) -> Iterator[Any]:
    """What the code looks up by name: a name's value at the end of its chain of attributes."""
    value: Any = _MISSING
    for step in dis.get_instructions(code):
        if step.opname in _LOOKUPS or step.opname in _CLOSURES:
            if value is not _MISSING:
                yield value
            value = names.get(step.argval, _MISSING)
        elif step.opname in _ATTRIBUTES and value is not _MISSING:
            value = _attribute(value, step.argval)
        elif step.opname not in _SILENT and value is not _MISSING:
            yield value
            value = _MISSING
    if value is not _MISSING:
        yield value


def _attribute(value: Any, name: str) -> Any:
    """An attribute, without running code of the notebook."""
    if isinstance(value, ModuleType):
        return getattr(value, name, _MISSING)
    found = inspect.getattr_static(value, name, _MISSING)
    return getattr(found, "__func__", found)
