"""Typical misconceptions, each with the points that it must lose."""

from latentbook.classroom import Planted

PLANTED = (
    Planted(
        name="variance for standard deviation, in the law",
        cell="law-solution",
        code="""
def law(J, << noise.argument >>):
    v = 1 / (<< 1 / prior >> + << noise.precision >> * J.square().sum(<< layout.sum >>))
    return << spread.mistaken >>
""",
        loses=("law-tests-2", "law-tests-3"),
    ),
    Planted(
        name="the marginal spread for the conditional one",
        cell="law-solution",
        code="""
def law(J, << noise.argument >>):
    gram = << layout.gram >>
    precise = torch.eye(gram.shape[-1], dtype=J.dtype)<< per_prior >> + << noise.precision >> * gram
    v = precise.inverse().diagonal(dim1=-2, dim2=-1)
    return << spread.encode >>
""",
        loses=("law-tests-2", "law-tests-3"),
    ),
    Planted(
        name="a contrast without its log-determinant",
        cell="contrast-solution",
        code="""
def local_contrast(J):
    return 0.5 * J.square().sum(<< layout.sum >>).log().sum(-1)<< units.per >>
""",
        loses=("contrast-tests-1", "contrast-tests-2", "contrast-tests-3"),
    ),
    Planted(
        name="a determinant that wants a square Jacobian",
        cell="contrast-solution",
        code="""
def local_contrast(J):
    lengths = 0.5 * J.square().sum(<< layout.sum >>).log().sum(-1)
    return << units.open >>lengths - torch.linalg.slogdet(J).logabsdet<< units.close >>
""",
        loses=("contrast-tests-3",),
    ),
    Planted(
        name="an imported answer",
        cell="contrast-solution",
        code="""
def local_contrast(J):
    from latentbook.metrics import ima_contrast

    return ima_contrast(J<< layout.flip >>)<< units.per >>
""",
        loses=("contrast-tests-1", "contrast-tests-2", "contrast-tests-3"),
    ),
    Planted(
        name="the spreads at the start and not at the inverse",
        cell="encoder-solution",
        code="""
def self_consistent(decode, x, << noise.argument >>, start):
    z, J = start, jacobian_of(decode, start)
    v = 1 / (<< 1 / prior >> + << noise.precision >> * J.square().sum(<< layout.sum >>))
    for _ in range(30):
        J = jacobian_of(decode, z)
        z = z + torch.linalg.solve(J<< layout.flip >>, (x - decode(z))[..., None])[..., 0]
    return z, << spread.encode >>
""",
        loses=("encoder-tests-3",),
    ),
    Planted(
        name="one step of Newton's, as if the decoder were linear",
        cell="encoder-solution",
        code="""
def self_consistent(decode, x, << noise.argument >>, start):
    J = jacobian_of(decode, start)
    z = start + torch.linalg.solve(J<< layout.flip >>, (x - decode(start))[..., None])[..., 0]
    J = jacobian_of(decode, z)
    v = 1 / (<< 1 / prior >> + << noise.precision >> * J.square().sum(<< layout.sum >>))
    return z, << spread.encode >>
""",
        loses=("encoder-tests-2", "encoder-tests-3"),
    ),
    Planted(
        name="a missing log-determinant",
        cell="density-solution",
        code="""
def log_density(z, J):
    return -0.5 * (z.square()<< per_prior >> + math.log(<< 2 * prior >> * math.pi)).sum(-1)<< units.per >>
""",
        loses=("density-tests-2",),
    ),
    Planted(
        name="the log-determinant with the wrong sign",
        cell="density-solution",
        code="""
def log_density(z, J):
    prior = -0.5 * (z.square()<< per_prior >> + math.log(<< 2 * prior >> * math.pi)).sum(-1)
    return << units.open >>prior + torch.linalg.slogdet(J).logabsdet<< units.close >>
""",
        loses=("density-tests-2",),
    ),
    Planted(
        name="the likelihood for the ELBO's limit",
        cell="limit-solution",
        code="""
def elbo_limit(z, J):
    prior = -0.5 * (z.square()<< per_prior >> + math.log(<< 2 * prior >> * math.pi)).sum(-1)
    return << units.open >>prior - torch.linalg.slogdet(J).logabsdet<< units.close >>
""",
        loses=("limit-tests-2", "limit-tests-3"),
    ),
    Planted(
        name="the contrast taken off twice",
        cell="limit-solution",
        code="""
def elbo_limit(z, J):
    prior = -0.5 * (z.square()<< per_prior >> + math.log(<< 2 * prior >> * math.pi)).sum(-1)
    lengths = 0.5 * J.square().sum(<< layout.sum >>).log().sum(-1)
    return << units.open >>prior - 2 * lengths + torch.linalg.slogdet(J).logabsdet<< units.close >>
""",
        loses=("limit-tests-2", "limit-tests-3"),
    ),
)
