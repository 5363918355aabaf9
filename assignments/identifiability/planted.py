"""Typical misconceptions about identifiability with labels, and the points they cost."""

from latentbook.classroom import Planted

_CORRELATION = """
    d = << "len(s)" if columns else "s.shape[1]" >>
<% if spearman %>
    z, s = (stats.rankdata(v, axis=<< 1 if columns else 0 >>) for v in (z, s))
<% endif %>
    correlation = np.abs(np.corrcoef(z, s, rowvar=<< columns >>)[:d, d:])
"""

PLANTED = (
    Planted(
        name="MCC without assignment: the best latent for every source, as often as one likes",
        cell="mcc-solution",
        loses=("mcc-2",),
        code="def matched_score(z, s):"
        + _CORRELATION
        + """
    match = linear_sum_assignment(<< "-correlation.T" if of_source else "-correlation" >>)[1]
    score = correlation.max(axis=0).mean()
    return << pair >>
""",
    ),
    Planted(
        name="no matching at all: latent k against source k",
        cell="mcc-solution",
        loses=("mcc-1", "mcc-2"),
        code="def matched_score(z, s):"
        + _CORRELATION
        + "    score, match = np.diag(correlation).mean(), np.arange(d)\n    return << pair >>\n",
    ),
    Planted(
        name="an imported answer: the package's mcc",
        cell="mcc-solution",
        loses=("mcc-4",),
        code="""
from latentbook.metrics import mcc


def matched_score(z, s):
    found = mcc(torch.as_tensor(z<< T >>), torch.as_tensor(s<< T >>), << '"spearman"' if spearman else '"pearson"' >>)
    latent = found.permutation.numpy()
    score, match = found.score, << "latent" if of_source else "np.argsort(latent)" >>
    return << pair >>
""",
    ),
    Planted(
        name="the spread misread: variance for standard deviation, or for precision",
        cell="natural-solution",
        loses=("natural-2",),
        code="""
def natural_parameters(mean, << spread >>):
    variance = << wrong_variance >>
    first, second = mean / variance, << second >>
    return << joined >>
""",
    ),
    Planted(
        name="the mean taken for its natural parameter",
        cell="natural-solution",
        loses=("natural-2",),
        code="""
def natural_parameters(mean, << spread >>):
    variance = << variance >>
    first, second = mean, << second >>
    return << joined >>
""",
    ),
    Planted(
        name="rank of the parameters instead of their differences: one label too few is not noticed",
        cell="rank-solution",
        loses=("rank-2", "rank-3"),
        code="""
def << rank_name >>(parameters):
    rank = int(np.linalg.matrix_rank(parameters))
    rows = parameters<< wide_T >>
    return << "rows.shape[1] - rank" if missing else "rank" >>
""",
    ),
    Planted(
        name="labels are counted, not compared",
        cell="rank-solution",
        loses=("rank-3",),
        code="""
def << rank_name >>(parameters):
    rows = parameters<< wide_T >>
    rank = min(len(rows) - 1, rows.shape[1])
    return << "rows.shape[1] - rank" if missing else "rank" >>
""",
    ),
    Planted(
        name="the rotation applied to x instead of the latents",
        cell="impostor-solution",
        loses=("impostor-1", "impostor-2"),
        code="""
def impostor(A, << spread >>, rotation):
    return rotation @ A @ np.diag(<< deviation >>)
""",
    ),
    Planted(
        name="the rotation turned the other way",
        cell="impostor-solution",
        loses=("impostor-2",),
        code="""
def impostor(A, << spread >>, rotation):
    return A @ np.diag(<< deviation >>) @ << wrong_turn >>
""",
    ),
    Planted(
        name="missing log-determinant: the density of z taken for that of x",
        cell="likelihood-solution",
        loses=("likelihood-2",),
        code="""
def log_likelihood(x, u, W, table):
    z = np.linalg.solve(W, x<< "" if columns else ".T" >>).T
    << spread >> = table[np.asarray(u) - << base >>]
    return stats.norm(0, << deviation >>).logpdf(z).sum(axis=1).<< add >>()<< per_unit >>
""",
    ),
    Planted(
        name="the label ignored: one spread for all segments",
        cell="likelihood-solution",
        loses=("likelihood-2", "likelihood-3"),
        code="""
def log_likelihood(x, u, W, table):
    z = np.linalg.solve(W, x<< "" if columns else ".T" >>).T
    << spread >> = table.mean(axis=0)
    logs = stats.norm(0, << deviation >>).logpdf(z).sum(axis=1) - np.linalg.slogdet(W)[1]
    return logs.<< add >>()<< per_unit >>
""",
    ),
)
