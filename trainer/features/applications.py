"""The networks of Keras Applications, with the weights that Keras fetches: general features, by the name Keras gives the network."""

import inspect

from data.errors import UserError
from trainer.features.extractor import Extractor, digest


def open_application(name: str) -> Extractor:
    """`keras.applications.<name>` trained on ImageNet: its last map averaged over places, its classes, and one map for each resolution.

    Pictures get the size and the scaling the network was trained with. Raises UserError for a name Keras does not know and when the
    weights cannot be fetched.
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
    maps = {}
    for layer in model.layers:
        shape = getattr(layer.output, "shape", ())
        padded = isinstance(layer, keras.layers.ZeroPadding2D)
        if len(shape) == 4 and shape[1] and shape[1] > 1 and not padded:
            maps[shape[1]] = layer.output
    layers = [maps[side] for side in sorted(maps, reverse=True) if side < model.input_shape[1]]
    looked_into = keras.Model(model.inputs, layers)
    averaged = keras.Model(model.inputs, keras.layers.GlobalAveragePooling2D()(layers[-1]))
    size = model.input_shape[1]
    weights = {f"{number:05}": array for number, array in enumerate(model.get_weights())}

    def running(network):
        return lambda batch: network.predict_on_batch(homes[name].preprocess_input(batch.copy()))

    return Extractor(
        name=f"{name}-{size}-{digest(weights)}",
        size=size,
        to_vectors=running(averaged),
        to_maps=running(looked_into),
        to_probabilities=running(model),
        classes=model.output_shape[-1],
        batch=32,
    )
