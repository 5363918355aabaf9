"""Laws that torch lacks, as ``torch.distributions``: generalised normal, Lp-nested, the logit of a Beta variable."""

from latentbook.distributions.generalized_normal import GeneralizedNormal
from latentbook.distributions.logit_beta import LogitBeta
from latentbook.distributions.lp_nested import LpNested
from latentbook.distributions.lp_tree import LpTree

__all__ = ["GeneralizedNormal", "LpTree", "LpNested", "LogitBeta"]
