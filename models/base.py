"""One training step, written once.

`ImageModel` holds what every family has: its configuration, the step counter, the random numbers of a step, the averaged
network. `OnePlayer` minimises one sum of terms; `TwoPlayer` plays a generator against a critic. Tapes, reduction over the batch
and over replicas, loss scaling, averaging, several critic steps, lazy terms and the augmentation of what the critic sees live
here and nowhere else; a family says only what is minimised, as named per-example terms.
"""

import functools
import threading
from dataclasses import dataclass

import keras
import tensorflow as tf

from data import batch as contract
from data.errors import UserError
from data.facts import UNKNOWN, Facts
from data.random import StepRandom
from data.words import PADDING, TOKENS
from models import augment as augmentations
from models.catalogue import AUGMENTS
from models.features.network import FeatureNetwork, digest
from models.lora import Adaptation
from models.loss_scale import LossScale
from models.optimizers import rebuilt

UNKNOWN_SHARE = (
    0.1  # of the rows of an optional condition, hidden in training: Ho & Salimans 2022 (arXiv 2207.12598), section 4.2
)
ADA_TARGET = 0.6  # Karras et al. 2020 (ADA), section 3.1: where the sign of the critic's answers should stay
# The same critic's sign of real - fake, were its answers normal: erf(sqrt(2) * erfinv(ADA_TARGET)).
ADA_TARGET_PAIRS = 0.766
ADA_EVERY = 4  # steps between two changes of p


@dataclass(frozen=True)
class Player:
    """One side of a step: the networks that move in its turn, and by which optimiser.

    A term named in `lazy` is computed on every `every`-th step only, and multiplied by `every` (lazy regularisation: Karras et
    al. 2020, StyleGAN2, appendix B).
    """

    networks: tuple[keras.Model, ...]
    optimizer: keras.optimizers.Optimizer
    every: int = 1
    lazy: tuple[str, ...] = ()

    @property
    def variables(self):
        return [weight for network in self.networks for weight in network.trainable_weights]


