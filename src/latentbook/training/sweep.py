"""Many runs: grouped into the members of few fits, spread over processes or a cluster, stored one file a run.

Groups of runs go through joblib, so what spreads them is the caller's choice::

    sweep(runs, measure, jobs=2)                        # two processes of this machine
    with joblib.parallel_config(backend="dask"):        # the cluster of the current Dask client; "ray" likewise
        sweep(runs, measure, folder=Path("results"))    # a folder that all its machines see

In a folder, whoever computes a run writes its row, in one step. What has come to its end is never computed again: not
when a sweep is killed and started anew, and not when a worker dies and another takes over.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from latentbook.training import _runs
from latentbook.training._runs import DIED, TRIES, Group, Result, Row


def sweep(
    runs: Sequence[Any],
    measure: Callable[[list[Any], Path | None], Sequence[Row]],
    *,
    members: Sequence[str] = ("seed",),
    together: int = 20,
    folder: Path | None = None,
    jobs: int | None = None,
    threads: int = 1,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Compute every run that is not in the folder yet, and return one row a run, in their order.

    Args:
        runs: a config for each: a frozen dataclass or a dictionary, of JSON values. All must differ.
        measure: trains runs that fit together, as members of one stack: called with their configs and the path of a
            checkpoint (None: keep nothing), it returns the metrics of each, or {"error": why it has none}.
        members: what may differ between the members of one fit. Runs that agree in everything else go together.
        together: the most members of one fit.
        folder: for rows and checkpoints, of this sweep alone; None keeps everything in memory.
        jobs: see :func:`run_groups`.
        threads: see :func:`run_groups`.
        progress: see :func:`run_groups`.

    Raises:
        TypeError: if a run is no dataclass or dictionary of JSON values.
        ValueError: if two runs are the same, or an argument is out of range.
    """
    _positive("together", together)
    settings = [_plain(run) for run in runs]
    words = [json.dumps(row, sort_keys=True) for row in settings]
    if len(set(words)) < len(words):
        raise ValueError(f"runs has {max(words, key=words.count)} more than once; expected different runs")
    unknown = set(members).difference(*settings)
    if unknown and settings:
        raise ValueError(f"members names {sorted(unknown)}; expected fields of the runs, such as {list(settings[0])}")
    alike: dict[str, list[int]] = {}
    for number, row in enumerate(settings):
        common = {name: value for name, value in row.items() if name not in members}
        alike.setdefault(json.dumps(common, sort_keys=True), []).append(number)
    parts = [some[k : k + together] for some in alike.values() for k in range(0, len(some), together)]
    groups = []
    for part in parts:
        name = hashlib.sha256("".join(words[number] for number in part).encode()).hexdigest()[:16]
        work = functools.partial(measure, [runs[number] for number in part])
        groups.append(Group(name, [settings[number] for number in part], work))
    results = run_groups(groups, folder=folder, jobs=jobs, threads=threads, progress=progress)
    numbers = [number for part in parts for number in part]
    rows = {number: result.row for number, result in zip(numbers, results, strict=True)}
    return table([rows[number] for number in range(len(rows))])


def run_groups(
    groups: Sequence[Group],
    *,
    folder: Path | None = None,
    jobs: int | None = None,
    threads: int = 1,
    progress: bool | None = None,
    label: str = "sweep",
) -> list[Result]:
    """Run the groups that the folder does not hold yet, and return the result of every run, in the order of groups.

    A group that raises gives rows with its error, and the others go on. A group whose worker dies is begun again, three
    times in all; then it, too, gives rows with that error. (With Dask this counting needs a folder, and Dask's own
    ``distributed.scheduler.allowed-failures`` must be three or more, as it is by default: joblib waits for ever for
    work that Dask has given up. Raise it where many workers may die.)

    Args:
        groups: what to run, each with a name of its own.
        folder: for rows and checkpoints; None keeps everything in memory.
        jobs: processes; None for what ``joblib.parallel_config`` says and, without it, none besides this one. Where a
            machine has several CUDA cards, each process takes one of its own as long as there are any.
        threads: torch threads of each process while it works.
        progress: a bar of runs done, rate and time left. None: on a terminal. True: in a notebook as well.
        label: what the bar is called.

    Raises:
        ValueError: if two groups share a name, or ``jobs`` or ``threads`` is out of range.
    """
    names = [group.name for group in groups]
    if len(set(names)) < len(names):
        raise ValueError(f"groups has the name {max(names, key=names.count)!r} twice; expected different names")
    if jobs not in (None, -1):
        _positive("jobs", jobs)
    _positive("threads", threads)
    found = {group.name: results for group in groups if (results := _runs.stored(folder, group))}
    left = [group for group in groups if group.name not in found]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for group in left:
            _runs.mark(folder, group).unlink(missing_ok=True)
    runs, done = sum(len(group.settings) for group in groups), sum(map(len, found.values()))
    disable = None if progress is None else not progress
    with tqdm(total=runs, initial=done, desc=label, unit="run", disable=disable) as bar:
        for name, results in _spread(left, folder, jobs, threads):
            found[name] = results
            if results and results[0].raised:
                warnings.warn(f"group {name!r} failed: {results[0].raised}", RuntimeWarning, stacklevel=2)
            bar.update(len(results))
    return [result for group in groups for result in found[group.name]]


def _spread(
    groups: Sequence[Group], folder: Path | None, jobs: int | None, threads: int
) -> Iterator[tuple[str, list[Result]]]:
    """Results as they arrive. Where a worker's death breaks the pool, what was under way is run again, one by one."""
    rounds, tries = [list(groups)], Counter()
    while rounds:
        left = {group.name: group for group in rounds.pop(0)}
        pool = _pool(jobs)
        calls = (delayed(_runs.work)(group, folder, threads, os.getpid()) for group in list(left.values()))
        try:
            for name, results in pool(calls):
                del left[name]
                yield name, results
        except BrokenExecutor:
            begun = [name for name, group in left.items() if folder is None or _runs.mark(folder, group).exists()]
            if not begun:
                raise
            tries.update(begun)
            for group in [left.pop(name) for name in begun]:
                if tries[group.name] < TRIES:
                    rounds.append([group])
                else:
                    yield group.name, _runs.keep(folder, group, _runs.failed(group, DIED, DIED))
            rounds[:0] = [list(left.values())] if left else []


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """One row a run, the error last."""
    frame = pd.DataFrame(rows)
    return frame.reindex(columns=[name for name in frame.columns if name != "error"] + ["error"])


def _pool(jobs: int | None) -> Parallel:
    options = {"n_jobs": jobs, "batch_size": 1, "pre_dispatch": "n_jobs"}
    try:
        return Parallel(return_as="generator_unordered", **options)
    except ValueError:  # a backend, such as Ray's, that gives no result before it has all
        return Parallel(**options)


def _plain(run: Any) -> Row:
    """A config as JSON values."""
    values = dataclasses.asdict(run) if dataclasses.is_dataclass(run) and not isinstance(run, type) else run
    try:
        plain = json.loads(json.dumps(values))
    except (TypeError, ValueError):
        plain = None
    if not isinstance(plain, dict):
        raise TypeError(f"runs holds {run!r}; expected dataclasses or dictionaries of JSON values")
    return plain


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}; expected an integer of at least 1")
