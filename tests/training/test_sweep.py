"""Sweeps: runs are grouped, spread, stored once, and found again, whatever dies on the way."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from joblib import parallel_config

from latentbook.training import Group, _runs, run_groups, sweep
from tests.training import sweep_work as work
from tests.training.sweep_work import traces


@dataclass(frozen=True)
class Run:
    """A run as a frozen dataclass."""

    method: str = "plain"
    beta: float = 1.0
    seed: int = 0
    hidden: tuple[int, ...] = (3, 3)


def seen(groups: list, runs: list, checkpoint: Path | None) -> list[dict]:
    """Note what goes together, and give a number that tells the runs apart."""
    groups.append(list(runs))
    return [{"score": run["seed"] + 0.1 if isinstance(run, dict) else run.seed + run.beta} for run in runs]


@pytest.fixture
def log(tmp_path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["method"] == "plain"].reset_index(drop=True)


def once(log: Path, *methods: str) -> bool:
    """Every run was computed, and computed once."""
    return all(traces(log, f"computed-{m}-{s}") == 1 for m in methods for s in range(work.SEEDS))


def test_runs_that_differ_as_members_may_go_together():
    groups, runs = [], [Run(m, b, s) for s in range(3) for b in (1.0, 4.0) for m in ("a", "b")]
    table = sweep(runs, partial(seen, groups), members=("seed", "beta"), together=4)
    assert [[(r.method, r.seed, r.beta) for r in group] for group in groups] == [
        [("a", 0, 1.0), ("a", 0, 4.0), ("a", 1, 1.0), ("a", 1, 4.0)],
        [("a", 2, 1.0), ("a", 2, 4.0)],
        [("b", 0, 1.0), ("b", 0, 4.0), ("b", 1, 1.0), ("b", 1, 4.0)],
        [("b", 2, 1.0), ("b", 2, 4.0)],
    ]
    assert list(table.columns) == ["method", "beta", "seed", "hidden", "score", "error"]
    assert table["score"].tolist() == [r.seed + r.beta for r in runs] and table["method"].tolist() == ["a", "b"] * 6


def test_what_is_stored_is_not_computed_again_and_a_longer_sweep_adds_to_it(tmp_path):
    runs = [dataclasses.asdict(Run(seed=s)) for s in range(4)]
    first, again, longer = [], [], []
    one = sweep(runs, partial(seen, first), together=2, folder=tmp_path)
    two = sweep(runs, partial(seen, again), together=2, folder=tmp_path)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    more = runs + [dataclasses.asdict(Run(seed=s)) for s in (4, 5)]
    three = sweep(more, partial(seen, longer), together=2, folder=tmp_path)
    assert (len(first), len(again), len(longer)) == (2, 0, 1) and len(three) == 6
    assert not list(tmp_path.glob("*.begun")) and len(list(tmp_path.glob("*.json"))) == 6


def test_errors_are_rows_and_only_what_raised_is_tried_again(log, tmp_path):
    runs = work.runs("plain", "raises", seeds=3)
    runs[1]["rate"] = 1e30
    go = partial(
        sweep, runs, partial(work.measure, log), members=("seed", "rate"), together=3, folder=tmp_path / "rows"
    )
    with pytest.warns(RuntimeWarning) as caught:
        table = go()
    words = [str(warning.message) for warning in caught]
    assert any("diverged" in w for w in words) and any("failed" in w and "Traceback" in w for w in words)
    assert table["error"].tolist() == ["", "diverged at step 1", ""] + ["RuntimeError: out of luck"] * 3
    assert table["value"].notna().tolist() == [True, False, True] + [False] * 3
    with pytest.warns(RuntimeWarning, match="failed"):
        pd.testing.assert_frame_equal(go(), table, check_exact=True)
    assert traces(log, "begun-raises-0") == 2 and traces(log, "begun-plain-0") == 1


def test_metrics_that_do_not_fit_are_that_groups_error(tmp_path):
    settings = [{"seed": 0}, {"seed": 1}]
    groups = [
        Group("few", settings, lambda checkpoint: [{"x": 1}]),
        Group("odd", settings, lambda checkpoint: [{"x": torch.ones(2)}, {}]),
        Group("good", settings, lambda checkpoint: [{"x": 1}, {"x": 2}]),
    ]
    with pytest.warns(RuntimeWarning, match="failed"):
        errors = [result.row["error"] for result in run_groups(groups, folder=tmp_path)]
    assert "ValueError" in errors[0] and "TypeError" in errors[2] and errors[4:] == ["", ""]


def test_the_bar_counts_runs_and_knows_those_that_are_stored(tmp_path, monkeypatch):
    runs, stream = [dataclasses.asdict(Run(seed=s)) for s in range(6)], io.StringIO()
    sweep(runs[:2], partial(seen, []), together=2, folder=tmp_path)
    monkeypatch.setattr(sys, "stderr", stream)
    sweep(runs, partial(seen, []), together=2, folder=tmp_path, progress=True)
    shown = stream.getvalue()
    assert "2/6" in shown and "6/6" in shown and "run/s" in shown
    monkeypatch.setattr(sys, "stderr", quiet := io.StringIO())
    sweep(runs, partial(seen, []), together=2)
    assert quiet.getvalue() == ""


def test_threads_are_those_asked_for_and_put_back(log):
    before = torch.get_num_threads()
    table = work.table(log, "plain", folder=None, threads=before + 1)
    assert set(table["threads"]) == {before + 1} and torch.get_num_threads() == before


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"runs": [{"seed": 0}, {"seed": 0}]}, ValueError, "runs has .* more than once"),
        ({"runs": [{"seed": Path("x")}]}, TypeError, "runs holds .*; expected dataclasses or dictionaries of JSON"),
        ({"runs": [3]}, TypeError, "runs holds 3"),
        ({"runs": [Run]}, TypeError, "runs holds .*Run"),
        ({"members": ("sede",)}, ValueError, r"members names \['sede'\]; expected fields of the runs"),
        ({"together": 0}, ValueError, "together is 0; expected an integer of at least 1"),
        ({"jobs": 0}, ValueError, "jobs is 0; expected"),
        ({"jobs": 1.5}, ValueError, "jobs is 1.5; expected"),
        ({"threads": -1}, ValueError, "threads is -1; expected"),
    ],
)
def test_bad_input_is_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        sweep(**{"runs": [{"seed": 0}], "measure": partial(seen, []), **options})


def test_names_of_groups_differ():
    with pytest.raises(ValueError, match="groups has the name 'g' twice"):
        run_groups([Group("g", [{}], list), Group("g", [{}], list)])


def test_no_runs_are_an_empty_table():
    assert len(sweep([], partial(seen, []))) == 0 and run_groups([]) == []


def test_a_group_begun_too_often_is_given_up(tmp_path):
    group = Group("g", [{"seed": 0}], lambda checkpoint: [{"x": 1}])
    _runs.mark(tmp_path, group).write_text("...")
    (result,) = _runs.work(group, tmp_path, 1, os.getpid())[1]
    assert result.row["error"] == _runs.DIED and result.raised
    assert run_groups([group], folder=tmp_path)[0].row["x"] == 1  # a new sweep counts anew


def test_a_pool_that_breaks_before_any_work_is_an_error(tmp_path, monkeypatch):
    def broken(*arguments):
        raise BrokenExecutor("no process could be started")

    monkeypatch.setattr(_runs, "work", broken)
    with pytest.raises(BrokenExecutor, match="no process"):
        run_groups([Group("g", [{}], list)], folder=tmp_path)


def test_each_process_takes_a_card_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(os, "getppid", lambda: 10**9 + os.getpid())
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    taken = [_runs._settle.__wrapped__(-1) for _ in range(3)]
    assert [card for card, _ in taken] == [0, 1, -1] and not sys.stderr.isatty()
    taken[0][1].release()
    assert _runs._settle.__wrapped__(-1)[0] == 0
    for _, lock in taken[:2]:
        lock.release(force=True)
        Path(lock.lock_file).unlink(missing_ok=True)


@pytest.mark.slow
def test_two_processes_give_what_one_gives_bit_for_bit(log, tmp_path):
    whole = work.table(log, "plain", folder=None)
    (tmp_path / "two").mkdir()
    spread = work.table(tmp_path / "two", "plain", folder=tmp_path / "rows", jobs=2, threads=1)
    pd.testing.assert_frame_equal(whole, spread, check_exact=True)
    assert once(tmp_path / "two", "plain")


@pytest.mark.slow
def test_a_backend_that_gives_results_at_its_end_does_as_well(log, tmp_path):
    with parallel_config(backend="multiprocessing", n_jobs=2):
        table = work.table(log, "plain", folder=tmp_path / "rows")
    assert once(log, "plain") and table["error"].eq("").all()


@pytest.mark.slow
def test_a_dead_process_loses_nothing_and_a_deadly_group_is_an_error(log, tmp_path):
    (log / "kill-plain-4").touch()
    with pytest.warns(RuntimeWarning, match="its worker died 3 times"):
        table = work.table(log, "plain", "deadly", folder=tmp_path / "rows", jobs=2)
    assert table["error"].tolist() == [_runs.DIED] * 2 + [""] * work.SEEDS
    assert once(log, "plain") and traces(log, "begun-deadly-0") == _runs.TRIES
    whole = work.table(log, "plain", folder=None)
    pd.testing.assert_frame_equal(_plain(table), whole, check_exact=True, check_dtype=False)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_and_resumed_equals_uninterrupted(log, tmp_path, jobs):
    rows = tmp_path / "rows"
    process = subprocess.Popen([sys.executable, "-m", "tests.training.sweep_work", str(log), str(rows), str(jobs)])
    while traces(log, "computed") < 5:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(2)  # workers of the dead end by themselves
    finished = {path.name for path in rows.glob("*.json")}
    computed = traces(log, "computed")
    assert computed < work.SEEDS and finished
    resumed = work.table(log, "plain", folder=rows, jobs=jobs)
    assert traces(log, "computed") <= work.SEEDS + 2 * jobs  # at most what was between computing and storing
    whole = work.table(tmp_path, "plain", folder=None)
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_finishes_and_computes_nothing_twice(log, tmp_path):
    distributed = pytest.importorskip("distributed")
    (log / "kill-plain-6").touch()
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster), parallel_config(backend="dask"):
        with pytest.warns(RuntimeWarning, match="its worker died 3 times"):
            table = work.table(log, "plain", "deadly", folder=tmp_path / "rows")
        again = work.table(log, "plain", folder=tmp_path / "rows")
    assert table["error"].tolist() == [_runs.DIED] * 2 + [""] * work.SEEDS
    assert not table.duplicated(subset=["method", "seed"]).any() and once(log, "plain")
    assert traces(log, "begun-plain-6") == 2 and traces(log, "begun-deadly-0") == _runs.TRIES
    whole = work.table(tmp_path, "plain", folder=None)
    pd.testing.assert_frame_equal(_plain(table), whole, check_exact=True, check_dtype=False)
    pd.testing.assert_frame_equal(again, whole, check_exact=True)
