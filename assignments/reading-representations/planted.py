"""Typical misconceptions about measuring representations, and the points they cost."""

from latentbook.classroom import Planted

PLANTED = (
    Planted(
        name="the divergence reversed: product of the marginals against the joint",
        cell="information-solution",
        loses=("information-1", "information-2"),
        code="""
def information(<< given >>):
    joint = << "counts / np.sum(counts)" if counted else "counts_of(a, b) / len(a)" >>
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    seen = joint > 0
    return (apart[seen] * np.log(apart[seen] / joint[seen])).sum()<< per_unit >>
""",
    ),
    Planted(
        name="marginals taken for uniform",
        cell="information-solution",
        loses=("information-2",),
        code="""
def information(<< given >>):
    joint = << "counts / np.sum(counts)" if counted else "counts_of(a, b) / len(a)" >>
    seen = joint > 0
    return (joint[seen] * np.log(joint[seen] * joint.size)).sum()<< per_unit >>
""",
    ),
    Planted(
        name="the gap taken between factors instead of between latents",
        cell="gap-solution",
        loses=("gap-1", "gap-2", "gap-3"),
        code="""
def gap(table, entropy):
    told = np.sort(np.clip(table<< table_T >>, 0, None), axis=1)
    return ((told[:, -1] - told[:, -2]) / np.mean(entropy))<< mean >>
""",
    ),
    Planted(
        name="divided by what the best latent tells, not by the factor's entropy",
        cell="gap-solution",
        loses=("gap-2", "gap-3"),
        code="""
def gap(table, entropy):
    told = np.clip(table<< table_T >>, 0, None)
    told = np.sort(np.vstack([told, np.zeros((1, told.shape[1]))]), axis=0)
    return ((told[-1] - told[-2]) / np.maximum(told[-1], 1e-12))<< mean >>
""",
    ),
    Planted(
        name="means in place of samples",
        cell="sampled-solution",
        loses=("sampled-2",),
        code="""
def sampled_information(mean, << spread >>, level, noise):
    deviation = << deviation >>
    density = np.exp(-0.5 * ((mean[:, None] - mean) / deviation) ** 2) / deviation
    same = level[:, None] == level
    given = (density * same).sum(1) / same.sum(1)
    return np.log(given / density.mean(1)).mean()<< per_unit >>
""",
    ),
    Planted(
        name="spreads misread in the mixture (variance for standard deviation)",
        cell="sampled-solution",
        loses=("sampled-2",),
        code="""
def sampled_information(mean, << spread >>, level, noise):
    deviation = << wrong_deviation >>
    z = mean + deviation * noise
    density = np.exp(-0.5 * ((z[:, None] - mean) / deviation) ** 2) / deviation
    same = level[:, None] == level
    given = (density * same).sum(1) / same.sum(1)
    return np.log(given / density.mean(1)).mean()<< per_unit >>
""",
    ),
    Planted(
        name="q(z | x) in place of q(z | v): information about the datum, not about the factor",
        cell="sampled-solution",
        loses=("sampled-1", "sampled-2", "sampled-3"),
        code="""
def sampled_information(mean, << spread >>, level, noise):
    deviation = << deviation >>
    z = mean + deviation * noise
    density = np.exp(-0.5 * ((z[:, None] - mean) / deviation) ** 2) / deviation
    return np.log(np.diag(density) / density.mean(1)).mean()<< per_unit >>
""",
    ),
    Planted(
        name="roles by the mean variance alone",
        cell="roles-solution",
        loses=("roles-3",),
        code="""
def roles(<< spread >>):
    m = (<< variance >> / << prior >>).mean(axis=<< axis >>)
    low, high = << "%.1f, %.1f" % (1 - off, 1 + off) >>
    return ["passive" if low <= r <= high else "active" if r <= << sharp >> else "mixed" for r in m]
""",
    ),
    Planted(
        name="variances not divided by the prior's",
        cell="roles-solution",
        loses=("roles-1", "roles-2", "roles-3"),
        code="""
def roles(<< spread >>):
    values = << variance >>
    m, v = values.mean(axis=<< axis >>), values.var(axis=<< axis >>)
    low, high = << "%.1f, %.1f" % (1 - off, 1 + off) >>
    steady = v < << steady >>
    passive, active = steady & (low <= m) & (m <= high), steady & (m <= << sharp >>)
    return ["passive" if p else "active" if a else "mixed" for p, a in zip(passive, active, strict=True)]
""",
    ),
    Planted(
        name="correlations of means taken for those of samples",
        cell="correlation-solution",
        loses=("correlation-2", "correlation-3"),
        code="""
def sampled_correlation(mean, << spread >>):
    return np.corrcoef(mean, rowvar=<< columns >>)
""",
    ),
    Planted(
        name="the square of the mean deviation instead of the mean variance",
        cell="correlation-solution",
        loses=("correlation-2",),
        code="""
def sampled_correlation(mean, << spread >>):
    noise = (<< deviation >>).mean(axis=<< axis >>) ** 2
    covariance = np.cov(mean, rowvar=<< columns >>, bias=True) + np.diag(noise)
    size = np.sqrt(np.diag(covariance))
    return covariance / np.outer(size, size)
""",
    ),
    Planted(
        name="an imported answer: the package's covariance of samples",
        cell="correlation-solution",
        loses=("correlation-4",),
        code="""
from latentbook.metrics import sampled_covariance


def sampled_correlation(mean, << spread >>):
    variance = << variance >>
    n = << "mean.shape[1]" if columns else "len(mean)" >>
    covariance = sampled_covariance(torch.as_tensor(mean<< T >>), torch.as_tensor(variance<< T >>)).numpy()
    noise = np.diag(variance.mean(axis=<< axis >>))
    covariance = (covariance - noise) * << "(n - 1) / n" >> + noise
    size = np.sqrt(np.diag(covariance))
    return covariance / np.outer(size, size)
""",
    ),
)
