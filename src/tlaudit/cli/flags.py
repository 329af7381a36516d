"""Every option of the command line, declared once: which place of the configuration it fills."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

MODELS, DATA, PREPROCESS, EXECUTION = "models", "data", "preprocess", "execution"
LINGERING, DISTRACTION, SCREEN = "lingering", "distraction", "screen"
EROSION, STRESS, STRESS_TRAINING = "erosion", "stress", "stress.training"
AUDIT = "audit"
REPAIR, REPAIR_TRAINING, REPAIR_JUDGE = "repair", "repair.training", "repair.judge"
REPAIR_METHODS = tuple(
    f"repair.{method}" for method in ("ldifs", "l2sp", "lwf", "wise_ft", "composites", "unlearn", "l1", "prune")
)


class Flag(NamedTuple):
    """One option: its names on the command line, its place in the configuration, its type and its help."""

    names: str
    key: str
    kind: Any
    help: str

    @property
    def parameter_name(self) -> str:
        """Of the command's parameter: one for each option, however many sections share it."""
        return self.names.split()[0].split("/")[0].strip("-").replace("-", "_")

    def parameter(self, section: str) -> inspect.Parameter:
        """The option as a parameter of a typer command; not given is ``None``, so that the file can speak."""
        # Taken as text: an empty path would be the current folder before anybody could refuse it.
        kind, metavar = (str, "PATH") if self.kind is Path else (self.kind, None)
        option = typer.Option(*self.names.split(), help=self.help, metavar=metavar, rich_help_panel=_PANELS[section])
        return inspect.Parameter(
            self.parameter_name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, option],
        )


_PANELS = {
    MODELS: "Networks",
    DATA: "Images: folders, tar shards, or CSV and Parquet manifests (docs/data.md)",
    PREPROCESS: "Preprocessing (from the weights' metadata, else ImageNet's, where not given)",
    EXECUTION: "How the work is done",
    LINGERING: "Which classes linger (docs/methods.md)",
    DISTRACTION: "Composites and maps (docs/methods.md)",
    SCREEN: "Which images are flagged, and how well that works (docs/methods.md)",
    EROSION: "Which features are compared (docs/methods.md)",
    STRESS: "Which squares are planted, and what is measured (docs/methods.md)",
    STRESS_TRAINING: "How the network is trained",
    AUDIT: "Which checks are made; their own options are in the file",
    REPAIR: "What is repaired, and how (docs/methods.md)",
    REPAIR_TRAINING: "How the network is trained",
    REPAIR_JUDGE: "How networks are judged before and after",
    **dict.fromkeys(REPAIR_METHODS, "Options of the methods (docs/methods.md)"),
}

_TRIPLE = tuple[float, float, float]

_INTERVALS = (
    Flag("--bootstrap", "bootstrap", int, "Resamples of a bootstrap interval."),
    Flag("--confidence", "confidence", float, "Coverage of the intervals."),
)

_PER_CLASS = Flag("--per-class", "per_class", int, "Composites of each class.")
_OVERLAYS = (
    Flag("--overlay-scale", "overlay_scale", float, "Side of the overlay as a share of the picture's."),
    Flag("--overlays", "overlays", int, "At most so many target images serve as overlays."),
)

_STAGES = Flag("--stages", "stages", str, "Module paths, separated by commas; default: of the architecture's family.")
_TRAINING = (
    Flag("--epochs", "epochs", int, "Passes over the training images; default 3."),
    Flag("--optimizer", "optimizer", str, "adamw or sgd; default adamw."),
    Flag("--learning-rate", "learning_rate", float, "Highest learning rate; default 0.0003."),
    Flag("--weight-decay", "weight_decay", float, "Decay of the weights; default 0.01."),
    Flag("--beta1", "beta1", float, "Decay of the mean of the gradient, with adamw only; default 0.9."),
    Flag("--beta2", "beta2", float, "Decay of the mean of its square, with adamw only; default 0.999."),
    Flag("--eps", "eps", float, "Added to the root of that square, with adamw only; default 1e-08."),
    Flag("--amsgrad/--no-amsgrad", "amsgrad", bool, "Divide by the largest such root so far, adamw; off by default."),
    Flag("--momentum", "momentum", float, "Momentum, with sgd only; default 0.9."),
    Flag("--dampening", "dampening", float, "Share of the gradient kept out of it, with sgd only; default 0."),
    Flag("--nesterov/--no-nesterov", "nesterov", bool, "Nesterov's momentum, with sgd only; off by default."),
    Flag(
        "--warmup", "warmup", float, "Share of the steps in which the learning rate rises; then it falls; default 0.1."
    ),
    Flag("--clip", "clip", float, "Largest norm of the gradient, 0 for any; default 1."),
    Flag("--batch-norm", "batch_norm", str, "train, or frozen: batch norms stay as they are; default train."),
    Flag("--flip/--no-flip", "flip", bool, "Mirror half of the training images, the default."),
    Flag(
        "--crop-scale", "crop_scale", float, "Cut out a random window of at least this share of the image; default 1."
    ),
    Flag("--jitter", "jitter", float, "Change brightness, contrast and saturation by up to this share; default 0."),
    Flag("--train-batch-size", "batch_size", int, "Training images in a step; default 32."),
)

