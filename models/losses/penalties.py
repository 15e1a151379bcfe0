"""Penalties on the critic's slope: pure functions, one value per example, unweighted but for those that take a weight.

`critic` is any function from pictures float32 [batch, height, width, channels] to logits float32 [batch], whose i-th logit depends on the
i-th picture only (which batch normalisation breaks). All of them can be differentiated again.
"""

import tensorflow as tf

SLOPE_SCALE = 128.0  # logits are multiplied by it and slopes divided: a power of two changes no digit, and float16 loses fewer small ones


def squared_gradient_norm(critic, pictures):
    """Logits, and the squared norm of their gradient with respect to the pictures.

    The zero-centred penalties R1 (on real pictures) and R2 (on fakes) are gamma / 2 times the second value: Mescheder et al. 2018,
    eq. 9; Roth et al. 2017.

    Returns:
        (logits float32 [batch], squared gradient norms float32 [batch], >= 0).
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(pictures)
        logits = critic(pictures)
        total = SLOPE_SCALE * tf.reduce_sum(logits)
    slope = tf.cast(tape.gradient(total, pictures), tf.float32) / SLOPE_SCALE
    return logits, tf.reduce_sum(tf.square(slope), axis=[1, 2, 3])


def gradient_penalty(critic, real, fake, mix, *, target=1.0, epsilon=1e-12):
    """(|gradient at a random point between real and fake| - target)^2: Gulrajani et al. 2017, eq. 3 and algorithm 1.

    Args:
        mix: float32 [batch, 1, 1, 1], *uniform* on [0, 1): the share of `real` in the point.
        epsilon: added under the root, so that the derivative at a zero gradient is finite.

    Returns:
        float32 [batch], >= 0.
    """
    _, squared = squared_gradient_norm(critic, mix * real + (1.0 - mix) * fake)
    return tf.square(tf.sqrt(squared + epsilon) - target)


def on_both_sides(critic, real, fake, *, weight, due):
    """Logits of real and of fake pictures, and the penalties R1 and R2 on them: Huang et al. 2024 (R3GAN, arXiv 2501.05441), eq. 3.

    Args:
        critic: function from pictures [batch, height, width, channels] to logits float32 [batch].
        weight: gamma, of which each penalty has half. due: whether they are computed on this step.

    Returns:
        (logits float32 [batch] of `real`, of `fake`, {"r1": float32 [batch], "r2": alike}, or {} where they are not due).
    """
    if not due:
        return critic(real), critic(fake), {}
    real, real_norm = squared_gradient_norm(critic, real)
    fake, fake_norm = squared_gradient_norm(critic, fake)
    return real, fake, {"r1": 0.5 * weight * real_norm, "r2": 0.5 * weight * fake_norm}


def path_lengths(synthesize, styles, directions):
    """Lengths by which pictures move with their styles, in random directions of the pictures: Karras et al. 2020 (StyleGAN2), eq. 4.

    |J^T y|, where J is the derivative of a picture by its styles, divided by the root of the picture's pixels and of its layers. With
    that, a weight of 2 is the one of the paper's appendix B, ln 2 / (r^2 (ln r - ln 2)) for r x r pixels and 2 log2(r) - 2 layers.

    Args:
        synthesize: function from styles to pictures float32 [batch, height, width, channels].
        styles: float32 [batch, layers, n].
        directions: standard normal, float32, as the pictures.

    Returns:
        float32 [batch], >= 0.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(styles)
        pictures = synthesize(styles)
        moved = tf.reduce_sum(tf.cast(pictures, tf.float32) * directions)
    slope = tf.cast(tape.gradient(moved, styles), tf.float32)
    size = pictures.shape[1] * pictures.shape[2] * styles.shape[1]
    return tf.sqrt(tf.reduce_sum(tf.square(slope), axis=[1, 2]) / size + 1e-12)


def matching_aware_penalty(critic, pictures, vectors, *, power=6.0, epsilon=1e-12):
    """Logits, and (|gradient by the picture| + |gradient by its words|)^power: MA-GP, Tao et al. 2022 (DF-GAN, arXiv 2008.05865), eq. 2.

    On real pictures with their own words it makes the critic flat there, so that what matches is a place to arrive at, and no slope.

    Args:
        critic: function of pictures [batch, height, width, channels] and vectors [batch, n] to logits float32 [batch].
        epsilon: added under the roots, so that the derivative at a zero gradient is finite.

    Returns:
        (whatever `critic` returns, whose first part is the logits; float32 [batch], >= 0).
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([pictures, vectors])
        answers = critic(pictures, vectors)
        logits = answers[0] if isinstance(answers, tuple) else answers
        total = SLOPE_SCALE * tf.reduce_sum(logits)
    slopes = [tf.cast(slope, tf.float32) / SLOPE_SCALE for slope in tape.gradient(total, [pictures, vectors])]
    by_picture, by_vector = (
        tf.sqrt(tf.reduce_sum(tf.square(slope), axis=list(range(1, len(slope.shape)))) + epsilon) for slope in slopes
    )
    return answers, tf.pow(by_picture + by_vector, power)
