"""Where arrays live, and the kernels that compute on them."""
