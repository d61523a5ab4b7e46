"""Creator competition: creators chase reward, the platform reweights its users; who is better off?

The compiled loops (`engine`) need numba, the extra `lab`; everything else runs without it.
"""

from solvers.competition.factorisation import cross_validated, factorise
from solvers.competition.game import Competition, DotProduct, Euclidean, Matching, Mechanism, Static
from solvers.competition.settings import (
    CLUSTERS,
    Setting,
    from_ratings,
    from_watching,
    group_users,
    is_soft,
    orthogonal,
    sharp_slope,
    soft_slope,
    specialise,
    synthetic,
    toy,
)
from solvers.competition.simulate import (
    Actions,
    Ball,
    DiscreteActions,
    Simulation,
    local_better_response,
    simulate,
)

__all__ = [
    "CLUSTERS",
    "Actions",
    "Ball",
    "Competition",
    "DiscreteActions",
    "DotProduct",
    "Euclidean",
    "Matching",
    "Mechanism",
    "Setting",
    "Simulation",
    "Static",
    "cross_validated",
    "factorise",
    "from_ratings",
    "from_watching",
    "group_users",
    "is_soft",
    "local_better_response",
    "orthogonal",
    "sharp_slope",
    "simulate",
    "soft_slope",
    "specialise",
    "synthetic",
    "toy",
]
