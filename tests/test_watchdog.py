"""What the watchdog finds in histories made up for the purpose, and in trainings that really go wrong, or do not."""

import math

import pytest

from trainer.errors import Stopped
from trainer.metrics.estimate import Estimate
from trainer.runs.history import History, LoggedEvaluation
from trainer.training import watchdog
from trainer.training.watchdog import Watchdog, findings

METRIC = "kid_toy-1_n40"


def training(count=30, **values):
    """Lines of training, 500 pictures apart; a value may be a function of the line's number."""
    healthy = {"critic_adversarial": 0.6, "critic_confidence": 0.6, "generator_adversarial": 0.8} | values
    return [
        {"step": 10 * i, "images": 500 * i}
        | {name: value(i) if callable(value) else value for name, value in healthy.items()}
        for i in range(1, count + 1)
    ]


def evaluated(**series):
    """Evaluations with a standard error of 0.01 each; `kid` stands for the full name, and so on."""
    names = {name: f"{name}_toy-1_n40" for name in series}
    length = len(next(iter(series.values())))
    return [
        LoggedEvaluation(100 * i, 5000 * i, "toy", {names[name]: Estimate(values[i - 1], 0.01) for name, values in series.items()})
        for i in range(1, length + 1)
    ]  # fmt: skip


def named(lines=(), evaluations=()):
    return {finding.name: finding for finding in findings(History(list(lines), list(evaluations)), METRIC)}


def test_a_healthy_history_is_not_spoken_of():
    spreads = training(sample_spread=lambda i: 0.1 + 0.02 * i, ada_strength=lambda i: min(0.02 * i, 0.5))
    good = evaluated(
        kid=[0.5, 0.3, 0.2, 0.21, 0.19], recall=[0.0, 0.1, 0.2, 0.25, 0.2], memorisation=[0.1, 0.3, 0.45, 0.5, 0.52]
    )
    assert named(spreads, good) == {}
    assert named() == {}


def test_a_number_that_is_not_finite_is_named_the_term_before_the_sum():
    found = named([*training(3), *training(1, critic_loss=math.nan, critic_r1=math.inf)])
    assert found["divergence"].fatal
    assert found["divergence"].sentence.startswith("critic_r1 is inf at step 10 (500 pictures)")
    assert "learning rate" in found["divergence"].sentence


@pytest.mark.parametrize(
    ("spreads", "stops"),
    [([0.3, 0.9, 0.01, 0.019], True), ([0.3, 0.9, 0.01, 0.021], False), ([0.01] * 4, False), ([0.9, 0.01], False),
     ([0.9, 0.01, 0.01, 0.5], False), ([0.19, 0.01, 0.01], False)],
)  # fmt: skip
def test_collapse_is_two_sheets_alike_after_ones_that_were_not(spreads, stops):
    lines = []
    for spread in spreads:  # a sheet now and then, lines without one between them
        lines += [*training(2), *training(1, sample_spread=spread)]
    assert ("collapse" in named(lines)) is stops
    assert not stops or (named(lines)["collapse"].fatal and "--augment ada" in named(lines)["collapse"].sentence)


@pytest.mark.parametrize(
    ("recalls", "seen", "fatal"),
    [([0.3, 0.4, 0.03, 0.0], True, False), ([0.4, 0.01, 0.05, 0.01], False, False), ([0.4, 0.0], False, False),
     ([0.04, 0.0, 0.0], False, False), ([0.4, 0.0, 0.01, 0.0, 0.0], True, True), ([0.0] * 5, False, False)],
)  # fmt: skip
def test_lost_variety_is_recall_gone_twice_and_pointless_after_four_times(recalls, seen, fatal):
    found = named(evaluations=evaluated(recall=recalls))
    assert ("lost variety" in found) is seen
    assert not seen or found["lost variety"].fatal is fatal


