"""What the erosion check measures, in words: unit, direction and a sentence for each number and each column."""

from __future__ import annotations

import math

from tlaudit.exhibits import Heatmap, Level, Lines
from tlaudit.measure.spectrum import RANK_THRESHOLD
from tlaudit.results import columns

STAGE_COLUMNS = columns(
    ("stage", "module path", "Where the features were taken."),
    ("network", "text", "source | finetuned | from scratch."),
    ("n", "images", "Images the spectrum rests on."),
    ("d", "features", "Features an image has at this stage, as their rank is taken."),
    ("cka", "cka", "Unbiased minibatch CKA with the source network's features at this stage; 1 = as they were."),
    ("cka_low", "cka", "Lower bound of its interval (bootstrap over minibatches)."),
    ("cka_high", "cka", "Upper bound of the same."),
    ("source_rank", "dimensions", "Numerical rank of the source network at this stage."),
    ("rank", "dimensions", "Numerical rank: eigenvalues of the features' covariance above 1e-3 of the largest."),
    ("rank_ratio", "ratio", "Rank / rank of the source network at this stage."),
    ("effective_rank", "dimensions", "Exponential of the entropy of the normalised singular values."),
    ("participation_ratio", "dimensions", "Squared sum of the covariance's eigenvalues / sum of their squares."),
    ("warning", "text", "Why the ranks may be too low."),
    ("absent", "text", "Why cells of this row are empty."),
)
MATRIX_COLUMNS = columns(
    ("source_stage", "module path", "Stage of the source network."),
    ("finetuned_stage", "module path", "Stage of the finetuned network."),
    ("cka", "cka", "Unbiased minibatch CKA of the two."),
    ("absent", "text", "Why it is missing."),
)
SPECTRUM_COLUMNS = columns(
    ("stage", "module path", "Where the features were taken."),
    ("network", "text", "source | finetuned | from scratch."),
    ("line", "text", "Both."),
    ("number", "number", "Of the singular value, the largest being 1; thinned evenly on a logarithmic scale."),
    ("singular_value", "share", "Of the centred features, as a share of the largest."),
)

CKA_CHART = Lines(
    title="How much of the features is left, over depth",
    reading=(
        "CKA with the source network's features at each stage, from input to output: 1 is as it was, 0 is unrelated. "
        "A fall towards the end is what adapting to a new task looks like; early stages that fall, or a last stage "
        "near the from-scratch network's, mean that features were replaced."
    ),
    table="stages",
    x="stage",
    y="cka",
    group="network",
    low="cka_low",
    high="cka_high",
    levels=(Level(axis="y", value=1, label="unchanged"),),
)
RANK_CHART = Lines(
    title="How many dimensions the features span, over depth",
    reading=(
        "Numerical rank: eigenvalues of the features' covariance above a thousandth of the largest. A finetuned "
        "network well below the source has collapsed its features into fewer directions."
    ),
    table="stages",
    x="stage",
    y="rank",
    group="network",
)
SPECTRA_CHART = Lines(
    title="Singular values",
    reading=(
        "Singular values of the centred features as a share of the largest, both axes logarithmic: first and last "
        "stage, and the one whose rank fell the most. A line that drops earlier spans fewer dimensions."
    ),
    table="spectra",
    x="number",
    y="singular_value",
    group="line",
    log_x=True,
    log_y=True,
    levels=(Level(axis="y", value=math.sqrt(RANK_THRESHOLD), label="the rank counts what is above"),),
)
MATRIX_CHART = Heatmap(
    title="Every stage with every stage",
    reading=(
        "CKA of each stage of the source network (rows) with each of the finetuned one (columns). A bright diagonal "
        "says that each stage still does what it did."
    ),
    table="cka_matrix",
    x="finetuned_stage",
    y="source_stage",
    value="cka",
    low=0,
    high=1,
)
