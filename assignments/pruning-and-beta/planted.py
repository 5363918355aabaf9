"""Typical misconceptions, each with the points that it must lose."""

from latentbook.classroom import Planted

PLANTED = (
    Planted(
        name="the marginal spread for the conditional one",
        cell="posterior-solution",
        code="""
def best_upright(W, << noise.argument >>, x, << weight.argument >>):
    g, b = << noise.precision >>, << weight.beta >>
    precise = torch.eye(W.shape[1], dtype=W.dtype)<< per_prior >> + g / b * W.T @ W
    mean = torch.linalg.solve(precise, g / b * W.T @ x.T).T
    v = precise.inverse().diag()
    return mean, << spread.encode >>
""",
        loses=("posterior-tests-3",),
    ),
    Planted(
        name="the posterior of the model, whatever the weight",
        cell="posterior-solution",
        code="""
def best_upright(W, << noise.argument >>, x, << weight.argument >>):
    g = << noise.precision >>
    precise = torch.eye(W.shape[1], dtype=W.dtype)<< per_prior >> + g * W.T @ W
    mean = torch.linalg.solve(precise, g * W.T @ x.T).T
    v = 1 / precise.diag()
    return mean, << spread.encode >>
""",
        loses=("posterior-tests-2", "posterior-tests-3"),
    ),
    Planted(
        name="the tilt's cost in the wrong units of the objective",
        cell="tilt-solution",
        code="""
def tilt_cost(W, << noise.argument >>, << weight.argument >>):
    g, b = << noise.precision >>, << weight.beta >>
    precise = torch.eye(W.shape[1], dtype=W.dtype)<< per_prior >> + g / b * W.T @ W
    return 0.5 * << weight.unscaled >> * (precise.diag().log().sum() - torch.logdet(precise))
""",
        loses=("tilt-tests-2", "tilt-tests-3"),
    ),
    Planted(
        name="a missing log-determinant",
        cell="tilt-solution",
        code="""
def tilt_cost(W, << noise.argument >>, << weight.argument >>):
    g, b = << noise.precision >>, << weight.beta >>
    precise = torch.eye(W.shape[1], dtype=W.dtype)<< per_prior >> + g / b * W.T @ W
    return 0.5 * << weight.scale >> * precise.diag().log().sum()
""",
        loses=("tilt-tests-1", "tilt-tests-2", "tilt-tests-3"),
    ),
    Planted(
        name="an imported answer",
        cell="tilt-solution",
        code="""
def tilt_cost(W, << noise.argument >>, << weight.argument >>):
    b, scaled = << weight.beta >>, FactorAnalysis(<< times_deviation >>W, 1 / << noise.precision >>)
    return scaled.gap(beta=b) * (<< weight.scale >> / b)
""",
        loses=("tilt-tests-1", "tilt-tests-2", "tilt-tests-3"),
    ),
    Planted(
        name="the weight prunes but does not shrink",
        cell="length-solution",
        code="""
def column_lengths(eigenvalues, << noise.argument >>, << weight.argument >>):
    g, b = << noise.precision >>, << weight.beta >>
    squared = eigenvalues<< per_prior >> * (eigenvalues > b / g)
    return << length.encode >>
""",
        loses=("length-tests-2",),
    ),
    Planted(
        name="no latent is ever switched off",
        cell="length-solution",
        code="""
def column_lengths(eigenvalues, << noise.argument >>, << weight.argument >>):
    g, b = << noise.precision >>, << weight.beta >>
    squared = (eigenvalues - b / g).abs()<< per_prior >>
    return << length.encode >>
""",
        loses=("length-tests-1",),
    ),
    Planted(
        name="orthogonal whatever the noise",
        cell="rotation-solution",
        code="""
def upright_turn(W, << noise.argument >>):
    _, R = torch.linalg.eigh(W.T @ W)
    return W @ R<< order.turn >>
""",
        loses=("rotation-tests-2", "rotation-tests-3"),
    ),
    Planted(
        name="a regression on the means alone",
        cell="mstep-solution",
        code="""
def m_step(x, mean, << spread.argument >>):
    return torch.linalg.lstsq(mean, x).solution.T
""",
        loses=("mstep-tests-2", "mstep-tests-3"),
    ),
    Planted(
        name="the spread counted once and not for every data point",
        cell="mstep-solution",
        code="""
def m_step(x, mean, << spread.argument >>):
    second = mean.T @ mean + torch.diag(<< spread.variance >>)
    return torch.linalg.solve(second, mean.T @ x).T
""",
        loses=("mstep-tests-3",),
    ),
    Planted(
        name="standard deviation for variance, in the M step",
        cell="mstep-solution",
        code="""
def m_step(x, mean, << spread.argument >>):
    v = (<< spread.mistaken >>) * (<< spread.variance >> > 1e-10)
    return torch.linalg.solve(mean.T @ mean + len(x) * torch.diag(v), mean.T @ x).T
""",
        loses=("mstep-tests-2", "mstep-tests-3"),
    ),
)
