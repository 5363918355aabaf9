"""The cost of structured priors."""

from __future__ import annotations

from latentbook.experiments import bench


def test_a_log_density_costs_less_than_seven_times_the_normal_one(capsys):
    table = bench.run(bench.Config(sections=("priors",), repetitions=7)).set_index("way")
    with capsys.disabled():
        print("\n" + table.to_string())
    assert table["times_as_fast"]["normal"] == 1.0
    assert bool((table["times_as_fast"] > 1 / 7).all())
