"""Table of the measures by name: function, direction and meaning of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trainer.metrics.accuracy import hits
from trainer.metrics.artifacts import periodic_artifacts
from trainer.metrics.distribution import fid, inception_score, kid, kid_subsets
from trainer.metrics.fidelity import delta_e_2000, delta_e_2000_product, grey_cast, ms_ssim, psnr, ssim, white_lost
from trainer.metrics.memorisation import memorisation
from trainer.metrics.naturalness import niqe
from trainer.metrics.neighbours import density_coverage, precision_recall
from trainer.metrics.perceptual import feature_distance

OF_TRAINING = "train_"  # prefix of the full names of measures of pictures whose targets were trained on
OF_REAL = "real_"  # prefix of the full names of measures of real pictures, which rank nothing


@dataclass(frozen=True, eq=False)  # one object per measure
class Measure:
    """A measure. Its full names add the protocol (`trainer.metrics.names` builds them).

    Args:
        name: beginning of its full names.
        function: computes it, perhaps with others. protocol: arguments of the function for this measure.
        better: 1 if more is better, -1 if less is better, 0 if it ranks nothing.
        meaning: for people, one line. source: paper or standard.
        equal_counts: whether values compare only at equal numbers of pictures.
        aim: the best value in words, if it is neither the largest nor the smallest.
    """

    name: str
    function: Callable
    better: int
    meaning: str
    source: str
    protocol: Mapping[str, str] = field(default_factory=dict)
    equal_counts: bool = False
    aim: str = ""

    @property
    def direction(self) -> str:
        """The better direction in words: "more", "less", or the aim."""
        return self.aim or ("more" if self.better > 0 else "less")


# fmt: off
MEASURES = (
    KID := Measure("kid", kid, -1, "distance of the two distributions, 0 for equal ones", "Binkowski et al. 2018"),
    KID_SUBSETS := Measure("kid_subsets", kid_subsets, -1, "the same over random subsets, as papers print it", "Binkowski et al. 2018"),
    FID := Measure(
        "fid", fid, -1, "distance of two Gaussians; compare only at equal numbers of pictures", "Heusel et al. 2017", equal_counts=True
    ),
    PRECISION := Measure("precision", precision_recall, 1, "share of made pictures that lie among real ones", "Kynkäänniemi et al. 2019"),
    RECALL := Measure(
        "recall", precision_recall, 1, "share of real pictures that could have been made", "Kynkäänniemi et al. 2019", equal_counts=True
    ),
    DENSITY := Measure(
        "density", density_coverage, 1, "how densely made pictures lie among real ones, about 1 for equal distributions",
        "Naeem et al. 2020",
    ),
    COVERAGE := Measure(
        "coverage", density_coverage, 1, "share of real pictures with a made one near", "Naeem et al. 2020", equal_counts=True
    ),
    MEMORISATION := Measure(
        "memorisation", memorisation, 0,
        "chance that a made picture is nearer to a training picture than a held-out one is; 0.5: new, 1: copied",
        "Meehan et al. 2020", aim="0.5",
    ),
    INCEPTION_SCORE := Measure(
        "inception_score", inception_score, 1, "confident classes for each picture, even over all; does not use real pictures",
        "Salimans et al. 2016",
    ),
    ATTRIBUTE_ACCURACY := Measure(
        "attribute_accuracy", hits, 1, "share of made pictures that show what was asked for, by a small classifier trained on real ones",
        "classifier of trainer/features/attributes.py",
    ),
    PERIODIC_ARTIFACTS := Measure(
        "periodic_artifacts", periodic_artifacts, -1,
        "power at the frequencies of a grid to that around them; less is better, down to the value of real pictures",
        "Odena et al. 2016", aim="as real",
    ),
    PSNR_Y := Measure("psnr_y", psnr, 1, "decibels of signal to error on luma", "255² / mean squared error", {"space": "y"}),
    PSNR_RGB := Measure("psnr_rgb", psnr, 1, "decibels of signal to error on RGB", "255² / mean squared error", {"space": "rgb"}),
    SSIM_Y := Measure("ssim_y", ssim, 1, "structural similarity on luma, 1 for equal pictures", "Wang et al. 2004", {"space": "y"}),
    SSIM_RGB := Measure("ssim_rgb", ssim, 1, "structural similarity on RGB, 1 for equal pictures", "Wang et al. 2004", {"space": "rgb"}),
    MS_SSIM_Y := Measure("ms_ssim_y", ms_ssim, 1, "structural similarity on luma over five scales", "Wang et al. 2003", {"space": "y"}),
    DELTA_E := Measure("delta_e_2000", delta_e_2000, -1, "colour difference; about 1 can just be seen", "Sharma et al. 2005"),
    DELTA_E_PRODUCT := Measure(
        "delta_e_2000_product", delta_e_2000_product, -1, "the same over the product alone, where there is a mask", "Sharma et al. 2005"
    ),
    WHITE_LOST := Measure(
        "white_lost", white_lost, -1, "share of pixels that are white in the target and not in the picture", "level 255 in all channels"
    ),
    GREY_CAST := Measure(
        "grey_cast", grey_cast, -1, "colour difference that a model adds to flat greys; under 1 it cannot be seen", "Sharma et al. 2005"
    ),
    FEATURE_DISTANCE := Measure(
        "feature_distance", feature_distance, -1, "distance in the layers of the feature network (the formula of LPIPS)",
        "Zhang et al. 2018",
    ),
    LPIPS := Measure("lpips", feature_distance, -1, "distance in layers, weighted by human judgement", "Zhang et al. 2018, version 0.1"),
    NIQE := Measure("niqe", niqe, -1, "distance from the statistics of sharp photos, without a target", "Mittal et al. 2013"),
)
# fmt: on


def measure_of(full_name: str) -> Measure | None:
    """Returns the measure of a full name, the one with the longest name that begins it; None for other names."""
    plain = full_name.removeprefix(OF_TRAINING)
    fitting = [measure for measure in MEASURES if f"{plain}_".startswith(f"{measure.name}_")]
    return max(fitting, key=lambda measure: len(measure.name), default=None)


def better(full_name: str) -> int:
    """Returns 1 for a full name whose measure should be large, -1 for small, 0 for one that ranks nothing."""
    measure = measure_of(full_name)
    return measure.better if measure else 0


def of_real(full_name: str) -> str:
    """Returns the full name of the same measure of real pictures in a run's log."""
    return OF_REAL + full_name.removeprefix(OF_TRAINING)
