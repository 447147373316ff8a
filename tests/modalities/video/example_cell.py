"""A cell that is surely a video, for tests over all modalities."""

from __future__ import annotations

import io

import av
import numpy as np


def example_cell(i: int) -> bytes:
    """An .mp4 file of a second that brightens, with stripes."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for k in range(10):
            pixels = np.full((24, 32, 3), 20 * k + i, np.uint8)
            pixels[:, ::4] = 250
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    return file.getvalue()
