"""Loss scaling: gradients in float16 neither vanish nor overflow.

Micikevicius et al., "Mixed Precision Training", ICLR 2018 (arXiv 1710.03740), section 3.2. float16 ends at 65,504 and knows nothing
below 6e-8, where many gradients lie. So the loss is multiplied by a large number before it is differentiated, and the gradients,
float32 by then, are divided by it. A move whose gradients overflow is left out, and the number halved; after many good moves it is doubled.
"""

import keras
import tensorflow as tf

START = 2.0**15
LARGEST = 2.0**24
GOOD_MOVES = 2_000  # after which the scale is doubled


class LossScale:
    """The scale of a model's losses. `variables` are its state: the scale, float32, and the good moves in a row, int64."""

    name = "loss_scale"

    def __init__(self):
        self.scale = self._variable(START, "float32", "scale")
        self.good = self._variable(0, "int64", "good_moves")
        self.variables = [self.scale, self.good]

    def _variable(self, value, dtype, name):
        return keras.Variable(value, dtype=dtype, trainable=False, aggregation="only_first_replica", name=name)

    def apply(self, optimizer, gradients, variables):
        """Let the optimiser move the variables by gradients of the scaled loss, unless one of them, on any replica, is not finite."""
        gradients = [tf.convert_to_tensor(gradient) / self.scale.value for gradient in gradients]
        overflows = tf.reduce_any([tf.reduce_any(~tf.math.is_finite(gradient)) for gradient in gradients])
        context = tf.distribute.get_replica_context()
        finite = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(overflows, tf.float32)) == 0.0

        def move(strategy, gradients, finite):
            def together():
                strategy.extended.call_for_each_replica(optimizer.apply, args=(gradients, variables))
                return True

            # Optimisers speak to the other replicas, which a condition within one replica cannot.
            tf.cond(strategy.experimental_local_results(finite)[0], together, lambda: False)

        context.merge_call(move, args=(gradients, finite))
        self._adapt(finite)

    def _adapt(self, finite):
        good = tf.where(finite, self.good.value + 1, 0)
        factor = tf.where(finite, tf.where(good == GOOD_MOVES, 2.0, 1.0), 0.5)
        self.scale.assign(tf.clip_by_value(self.scale.value * factor, 1.0, LARGEST))
        self.good.assign(good % GOOD_MOVES)
