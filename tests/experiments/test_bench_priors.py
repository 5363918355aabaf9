"""The cost of structured priors."""

from __future__ import annotations

from latentbook.experiments import bench_priors


def test_a_log_density_costs_less_than_seven_times_the_normal_one(capsys):
    table = bench_priors.run(bench_priors.Config(repetitions=7, calls=10)).set_index("law")
    with capsys.disabled():
        print("\n" + table.to_string())
    ratios = table["times the normal law"]
    assert ratios["normal"] == 1.0
    assert bool((ratios < 7).all())
    assert bool((table["us a call"] > 0).all())


def test_it_is_an_experiment_like_the_others():
    tiny = bench_priors.Config(batch_size=4, subspaces=1, width=1, calls=1, repetitions=1)
    assert len(bench_priors.run(tiny)) == 4
