"""Networks of autoencoders, shared by families: a picture to a normal distribution of z, and z to a picture.

Both are built of stages, from 4x4 px upwards, each twice as wide as the one below it, to half the resolution.
"""

import keras

from data.errors import UserError
from models.layers.condition import condition_inputs, join
from models.layers.conv import StridedConv2D
from models.layers.initializers import fan_in
from models.layers.resample import Downsample2x, Upsample2x
from models.layers.skips import skip_pictures


def check_stages(channels, resolution):
    """Raises UserError unless stages with these channels make pictures of `resolution` px."""
    made = 8 * 2 ** (len(channels) - 1)
    if made != resolution:
        raise UserError(f"{len(channels)} stages from 4x4 px make pictures of {made} px, not resolution={resolution}")


def block(x):
    """x + conv3(act(conv3(act x))), the second starting at zero."""
    y = keras.layers.Activation("silu")(x)
    y = keras.layers.Conv2D(x.shape[-1], 3, padding="same", kernel_initializer="he_normal")(y)
    y = keras.layers.Activation("silu")(y)
    return x + keras.layers.Conv2D(x.shape[-1], 3, padding="same", kernel_initializer="zeros")(y)


def match(x, channels):
    """x by a 1x1 convolution to another number of channels."""
    return keras.layers.Conv2D(channels, 1, kernel_initializer=fan_in())(x)


def build_encoder(config):
    """pictures [batch, resolution, resolution, 3] -> mean and log variance of z, float32 [batch, latent_size] each."""
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    *others, last = config.channels
    x = block(StridedConv2D(last, 2, kernel_initializer=fan_in())(picture))
    for channels in reversed(others):
        x = block(Downsample2x()(match(x, channels)))
    x = keras.layers.Flatten()(keras.layers.Activation("silu")(x))
    mean, log_variance = (
        keras.layers.Activation("linear", dtype="float32")(
            keras.layers.Dense(config.latent_size, kernel_initializer=fan_in())(x)
        )
        for _ in range(2)
    )
    return keras.Model(picture, [mean, log_variance], name="encoder")


def build_decoder(config, facts, *, skips=False):
    """(latent [batch, latent_size] [, a condition [batch] ...]) -> pictures float32 [batch, resolution, resolution, 3], near [-1, 1].

    skips: whether the picture is the sum of pictures made by all stages (`models.layers.skips`).
    """
    latent, conditions = keras.Input((config.latent_size,), name="latent"), condition_inputs(facts)
    x = join(latent, conditions, facts, config.embedding_size)
    first, *others = config.channels
    x = keras.layers.Dense(4 * 4 * first, kernel_initializer=fan_in())(x)
    stages = [block(keras.layers.Reshape((4, 4, first))(x))]
    for channels in others:
        stages.append(block(Upsample2x()(match(stages[-1], channels))))
    x = Upsample2x()(keras.layers.Activation("silu")(stages[-1]))
    if skips:
        x = skip_pictures([*stages, x], 3)
    else:
        x = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=fan_in())(x)
    return keras.Model([latent, *conditions], keras.layers.Activation("linear", dtype="float32")(x), name="decoder")


def build_autoencoder(config, facts, *, name, skips=False):
    """(pictures, noise [batch, latent_size] [, a condition [batch] ...]) -> (pictures seen through z, z, its mean, its log variance).

    z is mean + deviation * noise: Kingma and Welling 2014 (arXiv 1312.6114), eq. 10. The two are its layers `encoder` and `decoder`.
    """
    encoder, decoder = build_encoder(config), build_decoder(config, facts, skips=skips)
    picture = keras.Input((config.resolution, config.resolution, 3), name="picture")
    noise, conditions = keras.Input((config.latent_size,), name="noise", dtype="float32"), condition_inputs(facts)
    mean, log_variance = encoder(picture)
    latent = mean + keras.ops.exp(0.5 * log_variance) * noise
    seen = decoder([latent, *conditions])
    return keras.Model([picture, noise, *conditions], [seen, latent, mean, log_variance], name=name)
