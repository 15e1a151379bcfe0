"""The networks of Keras Applications, with the weights that Keras fetches: general features, by the name Keras gives the network."""

import inspect

from data.errors import UserError
from models.features.network import FeatureNetwork, digest

USUAL = 224  # px that ImageNet's networks were trained with, where Keras does not say


def open_application(name: str) -> FeatureNetwork:
    """`keras.applications.<name>` trained on ImageNet: maps by Keras' names of layers, the last map averaged over places, and classes.

    Pictures get the scaling the network was trained with; maps are to be had of any size, vectors and classes of the size it was trained
    with. Distances take one map for each resolution. Raises UserError for a name Keras does not know and when the weights cannot be
    fetched.
    """
    import keras

    homes = {
        network: module
        for _, module in inspect.getmembers(keras.applications, inspect.ismodule)
        for network in dir(module)
        if hasattr(module, "preprocess_input") and inspect.isfunction(getattr(keras.applications, network, None))
    }
    unlisted = ("MobileNetV3Large", "MobileNetV3Small")  # which their module does not name
    homes |= dict.fromkeys(unlisted, keras.applications.mobilenet_v3)
    if name not in homes:
        raise UserError(f"keras:{name} is unknown; have: {', '.join(sorted(homes))}")
    try:
        model = getattr(keras.applications, name)(weights="imagenet")
    except Exception as error:  # Keras raises a plain Exception when it cannot fetch
        raise UserError(f"keras:{name} cannot be had: {error}") from error
    return Application(name, model, homes[name].preprocess_input)


class Application(FeatureNetwork):
    """A classifier of Keras. `scaled` brings float pictures in [0, 255] to what it was trained on."""

    batch = 32

    def __init__(self, name, model, scaled):
        import keras

        if not model.input_shape[1]:  # Keras makes some for any size
            weights = model.get_weights()
            model = keras.models.clone_model(model, keras.Input((USUAL, USUAL, 3)))
            model.set_weights(weights)
        self._model, self._scaled = model, scaled
        self.size = model.input_shape[1]
        self.classes = model.output_shape[-1]
        weights = {f"{number:05}": array for number, array in enumerate(model.get_weights())}
        self.name = f"{name}-{self.size}-{digest(weights)}"
        maps, by_side = {}, {}
        for layer in model.layers:
            shape = getattr(layer.output, "shape", ())
            padded = isinstance(layer, keras.layers.ZeroPadding2D)
            if len(shape) == 4 and shape[1] and shape[1] > 1 and not padded:
                maps[layer.name] = layer.output
                by_side[shape[1]] = layer.name
        self.layers = tuple(maps)
        self.compared = tuple(by_side[side] for side in sorted(by_side, reverse=True) if side < self.size)
        self._trunk = keras.models.clone_model(  # the same layers, for pictures of any size
            keras.Model(model.inputs, list(maps.values())), [keras.Input((None, None, 3))], lambda layer: layer
        )

    def _vectors(self, pictures):
        import tensorflow as tf

        return tf.reduce_mean(self._maps(pictures, self.compared[-1:])[0], axis=[1, 2])

    def _probabilities(self, pictures):
        return self._model(self._scaled((pictures + 1.0) * 127.5), training=False)

    def _maps(self, pictures, layers):
        found = self._trunk([self._scaled((pictures + 1.0) * 127.5)], training=False)
        return [found[self.layers.index(name)] for name in layers]
