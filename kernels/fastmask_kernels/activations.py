"""The activations that kernels take by name; outside `spec`, which takes longer to import.

`hard_sigmoid` is that of Keras 3, `hard_sigmoid_keras2` that of Keras 2, with a slope of 0.2.
"""

ACTIVATIONS = ("linear", "relu", "sigmoid", "hard_sigmoid", "tanh", "hard_sigmoid_keras2")
