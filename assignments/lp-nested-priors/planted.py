"""Typical misconceptions about Lp-nested priors, and the points they cost."""

from latentbook.classroom import Planted

PLANTED = (
    Planted(
        name="missing Jacobian: the radial density taken for the density of z",
        cell="density-solution",
        loses=("density-2", "density-3"),
        code="""
def log_density(rho, << tree >>, << first >>, << second >>):
    radius = << law >>
    return (radius.logpdf(rho) - log_area(<< tree >>))<< per_unit >>
""",
    ),
    Planted(
        name="the area of the surface forgotten",
        cell="density-solution",
        loses=("density-1", "density-2", "density-3"),
        code="""
def log_density(rho, << tree >>, << first >>, << second >>):
    return (<< law >>.logpdf(rho) - (sum(sizes) - 1) * np.log(rho))<< per_unit >>
""",
    ),
    Planted(
        name="the second parameter of the radial law misread (variance for standard deviation, rate for scale)",
        cell="density-solution",
        loses=("density-1", "density-2"),
        code="""
def log_density(rho, << tree >>, << first >>, << second >>):
    radius = << wrong_law >>
    return (radius.logpdf(rho) - (sum(sizes) - 1) * np.log(rho) - log_area(<< tree >>))<< per_unit >>
""",
    ),
    Planted(
        name="inner and outer exponent exchanged",
        cell="norm-solution",
        loses=("norm-1", "norm-2"),
        code="""
def nested_norm(z, << tree >>):
    parts = np.split(np.abs(z), np.cumsum(sizes)[:-1], axis=<< axis >>)
    power = inner[0] if len(sizes) == 1 else outer
    norms = [(part**power).sum(axis=<< axis >>) ** (1 / power) for part in parts]
    return sum(v ** inner[-1] for v in norms) ** (1 / inner[-1])
""",
    ),
    Planted(
        name="a normalised Gaussian taken for a uniform direction on the surface",
        cell="sample-solution",
        loses=("sample-3",),
        code="""
def sample(rng, number, << tree >>, << first >>, << second >>):
    z = rng.normal(size=(number, sum(sizes)))<< T >>
    z = z / << "nested_norm(z, %s)" % tree if columns else "nested_norm(z, %s)[:, None]" % tree >>
    rho = << law >>.rvs(number, random_state=rng)
    return z * << "rho" if columns else "rho[:, None]" >>
""",
    ),
    Planted(
        name="an imported answer: directions from the package's law",
        cell="sample-solution",
        loses=("sample-4",),
        code="""
def sample(rng, number, << tree >>, << first >>, << second >>):
    from latentbook.distributions import LpNested
    from latentbook.random import Generator

    law = LpNested.isa(sizes, inner=list(inner), outer=outer)
    z = law.sample_with(Generator(int(rng.integers(2**31))), (number,)).numpy()[0].astype(float)<< T >>
    rho = << law >>.rvs(number, random_state=rng)
    return z * << "(rho / nested_norm(z, %s))" % tree if columns else "(rho / nested_norm(z, %s))[:, None]" % tree >>
""",
    ),
    Planted(
        name="turns are free within groups only, whatever the root's exponent",
        cell="free-solution",
        loses=("free-1", "free-3"),
        code="""
def << pairs_name >>(<< tree >>):
    group = [a for a, size in enumerate(sizes) for _ in range(size)]
    pairs = [(k, l) for l in range(len(group)) for k in range(l)]
    return {(k + << base >>, l + << base >>) for k, l in pairs
            if << "not " if costly else "" >>(group[k] == group[l] and inner[group[k]] == 2)}
""",
    ),
    Planted(
        name="exponent 2 in both groups makes turns across them free",
        cell="free-solution",
        loses=("free-2", "free-3"),
        code="""
def << pairs_name >>(<< tree >>):
    power = [inner[a] for a, size in enumerate(sizes) for _ in range(size)]
    pairs = [(k, l) for l in range(len(power)) for k in range(l)]
    return {(k + << base >>, l + << base >>) for k, l in pairs
            if << "not " if costly else "" >>(power[k] == 2 and power[l] == 2)}
""",
    ),
    Planted(
        name="one fixed scale instead of the best one at each angle",
        cell="price-solution",
        loses=("price-1", "price-2", "price-3"),
        code="""
def << price("s", "rotation", "power") >>:
    turned = << "rotation @ s" if columns else "s @ rotation.T" >>
    change = np.abs(turned) ** power - np.abs(s) ** power
    return np.mean(np.sum(change, axis=<< axis >>))<< " / len(rotation)" if per_latent else "" >><< per_unit >>
""",
    ),
    Planted(
        name="latents are assumed to find the factors, whatever the prior: the least normal axes",
        cell="turn-solution",
        loses=("turn-2",),
        code="""
def << turn("x", "power") >>:
    angles = np.arange(0, np.pi / 2, 0.005)
    turned = [<< "turn_matrix(a) @ x" if columns else "x @ turn_matrix(a).T" >> for a in angles]
    kurtosis = [abs(np.mean(z**4) / np.mean(z**2) ** 2 - 3) for z in turned]
    return << from_radians('angles[int(np.argmax(kurtosis))]') >>
""",
    ),
)
