"""One call: what has this model learned?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from latentbook.data import Dataset
from latentbook.metrics import (
    code_correlation,
    effective_rank,
    ima_contrast,
    latent_roles,
    latent_roles_by_share,
    mcc,
    reliability,
    sampled_covariance,
    total_correlation,
)
from latentbook.random import Generator
from latentbook.report.agreement import agreement
from latentbook.report.drawing import describe, draw
from latentbook.report.measure import Findings, measure
from latentbook.report.rows import as_rows, information


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What :func:`report` found.

    Attributes:
        latents: one row per member and latent: role, role by share of examples, mean posterior variance relative to
            the prior's, reliability, KL in nats, and what the mean tells about each factor (nats for classes, absolute
            correlation for real numbers).
        members: one row per member: counts of roles, log-likelihood (the importance-weighted bound for a VAE), ELBO,
            gap with its standard error, rate, contrast of the decoder on the latents that are not passive, total
            correlations, effective rank, agreement with the other members, MCC with real factors.
        missing: what could not be measured, and why.
        correlations: absolute correlations of the first member, "means" and "samples", (latents, latents) each.
    """

    latents: pd.DataFrame
    members: pd.DataFrame
    missing: dict[str, str]
    correlations: dict[str, Tensor]
    factor_names: tuple[str, ...] = ()

    @property
    def table(self) -> pd.DataFrame:
        """Mean, standard deviation (with n - 1), least and most over the members, of each quantity."""
        rows = self.members.drop(columns="member").astype(float)
        summary = {"mean": rows.mean(), "sd": rows.std(), "least": rows.min(), "most": rows.max()}
        return pd.DataFrame(summary).rename_axis("quantity")

    @cached_property
    def figure(self) -> Figure:
        """Roles and KL of all latents, correlations of means and of samples, and what latents tell about factors."""
        return draw(self.latents, self.correlations, self.factor_names)

    @property
    def alt(self) -> str:
        """The figure in words."""
        return describe(self.latents, self.correlations, self.factor_names)

    def __str__(self) -> str:
        lines = [self.table.rename_axis(None).round(3).to_string(na_rep="")]
        lines += [f"not measured: {name} ({why})" for name, why in self.missing.items()]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        left_out = "".join(f"<li>{name}: {why}</li>" for name, why in self.missing.items())
        table = self.table.rename_axis(None).round(3).to_html(na_rep="")
        return table + (f"<p>Not measured:</p><ul>{left_out}</ul>" if left_out else "")


def report(
    model: object,
    data: Dataset | Tensor | tuple[Tensor, Tensor] | None = None,
    *,
    u: Tensor | None = None,
    factors: Tensor | None = None,
    factor_names: Sequence[str] = (),
    generator: Generator | None = None,
) -> Report:
    """What a trained model, or a table of codes, has learned: roles, gap, collapse, contrast, factors, stability.

    Every quantity that exists for the model is measured, for all members at once; what is missing is named with the
    reason. Roles are those of the published criterion, with variances relative to the prior's. Codes are means, of at
    most 5000 rows; gap and contrast are measured on at most 200 of them.

    Args:
        model: a :class:`~latentbook.models.VAE` with any prior and likelihood, conditional or not, a
            :class:`~latentbook.models.linear.FactorAnalysis`, a :class:`~latentbook.models.CouplingFlow`, or
            :class:`Codes` of a model from elsewhere.
        data: a data set, a tensor x (n, features) or (members, n, features), or a pair (x, u); not used for Codes.
        u: auxiliary variable of every row, for conditional priors.
        factors: the true factors, (n, k) or (n,), or (members, n, k) where each member has data of its own: integers
            are classes, floating point are amounts. By default those of the data set, if it has any.
        factor_names: a name for each, by default those of the data set.
        generator: of the gap's samples, one seed per member; by default seeds 0, 1, ...

    Raises:
        TypeError: for another kind of model or of data.
        ValueError: if data are missing, factors or names do not fit, or every member has diverged.

    Example:
        ``report(model, digits.load())`` in a notebook shows the table; ``.figure`` the pictures.
    """
    x, u, factors, factor_names = as_rows(data, u, factors, factor_names)
    findings = measure(model, x, u, generator)
    if not bool(findings.means.isfinite().any()):
        raise ValueError("every member has diverged: the codes hold NaN; expected at least one to report on")
    return _assemble(findings, factors, factor_names)