class ImageModel(keras.Model):
    """Base class of every family.

    Args:
        config: the family's frozen dataclass.
        facts: the conditions that the model is told, a `data.facts.Facts`.
        seed: int, from which all random numbers of training follow, together with the step.
        parent: for a family with `WANTS`, the trained `ImageModel` of another run, whose family has that name in its `GIVES`. It is frozen.

    A family takes `task`, `sample(batch)` and `signatures()` from its task's class in `models.tasks`, and sets in `__init__` its
    optimisers and `self.network, self.ema = self.with_ema(...)`: what is trained, and its moving average, which is served.
    """

    CONDITIONS = False  # whether it can be told facts of the data
    WORDS = None  # "optional" if it can be told the words of captions too, "needed" if it must be
    KEYS = ()  # of `data.batch.KEYS`: what the family reads of a batch beside what its task does
    WANTS = None  # name of the interface that the model of another run has to lend it, as `self.parent`
    GIVES = ()  # names of the interfaces that its own runs lend: it has their methods
    # "set": pictures made of others are measured as a set, and not each against its target; "pairs": each is measured against the picture
    # that it is made of.
    EVALUATOR = None
    rows_per_step = 1  # batches of `batch_size` rows that one step consumes
    calls = 1  # of the served network, in which it makes a picture
    # Steps that TensorFlow takes in one call: more where a step lasts a few milliseconds only.
    default_steps_per_execution = 1

    def __init__(self, config, *, facts=Facts(), seed=0, parent=None):
        super().__init__(name="model")
        if (parent is None) != (self.WANTS is None):
            raise ValueError(f"{type(self).__module__} wants {self.WANTS} of a parent, and was given {parent}")
        if facts and not self.CONDITIONS:
            raise ValueError(f"{type(self).__module__} takes no conditions, and was given {', '.join(facts.keys)}")
        if facts.words and not self.WORDS or self.WORDS == "needed" and not facts.words:
            raise ValueError(
                f"{type(self).__module__} takes {'words' if self.WORDS else 'no words'}, and was given {facts}"
            )
        self.config = config
        self.facts = facts
        self.seed = seed
        self.step = self._counter("step", "int64")
        self.loss_scale = LossScale() if keras.config.dtype_policy().compute_dtype == "float16" else None
        self.adaptation = None
        self._borrowed = []
        self.parent = None if parent is None else self.frozen(parent)
        self._replica = threading.local()  # of a step: replicas take it in turns, each in a thread of its own
        self.built = True

    @property
    def batch_keys(self):
        """Keys of the batches that it trains on, and no others: of `data.batch`."""
        return (*contract.REQUIRED[self.task], *self.KEYS, *self.facts.keys)

    def with_ema(self, build):
        """(trained, served): two networks of one `build(name)`, alike at the start; or one and the same if nothing is averaged."""
        network = build("network")
        if not self.config.ema_images:
            return network, network
        average = build("ema")
        average.set_weights(network.get_weights())
        return network, average

    def adapt(self, rank):
        """Train the network by changes of its kernels of this rank, see `models.lora`; what is served has kernels as usual.

        Raises:
            UserError: the family cannot be trained so.
        """
        if type(self).followed is not ImageModel.followed:
            raise UserError("--lora: this family serves its network in another form than it trains")
        if self.ema is self.network:
            raise UserError(
                "--lora changes the trained network and serves the averaged one: ema_images must be above 0"
            )
        self.adaptation = Adaptation(self.network, rank)
        self._renew_optimizer()

    def frozen(self, network):
        """The network, borrowed: it never moves and is in no checkpoint. It is exported where a signature reads it.

        Args:
            network: a Keras model, or a `models.features.network.FeatureNetwork`.
        """
        if not isinstance(network, FeatureNetwork):
            network.trainable = False
        self._borrowed.append(network)
        return network

    def borrowed(self):
        """Names of the frozen networks, each with a hash of its weights; sorted."""
        return tuple(sorted(map(self._hashed, self._borrowed)))

    def _hashed(self, network):
        if isinstance(network, FeatureNetwork):
            return network.name
        name = "parent" if network is self.parent else network.name
        return f"{name}-{digest({f'{place:05}': array for place, array in enumerate(network.get_weights())})}"

    def parts(self):
        """{name: network}: the networks that a checkpoint holds, each once. A part may be copied into another run by its name."""
        return {"network": self.network} | ({"ema": self.ema} if self.ema is not self.network else {})

    def initial_state(self):
        """The variables of `state()` that another run with the same networks has too, under the names that it has for them."""
        state = self.state()
        if not self.adaptation:
            return state
        before = {f"network/{place:04d}": variable.value for place, variable in enumerate(self.adaptation.before)}
        return {name: value for name, value in state.items() if not name.startswith("network/")} | before

    def players(self):
        """{name: `Player`}, in the order of their turns."""
        raise TypeError(f"{type(self).__name__} has no players")

    def state(self):
        """Everything a resumed run needs: dict of name -> tf.Variable, the same names in every process.

        The variables of a part or an optimiser are named for it and their place in it (`network/0003`, `critic_adam/0000`), since
        the names that Keras gives count up with every network built; the model's own have names (`step`).
        """
        owners = self.parts() | {player.optimizer.name: player.optimizer for player in self.players().values()}
        if self.loss_scale:
            owners["loss_scale"] = self.loss_scale
        owned = {
            f"{name}/{place:04d}": variable.value
            for name, owner in owners.items()
            for place, variable in enumerate(owner.variables)
        }
        known = {id(variable) for variable in owned.values()}
        known |= {id(variable.value) for network in self._borrowed for variable in getattr(network, "variables", ())}
        inner = {id(variable) for network in self.layers for variable in network.variables}
        others = [variable for variable in self.variables if id(variable.value) not in known]
        if lost := [variable.path for variable in others if id(variable) in inner]:
            raise TypeError(f"{type(self).__module__}: no network of parts() has {', '.join(lost)}")
        own = {variable.name: variable.value for variable in others}
        return own | owned

    @property
    def random(self):
        """The `StepRandom` of this step and replica."""
        return self._replica.random

    def compile(self, *, steps_per_execution=1, run_eagerly=False, jit_compile="auto"):
        """Make `fit` usable. Optimisers and losses are the family's own, so there is nothing else to give."""
        super().compile(
            optimizer=None, steps_per_execution=steps_per_execution, run_eagerly=run_eagerly, jit_compile=jit_compile
        )

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing is left to build when `fit` begins; Keras' own attempt fails on the batches of several workers."""

    def _counter(self, name, dtype="float32"):
        return self.add_weight(
            shape=(), dtype=dtype, initializer="zeros", trainable=False, aggregation="only_first_replica", name=name
        )

    def _begin(self, batch):
        contract.check(batch, self.batch_keys)
        context = tf.distribute.get_replica_context()
        self._replicas = context.num_replicas_in_sync
        replica = 0 if self._replicas == 1 else context.replica_id_in_sync_group
        self._replica.random = StepRandom(self.seed, self.step.value, replicas=self._replicas, replica=replica)
        rows = next(iter(batch.values())).shape[0]
        if rows % self.rows_per_step:
            raise ValueError(f"a batch of {rows} rows cannot be shared evenly by critic_steps={self.rows_per_step}")
        self._replica.recorded = {}
        self._global_rows = float(rows * self._replicas)
        return self._with_unknowns(batch, rows)

    def _with_unknowns(self, batch, rows):
        """The batch with `UNKNOWN_SHARE` of the captions and of each optional condition hidden, so that the model learns to do without."""
        hidden = {}
        if self.facts.words:
            known = self.random.uniform(rows, 1) >= UNKNOWN_SHARE
            hidden[TOKENS] = tf.where(known, batch[TOKENS], PADDING)
        for condition in self.facts:
            if condition.optional:
                known = self.random.uniform(rows) >= UNKNOWN_SHARE
                hidden[condition.name] = tf.where(known, batch[condition.name], UNKNOWN)
        return {**batch, **hidden} if hidden else batch

    def _total(self, terms):
        """The mean over this replica's rows of the sum of the terms, float32 scalar."""
        return tf.add_n([tf.reduce_mean(tf.cast(term, tf.float32)) for term in terms.values()])

    def _turn(self, player, tape, terms):
        """Move a player by the gradients of `terms(due)`, which the tape records; returns {name: float32 scalar} to be logged."""

        def gradients(due):
            self._replica.recorded = {}
            with tape:
                named = self._scaled(player, terms(due), due)
                total = self._total(named)
                # Optimisers add gradients up over replicas, so each replica gives its share of the mean over the global batch.
                loss = total / self._replicas
                if self.loss_scale:
                    loss *= self.loss_scale.scale.value
            logs = {name: tf.reduce_mean(tf.cast(term, tf.float32)) for name, term in named.items()}
            logs |= {name: tf.zeros([]) for name in player.lazy if not due}
            return tape.gradient(loss, variables), logs | self._replica.recorded | {"loss": total}

        variables = player.variables
        if player.every == 1:
            moves, logs = gradients(True)
        else:
            due = self.step.value % player.every == 0
            moves, logs = tf.cond(due, lambda: gradients(True), lambda: gradients(False))
        self._move(player.optimizer, moves, variables)
        return logs

    def _scaled(self, player, terms, due):
        lazy = set(player.lazy)
        if lazy & terms.keys() != (lazy if due else set()):
            raise TypeError(f"{type(self).__module__}: lazy terms are {player.lazy}; due={due} gave {tuple(terms)}")
        return {
            name: term * player.every if name in lazy and player.every > 1 else term for name, term in terms.items()
        }

    def record(self, **scalars):
        """Log float32 scalars that are no terms, within the hooks that give terms; their names must not depend on `due`."""
        self._replica.recorded |= scalars

    def _move(self, optimizer, gradients, variables):
        if self.loss_scale:
            self.loss_scale.apply(optimizer, gradients, variables)
        else:
            optimizer.apply(gradients, variables)

    def observe(self, logs):
        """Keep statistics of a step: called at its end with what is logged, {name: float32 scalar} of this replica.

        Of what happens in the hooks that give terms a variable cannot be told, since lazy terms are computed in a branch.
        """

    def mean_of_replicas(self, value):
        """The mean of a float32 scalar over the replicas; not within the hooks that give terms."""
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, value)

    def _finish(self, logs):
        self.observe(logs)
        if self.ema is not self.network:
            self._follow()
        self.step.assign_add(1)
        # Keras reduces the logs of several workers along an axis, which a scalar does not have.
        strategy = tf.distribute.get_strategy()
        shape = [1] if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else []
        return {name: tf.reshape(tf.reduce_mean(tf.cast(value, tf.float32)), shape) for name, value in logs.items()}

    def _follow(self):
        """Move the average towards the trained network: w' <- w + (w' - w) 0.5^(rows / half-life), both in pictures.

        The half-life grows with the pictures seen (a twentieth of them) until it reaches `config.ema_images`, so that the average
        does not drag its random start along: Karras et al. 2020 (ADA), appendix C. Statistics that are not trained are copied.
        """
        seen = tf.cast(self.step.value + 1, tf.float32) * self._global_rows
        keep = tf.pow(0.5, self._global_rows / tf.minimum(float(self.config.ema_images), 0.05 * seen))
        trained = {id(variable) for variable in self.network.trainable_weights}
        pairs = [
            (
                target.value,
                function,
                tuple(source.value for source in sources),
                bool({id(s) for s in sources} & trained),
            )
            for target, (function, sources) in zip(self.ema.weights, self.followed(), strict=True)
        ]

        def update(strategy, keep):
            for target, function, sources, is_trained in pairs:
                rule = _blend if is_trained else _copy
                strategy.extended.update(target, functools.partial(rule, function), args=(keep, *sources))

        tf.distribute.get_replica_context().merge_call(update, args=(keep,))

    def followed(self):
        """[(function, variables)] for each weight of `ema`: it follows function(*variables), of variables of `network`.

        The weights themselves, unless the network is trained in another form than it is served.
        """
        if self.adaptation:
            return self.adaptation.followed()
        return [(tf.identity, (weight,)) for weight in self.network.weights]