OBJECTIVES = {  # what the lines hold when the critic wins, and in a draw
    "non_saturating": ({"critic_adversarial": 0.01, "generator_adversarial": 9.0}, {"critic_adversarial": 1.39}),
    "hinge": ({"critic_adversarial": 0.0, "generator_adversarial": 6.0}, {"critic_adversarial": 2.0}),
    "lsgan": ({"critic_adversarial": 0.002, "generator_adversarial": 0.5}, {"critic_adversarial": 0.25}),
    "minimax": ({"critic_adversarial": 0.01, "generator_adversarial": -0.01}, {"critic_adversarial": 1.39}),
    "relativistic": ({"critic_adversarial": 0.02, "generator_adversarial": 4.0}, {"critic_adversarial": 0.69}),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_winning_critic_under_each_objective(objective):
    won, drawn = ({"critic_confidence": 0.99} | values for values in OBJECTIVES[objective])
    assert "winning critic" in named(training(**won))
    assert not named(training(**won))["winning critic"].fatal
    assert named(training(**drawn)) == {}  # sure, and right no more often for it
    assert named(training(**won | {"critic_confidence": 0.9})) == {}
    assert named(training(9, **won)) == {}  # not for long enough
    assert named([*training(20, **won), *training(1)]) == {}  # it has passed


def test_a_critic_whose_generator_catches_up_does_not_win():
    falling = training(
        critic_adversarial=0.01, critic_confidence=0.99, generator_adversarial=lambda i: 20.0 * math.exp(-i / 10)
    )
    assert named(falling) == {}


def test_the_critic_of_a_wgan_is_not_judged():
    wasserstein = training(critic_adversarial=lambda i: -0.02 if i % 7 == 0 else 0.001, critic_confidence=1.0)
    assert named(wasserstein) == {}


def test_models_without_a_critic_are_not_judged_by_one():
    lines = [{"step": i, "images": 500 * i, "loss": 0.0} for i in range(1, 30)]
    assert named(lines) == {}


def test_augmentation_at_its_end_means_too_few_pictures():
    assert "more pictures" in named(training(ada_strength=1.0))["too few pictures"].sentence.lower()
    assert named(training(ada_strength=lambda i: 1.0 if i < 30 else 0.9)) == {}


@pytest.mark.parametrize(
    ("chances", "seen"),
    [([0.4, 0.54, 0.56], True), ([0.54, 0.4, 0.54], False), ([0.4, 0.56], False), ([0.529, 0.529], False)],
)
def test_memorising_is_beyond_three_errors_twice_in_a_row(chances, seen):
    found = named(evaluations=evaluated(memorisation=chances))
    assert ("memorising" in found) is seen
    assert not seen or (not found["memorising"].fatal and "0.56 ± 0.01" in found["memorising"].sentence)


def gridded(*values, error=0.02, real=1.2):
    name = "periodic_artifacts_p4"
    return [
        LoggedEvaluation(i, 5000 * i, "toy", {name: Estimate(value, error), f"real_{name}": Estimate(real, 0.1)})
        for i, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ([1.2, 2.6, 2.6], True),
        ([2.6, 2.6, 2.3], False),
        ([1.0, 2.6], False),
        ([2.43, 2.43], False),
        ([0.9, 0.8], False),
    ],
)
def test_a_grid_is_over_twice_that_of_real_pictures_twice_in_a_row(values, seen):
    found = named(evaluations=gridded(*values))
    assert ("grid" in found) is seen
    assert not seen or (not found["grid"].fatal and "is 2.6, and 1.2 for real pictures" in found["grid"].sentence)


def test_a_grid_that_real_pictures_have_too_is_none_of_the_model():
    assert named(evaluations=gridded(5.0, 5.0, 5.0, real=4.0)) == {}


@pytest.mark.parametrize(
    ("kids", "seen"),
    [([0.5, 0.2, 0.24, 0.25, 0.3], True), ([0.5, 0.2, 0.24, 0.25], False), ([0.5, 0.2, 0.22, 0.25, 0.3], False)],
)
def test_past_its_best_is_clearly_worse_three_times(kids, seen):
    found = named(evaluations=evaluated(kid=kids))
    assert ("past its best" in found) is seen
    assert not seen or "0.2 at 10,000 pictures" in found["past its best"].sentence


def test_a_measure_that_is_better_when_more_falls_past_its_best():
    evaluations = [LoggedEvaluation(i, i, "toy", {METRIC.replace("kid", "psnr_y"): Estimate(value, 0.01)})
                   for i, value in enumerate([20.0, 30.0, 29.0, 28.0, 27.0])]  # fmt: skip
    assert watchdog.past_the_best(evaluations, METRIC.replace("kid", "psnr_y")) is not None
    assert watchdog.past_the_best(evaluations[:2] * 3, METRIC.replace("kid", "psnr_y")) is None


def test_a_finding_is_said_once_until_it_has_been_gone():
    recorded, said = [], []
    history = History()
    dog = Watchdog(history, METRIC, [lambda *told: recorded.append(told)], lambda *told: said.append(told))
    strengths = [1.0] * 15 + [0.5] + [1.0] * 12
    for i, strength in enumerate(strengths, 1):
        dog(i, 500 * i, {"ada_strength": strength})
    assert [(step, name) for step, _, name, _ in said] == [(10, "too few pictures"), (26, "too few pictures")]
    assert recorded == said
    resumed = Watchdog(history, METRIC, [], lambda *told: pytest.fail("said again"))
    resumed(29, 500 * 29, {"ada_strength": 1.0})


def test_a_fatal_finding_is_recorded_and_stops_the_run():
    recorded = []
    dog = Watchdog(History(), None, [lambda *told: recorded.append(told)], lambda *told: pytest.fail("said twice"))
    with pytest.raises(Stopped, match="loss is nan at step 3"):
        dog(3, 24, {"loss": math.nan})
    assert [(step, images, name) for step, images, name, _ in recorded] == [(3, 24, "divergence")]