def _assemble(found: Findings, factors: Tensor | None, names: tuple[str, ...]) -> Report:
    missing, (members, _, latents) = dict(found.missing), found.means.shape
    alive = found.means.isfinite().all(-1).all(-1)
    roles, by_share = _roles(found, alive)
    rows = {"member": np.repeat(np.arange(members), latents), "latent": np.tile(np.arange(latents), members)}
    if found.variances is not None:
        rows |= {"role": roles.ravel(), "role by share": by_share.ravel()}
        rows["variance"] = found.relative.mean(1).flatten().numpy()
        rows["reliability"] = reliability(found.means, found.variances).flatten().numpy()
    if found.kl is not None:
        rows["KL"] = found.kl.flatten().numpy()
    if factors is None:
        missing["factors"] = "none were given"
    else:
        told = information(found.means, factors, alive)
        rows |= {name: told[..., j].flatten().numpy() for j, name in enumerate(names)}
    return Report(
        pd.DataFrame(rows),
        _per_member(found, factors, roles, alive, missing),
        missing,
        _correlations(found, int(alive.int().argmax())),
        names,
    )


def _roles(found: Findings, alive: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Roles by either criterion, (members, latents): all "active" for codes without a posterior, NaN members empty."""
    shape = (found.means.shape[0], found.means.shape[2])
    if found.variances is None:
        return np.full(shape, "active"), np.full(shape, "active")
    roles, by_share = np.full(shape, "", dtype="U12"), np.full(shape, "", dtype="U12")
    roles[alive.numpy()] = latent_roles(found.relative[alive])
    by_share[alive.numpy()] = latent_roles_by_share(found.relative[alive])
    return roles, by_share


def _per_member(
    found: Findings, factors: Tensor | None, roles: np.ndarray, alive: Tensor, missing: dict[str, str]
) -> pd.DataFrame:
    members, kept = len(alive), torch.from_numpy(roles != "passive") & alive[:, None]
    columns: dict[str, object] = {"member": range(members)}
    if found.variances is not None:
        counts = {role: (roles == role).sum(1).astype(float) for role in ("active", "mixed", "passive")}
        columns |= {role: np.where(alive.numpy(), count, math.nan) for role, count in counts.items()}
    columns |= {name: value.numpy() for name, value in found.bounds.items()}
    if found.kl is not None:
        columns["rate"] = found.kl.sum(-1).numpy()
    if found.jacobians is not None:
        columns["contrast"] = _contrast(found.jacobians, kept, missing)
    if found.means.shape[-1] < 2 or found.means.shape[1] <= found.means.shape[2]:
        missing["total correlation"] = "it takes two latents, and more rows than latents"
    else:
        columns["TC of means"] = total_correlation(found.means).numpy()
        if found.variances is not None:
            columns["TC of samples"] = total_correlation(sampled_covariance(found.means, found.variances)).numpy()
        columns["effective rank of means"] = effective_rank(found.means).numpy()
    if members < 2:
        missing["agreement between members"] = "there is one member"
    else:
        columns["MCC with other members"] = _agreement(found.means, kept)
    if factors is not None and factors.is_floating_point():
        columns["MCC with factors"] = mcc(found.means, factors).score.numpy()
    return pd.DataFrame(columns)


def _contrast(jacobians: Tensor, kept: Tensor, missing: dict[str, str]) -> np.ndarray:
    """Mean local contrast of the columns kept; 0 for one column, NaN where there are more columns than rows."""
    values = np.full(len(kept), math.nan)
    for member, mask in enumerate(kept):
        columns = jacobians[member][..., mask]
        if columns.shape[-1] > columns.shape[-2]:
            missing["contrast"] = "more latents in use than features"
        elif columns.shape[-1]:
            values[member] = float(ima_contrast(columns).mean())
    return values


def _agreement(means: Tensor, kept: Tensor) -> np.ndarray:
    """Mean MCC of each member's kept means with those of every other; NaN where it keeps none."""
    runs = [codes[:, mask] for codes, mask in zip(means, kept, strict=True)]
    others = agreement(runs).fill_diagonal_(math.nan)
    return others.nanmean(1).numpy()


def _correlations(found: Findings, member: int) -> dict[str, Tensor]:
    if found.means.shape[1] <= found.means.shape[2]:
        return {}
    means = found.means[member]
    correlations = {"means": code_correlation(means).abs()}
    if found.variances is not None:
        correlations["samples"] = code_correlation(sampled_covariance(means, found.variances[member])).abs()
    return correlations


__all__ = ["Report", "report"]
