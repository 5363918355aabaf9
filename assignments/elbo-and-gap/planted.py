"""Typical misconceptions, each with the points that it must lose."""

from latentbook.classroom import Planted

PLANTED = (
    Planted(
        name="variance for standard deviation, in the rate",
        cell="kl-solution",
        code="""
def kl_to_prior(mean, << spread.argument >>):
    ratio = << spread.mistaken >><< per_prior >>
    return 0.5 * (ratio + mean.square()<< per_prior >> - 1 - ratio.log()).sum(-1)<< units.per >>
""",
        loses=("kl-tests-2", "kl-tests-3"),
    ),
    Planted(
        name="the rate with the KL reversed",
        cell="kl-solution",
        code="""
def kl_to_prior(mean, << spread.argument >>):
    v = << spread.variance >>
    ratio = << prior >> / v
    return 0.5 * (ratio + mean.square() / v - 1 - ratio.log()).sum(-1)<< units.per >>
""",
        loses=("kl-tests-2", "kl-tests-3"),
    ),
    Planted(
        name="reconstruction at the mean only",
        cell="elbo-solution",
        code="""
def elbo(W, << noise.argument >>, x, mean, << spread.argument >>):
    g, v = << noise.precision >>, << spread.variance >>
    error = (x - mean @ W.T).square().sum(-1)
    reconstruction = 0.5 * x.shape[-1] * math.log(g / (2 * math.pi)) - 0.5 * g * error
    return << units.open >>reconstruction - library_kl(mean, v)<< units.close >>
""",
        loses=("elbo-tests-2", "elbo-tests-3"),
    ),
    Planted(
        name="the gap with the KL reversed",
        cell="gap-solution",
        code="""
def gap(W, << noise.argument >>, x, mean, << spread.argument >>):
    g, v = << noise.precision >>, << spread.variance >>
    precise = torch.eye(W.shape[1], dtype=W.dtype)<< per_prior >> + g * W.T @ W
    off = mean - torch.linalg.solve(precise, g * W.T @ x.T).T
    spreads = ((precise.inverse().diag() + off.square()) / v - 1 + v.log()).sum(-1) + torch.logdet(precise)
    return 0.5 * spreads<< units.per >>
""",
        loses=("gap-tests-2", "gap-tests-3"),
    ),
    Planted(
        name="the gap without its log-determinant",
        cell="gap-solution",
        code="""
def gap(W, << noise.argument >>, x, mean, << spread.argument >>):
    g, v = << noise.precision >>, << spread.variance >>
    precise = torch.eye(W.shape[1], dtype=W.dtype)<< per_prior >> + g * W.T @ W
    off = mean - torch.linalg.solve(precise, g * W.T @ x.T).T
    spreads = (v * precise.diag() - 1 - (v * precise.diag()).log()).sum(-1)
    return 0.5 * (spreads + ((off @ precise) * off).sum(-1))<< units.per >>
""",
        loses=("gap-tests-2", "gap-tests-3"),
    ),
    Planted(
        name="an imported answer",
        cell="gap-solution",
        code="""
def gap(W, << noise.argument >>, x, mean, << spread.argument >>):
    from torch.distributions import MultivariateNormal, kl_divergence

    g, v = << noise.precision >>, << spread.variance >>
    exact = FactorAnalysis(<< times_deviation >>W, 1 / g).posterior(x)
    q = MultivariateNormal(mean / << prior_deviation >>, torch.diag_embed(v<< per_prior >>))
    return kl_divergence(q, exact)<< units.per >>
""",
        loses=("gap-tests-1", "gap-tests-2", "gap-tests-3"),
    ),
    Planted(
        name="variance for standard deviation, in the sample",
        cell="weights-solution",
        code="""
def log_weights(W, << noise.argument >>, x, mean, << spread.argument >>, noise):
    g, v = << noise.precision >>, << spread.variance >>
<% if samples.axis %>
    x, mean, v = x[:, None], mean[:, None], v[:, None]
<% endif %>
    z = mean + v * noise
    log_two_pi = math.log(2 * math.pi)
    likelihood = 0.5 * x.shape[-1] * (math.log(g) - log_two_pi) - 0.5 * g * (x - z @ W.T).square().sum(-1)
    prior = -0.5 * (z.square()<< per_prior >> + math.log(<< prior >>) + log_two_pi).sum(-1)
    posterior = -0.5 * ((z - mean).square() / v + v.log() + log_two_pi).sum(-1)
    return << units.open >>likelihood + prior - posterior<< units.close >>
""",
        loses=("weights-tests-3",),
    ),
    Planted(
        name="the density of the noise for that of the sample",
        cell="weights-solution",
        code="""
def log_weights(W, << noise.argument >>, x, mean, << spread.argument >>, noise):
    g, v = << noise.precision >>, << spread.variance >>
<% if samples.axis %>
    x, mean, v = x[:, None], mean[:, None], v[:, None]
<% endif %>
    z = mean + v.sqrt() * noise
    likelihood = 0.5 * x.shape[-1] * math.log(g / (2 * math.pi)) - 0.5 * g * (x - z @ W.T).square().sum(-1)
    ratio = 0.5 * (noise.square() - z.square()<< per_prior >> - math.log(<< prior >>)).sum(-1)
    return << units.open >>likelihood + ratio<< units.close >>
""",
        loses=("weights-tests-2", "weights-tests-3"),
    ),
    Planted(
        name="the mean of the logarithms",
        cell="bound-solution",
        code="""
def importance_bound(log_w):
    return log_w.mean(<< samples.axis >>)
""",
        loses=("bound-tests-2", "bound-tests-3"),
    ),
    Planted(
        name="the sum of the weights",
        cell="bound-solution",
        code="""
def importance_bound(log_w):
    return torch.logsumexp(log_w<< units.to_nats >>, << samples.axis >>)<< units.per >>
""",
        loses=("bound-tests-1", "bound-tests-2", "bound-tests-3"),
    ),
    Planted(
        name="exponentials that overflow",
        cell="bound-solution",
        code="""
def importance_bound(log_w):
    return << units.exp >>.mean(<< samples.axis >>).log()<< units.per >>
""",
        loses=("bound-tests-2",),
    ),
)
