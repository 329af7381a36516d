"""What the stress test measures, in words: unit, direction and a sentence for each number, column and chart."""

from __future__ import annotations

from tlaudit.exhibits import Lines
from tlaudit.results import columns

RUN_COLUMNS = columns(
    ("ratio", "share", "Training images that got a square."),
    ("run", "text", "sweep | bisection."),
    ("planted", "images", "The same, counted."),
    ("clean_accuracy", "share", "Clean test images got right."),
    ("low", "share", "Lower bound of its interval."),
    ("high", "share", "Upper bound of the same."),
    ("drop", "difference", "Clean accuracy lost against the run without squares, image by image."),
    ("drop_low", "difference", "Lower bound of its bootstrap interval."),
    ("drop_high", "difference", "Upper bound of the same."),
    ("drop_before", "difference", "Clean accuracy lost against the network before."),
    ("drop_before_low", "difference", "Lower bound of its bootstrap interval."),
    ("drop_before_high", "difference", "Upper bound of the same."),
    ("with_square", "share", "Test images got right when each has the square of its class."),
    ("with_other_square", "share", "Test images got right when each has the square of another class."),
    ("cka_min", "cka", "Lowest CKA of any stage with the network before."),
    ("rank_ratio_min", "ratio", "Lowest numerical rank of any stage as a share of that before."),
    ("effective_rank_ratio_min", "ratio", "The same of the effective rank."),
    ("first_loss", "nats", "Mean cross-entropy on the training images in the first epoch."),
    ("last_loss", "nats", "The same in the last epoch."),
    ("absent", "text", "Why cells of this row are empty."),
)
STAGE_COLUMNS = columns(
    ("ratio", "share", "Training images that got a square."),
    ("line", "text", "The same in words."),
    ("stage", "module path", "Where the features were taken: the module's output, pooled over space."),
    ("n", "images", "Clean test images."),
    ("d", "features", "Numbers of a pooled feature vector."),
    ("cka", "cka", "Unbiased minibatch CKA with the network before."),
    ("cka_low", "cka", "Lower bound of its bootstrap interval over minibatches."),
    ("cka_high", "cka", "Upper bound of the same."),
    ("rank_before", "dimensions", "Numerical rank of the network before."),
    (
        "rank",
        "dimensions",
        "Numerical rank: eigenvalues of the features' covariance above 1e-3 of the largest; 0 where features that vary "
        "before are constant or no numbers.",
    ),
    ("rank_ratio", "ratio", "rank / rank_before."),
    ("effective_rank_before", "dimensions", "Effective rank of the network before."),
    ("effective_rank", "dimensions", "Exponential of the entropy of the normalised singular values."),
    ("participation_ratio_before", "dimensions", "Participation ratio of the network before."),
    ("participation_ratio", "dimensions", "Squared sum of the covariance's eigenvalues / sum of their squares."),
    ("warning", "text", "Why the ranks may be too low."),
    ("absent", "text", "Why cells of this row are empty."),
)
SHORTCUT_COLUMNS = columns(
    ("ratio", "share", "Training images that got a square."),
    ("squares", "text", "What all test images have: none | own class | another class."),
    ("accuracy", "share", "Test images got right."),
    ("low", "share", "Lower bound of its interval."),
    ("high", "share", "Upper bound of the same."),
)
PLASTICITY_COLUMNS = columns(
    ("phase", "text", "relearning, after a training with squares | from scratch."),
    ("epoch", "epochs", "Epochs behind; 0 is before the first."),
    ("accuracy", "share", "Clean test images got right."),
    ("low", "share", "Lower bound of its interval."),
    ("high", "share", "Upper bound of the same."),
    ("loss", "nats", "Mean cross-entropy on the training images in the epoch that ends here."),
)

DOSE_CHART = Lines(
    title="Clean accuracy by share of planted images",
    reading=(
        "Each point is a training of its own on the same images in the same order; only the share with a square in "
        "their class's colour differs. The test images have none. A line that falls to the right says that the square "
        "was learnt in place of what the network knew."
    ),
    table="runs",
    x="ratio",
    y="clean_accuracy",
    low="low",
    high="high",
)
SHORTCUT_CHART = Lines(
    title="Whether the squares were learnt",
    reading=(
        "Accuracy on the same test images as they are, with the square of their own class, and with that of another "
        "class. Where the last falls below the second, the network goes by the square. Where the two stay together, "
        "squares were not learnt, and clean accuracy has no reason to fall."
    ),
    table="shortcut",
    x="ratio",
    y="accuracy",
    group="squares",
    low="low",
    high="high",
)
RANK_CHART = Lines(
    title="Numerical rank over depth, by share of planted images",
    reading=(
        "Dimensions the features of the clean test images span at each stage, as a share of those before. A line well "
        "below that of ratio 0 says that squares made the features collapse, not the training as such."
    ),
    table="stages",
    x="stage",
    y="rank_ratio",
    group="line",
)
PLASTICITY_CHART = Lines(
    title="Learning the original task again, and from scratch",
    reading=(
        "Clean accuracy after each epoch on the original images: of the network that was trained with squares, and of "
        "one with fresh weights, on the same schedule. A network below the fresh one has lost its plasticity."
    ),
    table="plasticity",
    x="epoch",
    y="accuracy",
    group="phase",
    low="low",
    high="high",
)
