"""The activations that kernels take by name; apart from `spec`, which takes longer to import."""

ACTIVATIONS = ("linear", "relu", "sigmoid", "hard_sigmoid", "tanh")
