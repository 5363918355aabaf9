"""Experiments: one module each, a ``Config`` dataclass and ``run(config)`` that returns a table.

``python -m latentbook.experiments`` lists them, ``python -m latentbook.experiments NAME --help`` explains one.
"""