def _blend(function, target, keep, *sources):
    source = function(*map(tf.convert_to_tensor, sources))
    target.assign(source + (target - source) * tf.cast(keep, source.dtype))


def _copy(function, target, keep, *sources):
    target.assign(function(*map(tf.convert_to_tensor, sources)))


class OnePlayer(ImageModel):
    """Minimises one sum of terms. A family also sets `network_optimizer` and gives the hook `terms`."""

    def terms(self, batch):
        """{name: float32 [batch]}, as they enter the sum."""
        raise TypeError(f"{type(self).__name__} does not say what it minimises")

    def players(self):
        return {"network": Player((self.network,), self.network_optimizer)}

    def _renew_optimizer(self):
        self.network_optimizer = rebuilt(self.network_optimizer, self.network)

    def train_step(self, batch):
        batch = self._begin(batch)
        return self._finish(self._turn(self.players()["network"], tf.GradientTape(), lambda due: self.terms(batch)))


class TwoPlayer(ImageModel):
    """A generator (`self.network`) against a critic (`self.critic`).

    A family also sets `generator_optimizer` and `critic_optimizer`, and gives the hooks `fakes`, `critic_terms` and
    `generator_terms`; `players` where a turn moves other networks or has lazy terms. Its config has `critic_steps` (critic steps for
    one generator step, each on rows of its own) and `ada_images` (pictures in which the ADA strength could go from 0 to 1).

    Args:
        augment: what the critic sees: "none", "diffaugment" or "ada".
    """

    def __init__(self, config, *, facts=Facts(), seed=0, parent=None, augment="none"):
        super().__init__(config, facts=facts, seed=seed, parent=parent)
        if augment not in AUGMENTS:
            raise UserError(f"unknown augment {augment!r}; have: {', '.join(AUGMENTS)}")
        self.augment = augment
        self.rows_per_step = config.critic_steps
        self.ada_strength = self._counter("ada_strength")
        self.ada_confidence = self._counter("ada_confidence")

    def freeze_critic(self, count):
        """Keep the critic's first `count` layers with weights, counted from the picture, as they are: FreezeD (Mo, Cho and Shin 2020, arXiv
        2002.10964), section 3. Their state stays in checkpoints.

        Raises:
            UserError: no layer would be left to train.
        """
        layers = [layer for layer in self.critic.layers if layer.weights]
        if count >= len(layers):
            raise UserError(
                f"--freeze-critic takes at most {len(layers) - 1} here: the critic has {len(layers)} layers with weights"
            )
        for layer in layers[:count]:
            layer.trainable = False

    def _renew_optimizer(self):
        self.generator_optimizer = rebuilt(self.generator_optimizer, self.network)

    def fakes(self, batch):
        """The generator's move in training mode: pictures, or a nest of tensors of which the hooks below know the meaning."""
        raise TypeError(f"{type(self).__name__} does not say how its generator plays")

    def critic_terms(self, batch, fakes, due):
        """{name: float32 [batch]} for the critic, as they enter the sum but for the factor of lazy ones, which are given when `due`.

        Calls `self.record_confidence(real_logits, fake_logits)`.
        """
        raise TypeError(f"{type(self).__name__} does not say what its critic minimises")

    def generator_terms(self, batch, fakes, due):
        """{name: float32 [batch]} for the generator, alike."""
        raise TypeError(f"{type(self).__name__} does not say what its generator minimises")

    def parts(self):
        return super().parts() | {"critic": self.critic}

    def players(self):
        return {
            "critic": Player((self.critic,), self.critic_optimizer),
            "generator": Player((self.network,), self.generator_optimizer),
        }

    def critic_logits(self, pictures, batch):
        """The critic's answers, in training mode, to pictures as it sees them and to what else a row of the batch tells it."""
        return self.critic([self.augmented(pictures), *self.conditions(batch)], training=True)

    def augmented(self, pictures):
        """Returns what the critic sees of pictures float32 [batch, height, width, 3k] in [-1, 1]: the same, or augmented."""
        if self.augment == "diffaugment":
            return augmentations.diffaugment(pictures, self.random)
        if self.augment == "ada":
            return augmentations.ada(pictures, self.random, self.ada_strength.value)
        return pictures

    def record_confidence(self, real_logits, fake_logits, *, relativistic=False):
        """Tell the base how sure the critic is; ADA steers by it and the log shows it.

        The sign of the real logits, or where logits have no zero of their own (`relativistic`) the sign of real - fake, which the
        same critic gets right more often: ADA's target is higher for it.
        """
        margin = real_logits - fake_logits if relativistic else real_logits
        self.record(confidence=tf.reduce_mean(tf.sign(tf.cast(margin, tf.float32))))
        self._confidence_target = ADA_TARGET_PAIRS if relativistic else ADA_TARGET

    def train_step(self, batch):
        batch = self._begin(batch)
        critic, generator = (self.players()[name] for name in ("critic", "generator"))
        *earlier, last = self._split(batch)
        for rows in earlier:
            self._critic_turn(critic, rows, self.fakes(rows))
        tape = _tape(generator)
        with tape:
            fakes = self.fakes(last)
        critic_logs = self._critic_turn(critic, last, fakes)
        logs = self._turn(generator, tape, lambda due: self.generator_terms(last, fakes, due))
        logs = {f"generator_{name}": value for name, value in logs.items()}
        logs |= {f"critic_{name}": value for name, value in critic_logs.items()}
        if self.augment == "ada":
            logs |= {"ada_strength": self._adapt(critic_logs["confidence"])}
        return self._finish(logs)

    def _critic_turn(self, critic, batch, fakes):
        fakes = tf.nest.map_structure(tf.stop_gradient, fakes)
        return self._turn(critic, _tape(critic), lambda due: self.critic_terms(batch, fakes, due))

    def _split(self, batch):
        parts = self.config.critic_steps
        if parts == 1:
            return [batch]
        return [{key: tf.split(value, parts)[part] for key, value in batch.items()} for part in range(parts)]

    def _adapt(self, confidence):
        """Change the ADA strength towards the target confidence; returns it, float32 scalar."""
        total = self.ada_confidence.value + self.mean_of_replicas(confidence)
        due = (self.step.value + 1) % ADA_EVERY == 0
        change = tf.sign(total / ADA_EVERY - self._confidence_target) * (
            ADA_EVERY * self._global_rows / self.config.ada_images
        )
        strength = tf.clip_by_value(self.ada_strength.value + tf.where(due, change, 0.0), 0.0, 1.0)
        self.ada_confidence.assign(tf.where(due, 0.0, total))
        self.ada_strength.assign(strength)
        return strength


def _tape(player):
    """A tape for one turn: persistent where two branches, due and not due, differentiate what it has recorded."""
    return tf.GradientTape(persistent=player.every > 1)