FLAGS: dict[str, tuple[Flag, ...]] = {
    MODELS: (
        Flag("--source", "source", str, "Pretrained network: file, torchvision:NAME[:WEIGHTS] or timm:NAME."),
        Flag("--finetuned", "finetuned", str, "The network to be released, finetuned from the source."),
        Flag("--baseline", "baseline", str, "Control: same architecture, trained on the target data from scratch."),
        Flag("--arch", "arch", str, "torchvision name, timm:NAME, package.module:factory or file.py:factory."),
        Flag("--source-arch", "source_arch", str, "The same for the source, where it differs."),
        Flag("--baseline-arch", "baseline_arch", str, "The same for the baseline, where it differs."),
        Flag("--head", "head", str, "Module path of the classification head, e.g. classifier.6."),
        Flag("--use-ema/--no-use-ema", "use_ema", bool, "Take averaged weights where a checkpoint holds both."),
        Flag("--allow-pickle/--no-allow-pickle", "allow_pickle", bool, "Run the code a pickle asks for. Dangerous."),
    ),
    DATA: (
        Flag("--source-data", "source", Path, "Class folders of source images; some classes are enough."),
        Flag("--target-data", "target", Path, "Images the network was finetuned on, in class folders or flat."),
        Flag("--val-data", "val", Path, "Class folders of held-out target images."),
        Flag("--class-map", "class_map", Path, "JSON or CSV: source folder to class index or name."),
        Flag("--strict-data/--no-strict-data", "strict", bool, "An unreadable image ends the run with exit code 3."),
        Flag("--limit", "limit", int, "At most so many images of each set, a seeded sample."),
    ),
    PREPROCESS: (
        Flag("--resize", "resize", int, "Short side in pixels."),
        Flag("--crop", "crop", int, "Side of the centre crop in pixels."),
        Flag("--interpolation", "interpolation", str, "nearest, bilinear, bicubic, lanczos …"),
        Flag("--mean", "mean", _TRIPLE, "Mean of R, G, B, of values in [0, 1]."),
        Flag("--std", "std", _TRIPLE, "Spread of R, G, B."),
    ),
    EXECUTION: (
        Flag("--device", "device", str, "auto, cpu, cuda, cuda:N or mps."),
        Flag("--precision", "precision", str, "fp32, bf16 or fp16."),
        Flag("--batch-size -b", "batch_size", int, "Images in a forward pass, and in a minibatch of CKA."),
        Flag("--workers -j", "workers", int, "Processes that decode images."),
        Flag("--seed", "seed", int, "For every random choice."),
        Flag("--cache/--no-cache", "cache", bool, "Find again what an earlier run computed, the default."),
        Flag("--cache-dir", "cache_dir", Path, "Folder of the cache; default the user's, docs/cache.md."),
        Flag("--cache-size", "cache_size", float, "Most GiB of it, the oldest go first; default 5."),
        Flag("--fuse/--no-fuse", "fuse", bool, "Fold batch norms into convolutions for predictions."),
        Flag("--compile/--no-compile", "compile", bool, "Compile networks for predictions: for 10000 images or more."),
    ),
    LINGERING: (
        Flag("--k", "k", int, "An image counts for its k most probable source classes."),
        Flag("--v-lo", "v_lo", float, "Highest prevalence of an absent class, as a share of the target images."),
        Flag("--v-lo-count", "v_lo_count", int, "The same as a number of images."),
        Flag("--p-lo", "p_lo", float, "A class lingers above this mean probability; default 10 / classes."),
        *_INTERVALS,
    ),
    DISTRACTION: (
        Flag("--lingering", "lingering", Path, "Result of tlaudit lingering (JSON), instead of running it."),
        _PER_CLASS,
        Flag("--max-classes", "max_classes", int, "At most so many lingering classes."),
        Flag("--class-choice", "class_choice", str, "worst (best recognised ones) or sample, if not all are taken."),
        Flag("--common-classes", "common_classes", int, "Classes the target data shows, as a control; 0 for none."),
        *_OVERLAYS,
        Flag("--margin", "margin", float, "Frame around the overlay that is no background, share of the side."),
        Flag("--percentile", "percentile", float, "Pixels above it, over the background, are top pixels."),
        Flag("--method", "method", str, "gradcam, or a method of pytorch-grad-cam: gradcam++, layercam, hirescam …"),
        Flag("--layer", "layer", str, "Module path whose output is explained; found by itself where left out."),
        Flag("--gallery", "gallery", int, "Classes shown in pictures."),
        Flag("--save-composites", "save_composites", Path, "Folder for the composites and composites.csv."),
        Flag("--save-rows", "save_rows", Path, "CSV or Parquet file, one row a composite."),
        *_INTERVALS,
    ),
    SCREEN: (
        Flag("--lingering", "lingering", Path, "Result of tlaudit lingering (JSON) about these networks."),
        Flag("--threshold", "threshold", float, "Flag above this score; default the result's p_lo."),
        Flag("--calibrate", "calibrate", Path, "Folder of clean target images that the threshold is set by."),
        Flag("--alpha", "alpha", float, "At most this share of the calibration images is flagged; default 0.01."),
        _PER_CLASS,
        *_OVERLAYS,
        Flag("--summary", "summary", Path, "JSON file for threshold, rates and provenance."),
        Flag("--fail-on-flag/--no-fail-on-flag", "fail_on_flag", bool, "Exit code 1 when an image is flagged."),
        *_INTERVALS,
    ),
    EROSION: (
        Flag("--data", "data", Path, "Images on which features are compared: of the original task, or any."),
        _STAGES,
        Flag("--full-matrix/--no-full-matrix", "full_matrix", bool, "Compare every stage with every stage."),
        Flag("--features", "features", str, "pooled or flat: the features whose rank is taken."),
        Flag("--probe/--no-probe", "probe", bool, "Fit linear probes on the features of both networks."),
        *_INTERVALS,
    ),
    STRESS: (
        Flag("--ratios", "ratios", str, "Shares of the training images that get a square, separated by commas."),
        Flag("--square", "square", float, "Side of the square as a share of the picture's; default 0.125."),
        Flag("--bisect", "bisect", float, "Find the smallest ratio at which clean accuracy falls by more than this."),
        Flag("--plasticity/--no-plasticity", "plasticity", bool, "Learn the original task again, and from scratch."),
        _STAGES,
        Flag("--test-data", "test", Path, "Clean test images; default a fifth of the source images, held out."),
        Flag("--runs", "runs", Path, "Folder in which finished runs are kept, and found again."),
        *_INTERVALS,
    ),
    STRESS_TRAINING: _TRAINING,
    AUDIT: (
        Flag(
            "--checks",
            "checks",
            str,
            "lingering, distraction, erosion, stress, separated by commas; default the first three, and stress where "
            "the file has a section of it.",
        ),
    ),
    REPAIR: (
        Flag("--method", "methods", str, "Method, or several separated by commas; default ldifs."),
        Flag("--init", "init", str, "Network to begin with: source-lp, source or finetuned; default by method."),
        Flag("--train-data", "train", Path, "Class folders of training images."),
        Flag("--keep", "keep", str, "Epoch that is kept: best on the validation images, the default, or last."),
        Flag("--patience", "patience", int, "Stop after so many epochs without a better one; 0, the default: never."),
        Flag("--save-every", "save_every", int, "Steps between two saved states; default 50; 0: once an epoch."),
    ),
    REPAIR_TRAINING: _TRAINING,
    REPAIR_JUDGE: (
        Flag("--judge-classes", "classes", int, "At most so many classes that linger before; default 100."),
        Flag("--per-class", "per_class", int, "Composites of each; default 5."),
        Flag("--probe-data", "probe", Path, "Class folders for linear probes; default the source images."),
        *_INTERVALS,
    ),
    "repair.ldifs": (
        Flag("--ldifs-weight", "weight", float, "Weight of the distance of features; default 10."),
        Flag("--ldifs-reduction", "reduction", str, "channel, official or sum; default channel."),
        Flag("--ldifs-stages", "stages", str, "Module paths, separated by commas; default all of the family's."),
    ),
    "repair.l2sp": (
        Flag("--l2sp-alpha", "alpha", float, "Weight of the distance of the backbone's weights; default 0.1."),
        Flag("--l2sp-beta", "beta", float, "Weight of the head's weights; default 0.01."),
    ),
    "repair.lwf": (
        Flag("--lwf-weight", "weight", float, "Weight of the divergence of answers; default 1."),
        Flag("--lwf-temperature", "temperature", float, "Temperature of the answers; default 2."),
    ),
    "repair.wise_ft": (
        Flag("--wise-ft-alpha", "alpha", float, "Share of the finetuned weights; default 0.5."),
        Flag("--wise-ft-sweep", "sweep", str, "Shares tried beside it, separated by commas; default 0 to 1 by 0.1."),
    ),
    "repair.composites": (
        Flag("--composite-share", "share", float, "Share of each batch that is shown as composites; default 0.5."),
        Flag("--composite-scale", "overlay_scale", float, "Side of the overlay, share of the picture's; default 0.4."),
    ),
    "repair.unlearn": (
        Flag("--unlearn-weight", "weight", float, "Weight of the divergence from uniform answers; default 1."),
    ),
    "repair.l1": (Flag("--l1-weight", "weight", float, "Weight of the mean activation; default 0.0001."),),
    "repair.prune": (
        Flag("--prune-percentile", "percentile", float, "Channels above it are active; default 90."),
        Flag("--prune-stages", "stages", str, "Module paths, separated by commas; default the last stage."),
    ),
}
