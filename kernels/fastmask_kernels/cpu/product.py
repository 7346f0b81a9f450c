"""Products of gathered rows with a panel of packed weights, cut into tiles."""

from __future__ import annotations

from typing import Any

from .gemm import Tiles, tile_kernel
from .jit import inner
from .simd import lanes_of


def product(tiles: Tiles, tile: Any = None) -> Any:
    """`multiply` for one kind of tiles, for compiled kernels to call.

    Args:
        tiles: the tiles.
        tile: the micro-kernel for them; by default the one of `gemm`.
    """
    tile = tile or tile_kernel(tiles)
    most_rows, few, strip_vectors, row_vectors = tiles.rows, tiles.few, tiles.strip, tiles.row
    narrow, wide = tiles.widths[-1], (tiles.few_widths or tiles.widths)[-1]

    @inner
    def multiply(
        vectors: int,
        rows: int,
        a: Any,
        a_start: int,
        places: Any,
        depth: int,
        packed: Any,
        weights: int,
        strip_step: int,
        init: Any,
        init_start: int,
        init_stride: int,
        z: Any,
        z_start: int,
        *columns: int,
    ) -> None:
        """z[:, :vectors] = init + a[places] @ weights, in tiles of nearly equal height.

        Pass integers of one type, np.int64: a literal would make it compile once more.

        All arrays are flat. Row i of `a` begins at a_start + places[i] and is `depth` long; row i
        of `init` begins at init_start + i * init_stride, row i of z at z_start + i * tiles.row
        registers. The first strip begins at packed[weights], the others `strip_step` apart.
        `places` and `columns` mean what the micro-kernel takes them for.
        """
        lanes = lanes_of(z)
        width = wide if rows <= few else narrow
        for left in range(0, vectors, width):
            done = 0
            for tiles_left in range(-(-rows // most_rows), 0, -1):
                height = rows - done
                if tiles_left > 1:
                    height = -(-height // tiles_left)
                tile(
                    height,
                    min(width, vectors - left),
                    a,
                    a_start,
                    places,
                    done,
                    depth,
                    packed,
                    weights + left // strip_vectors * strip_step,
                    strip_step,
                    init,
                    init_start + done * init_stride + left * lanes,
                    init_stride,
                    z,
                    z_start + (done * row_vectors + left) * lanes,
                    left * lanes,
                    *columns,
                )
                done += height

    return multiply
