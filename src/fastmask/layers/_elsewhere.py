"""Attributes of Keras and torch that are missing here, and what to use instead."""

from __future__ import annotations

import inspect
from typing import NoReturn

_TRAINING = "fastmask's layers and models are for inference: "
_IN_KERAS = (
    "train in Keras, where fastmask.keras.convert(model) lets fastmask compute the recurrent "
    "layers, and load what it saves with fastmask.load_model(path)"
)
_IN_TORCH = (
    "train with fastmask.torch, whose modules take the place of torch.nn's "
    "(fastmask.torch.convert(model) replaces them), and bring the weights here with "
    "load_weights(path) of a model, or set_weights(list)"
)
_SAVING = (
    "write a model with fastmask.save_model(model, path), read it with fastmask.load_model(path)"
)
_WEIGHTS = (
    "get_weights() and set_weights(list) take the weights out and in; a file of them is "
    "numpy.savez(path, *model.get_weights()), which load_weights of a model reads"
)
_TORCH = "fastmask.torch has the modules of torch; layers and models here hold NumPy arrays"
_INSTEAD = {
    _TRAINING: (
        "fit fit_generator compile compiled compile_from_config get_compile_config compiled_loss "
        "compiled_metrics compute_loss compute_metrics compute_loss_and_updates evaluate "
        "evaluate_generator train_on_batch train_step train_function make_train_function "
        "test_on_batch test_step test_function make_test_function optimizer loss losses "
        "add_loss metrics metrics_names metrics_variables add_metric get_metrics_result "
        "reset_metrics history stop_training jit_compile run_eagerly auto_scale_loss "
        "trainable_variables trainable_weights non_trainable_variables "
        "non_trainable_weights enable_lora lora_enabled"
    ),
    _SAVING: "save export to_json to_yaml save_own_variables load_own_variables",
    _WEIGHTS: "save_weights load_weights variables add_variable",
    "call the model itself on a batch, model(x), or model.predict(x) on many rows": (
        "predict_on_batch predict_step predict_generator predict_function make_predict_function"
    ),
    "recurrent layers have it: step those of a model one by one, get_layer(name).step(x, state), "
    "and call the others on what arrives; a Bidirectional needs the whole sequence": "step",
    "call the layers up to the inner one on arrays, each on what the last one returned, "
    "get_layer(name)(get_layer(first)(x)); or, for a chain of layers, "
    "fastmask.Sequential(model.layers[:k])(x), which shares their weights": (
        "input output outputs input_mask output_mask get_input_at get_output_at"
    ),
    "model.summary() shows the shapes of all outputs, model.inputs has those of the inputs, and "
    "layer.compute_output_shape(input_shape) returns the shape of a layer's outputs": (
        "input_shape output_shape get_input_shape_at get_output_shape_at"
    ),
    "the argument dtype, 'float32' or 'float64', says what a layer computes in": (
        "dtype_policy compute_dtype variable_dtype"
    ),
    _TORCH: (
        "parameters named_parameters buffers named_buffers state_dict load_state_dict zero_grad "
        "requires_grad_ train eval to cuda cpu half double forward backward"
    ),
}


class Missing:
    """An attribute that a class lacks, and why; subclasses and users may define one of that name.

    A `__getattr__` instead would cost every call a microsecond: Python then looks up all
    attributes the slow way.

    Args:
        name: the attribute.
        where: what to use instead; for a method of training, also where to train.
    """

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        self._where = where

    def __get__(self, instance: object, owner: type) -> NoReturn:
        where = self._where
        if where is _TRAINING:
            ways = (_IN_TORCH, _IN_KERAS)
            where += "; or ".join(ways[::-1] if getattr(instance, "_of_keras", False) else ways)
        text = f"{owner.__name__} has no {self._name!r}: {where}"
        raise AttributeError(text, name=self._name, obj=owner if instance is None else instance)


class Elsewhere:
    """Base class whose attributes of Keras's and torch's names say what to use instead."""

    _of_keras = False  # whether its weights come from a file of Keras

    def __dir__(self) -> list[str]:
        return [
            name
            for name in super().__dir__()
            if not isinstance(inspect.getattr_static(self, name, None), Missing)
        ]


for _where, _names in _INSTEAD.items():
    for _name in _names.split():
        setattr(Elsewhere, _name, Missing(_name, _where))
