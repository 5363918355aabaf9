"""Every experiment at tiny size, and the command line."""

from __future__ import annotations

import pytest

from latentbook.experiments import bench
from latentbook.experiments.__main__ import main, names


def test_bench_compares_side_by_side():
    table = bench.run(bench.Config(members=2, steps=3, repetitions=1, hidden=(4,)))
    assert list(table["way"]) == ["one seed at a time", "2 seeds in one fit"]
    assert table["times as fast"][0] == 1.0
    assert bool((table["us per seed and step"] > 0).all())


def test_the_command_line_lists_explains_and_runs(capsys):
    assert main([]) == 0
    assert all(name in capsys.readouterr().out for name in names())
    assert main(["bench", "--members", "2", "--steps", "2", "--repetitions", "1"]) == 0
    assert "2 seeds in one fit" in capsys.readouterr().out
    assert main(["no-such-thing"]) == 2
    assert "expected one of" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--help"])
    assert stop.value.code == 0
