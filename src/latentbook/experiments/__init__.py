"""Experiments: one module each, a ``Config`` dataclass and ``run(config)`` that returns a table.

``python -m latentbook.experiments`` lists them, ``python -m latentbook.experiments NAME --help`` explains one.
A config has a ``scale``: tiny (a smoke test), live (what a chapter can wait for) or paper (what the papers ran).
"""

from latentbook.experiments._store import StoreError, load_results

__all__ = ["StoreError", "load_results"]
