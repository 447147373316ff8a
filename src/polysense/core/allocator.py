"""Memory that was freed stays with the process: the C library's allocator, set for tensors.

By default glibc gives the top of its heap back to the system once some 128 KiB to 64 MiB of it are free, and maps each
larger block anew. A network frees and takes its activations again in every forward, and the system clears each page
before it hands it over: 2,400 page faults a picture in a frozen MobileNetV2, which took a fifth of its processor time
here and up to a half on other virtual machines. With these thresholds there are none.

The trade-off: a process keeps up to half a gigabyte that it no longer needs. No peak grows by it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

__all__ = ["keep_freed_memory", "release_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as malloc.h has them
_KEPT = 512 << 20  # bytes of free memory at the heap's top
_MAPPED = 32 << 20  # blocks from this size on are mapped each by itself; glibc takes no more
_OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


@functools.cache
def keep_freed_memory() -> bool:
    """Sets the allocator of this process, once; returns whether it did.

    It does on Linux with glibc, unless its environment variables (MALLOC_TRIM_THRESHOLD_ and the like, or
    glibc.malloc in GLIBC_TUNABLES) say something else.
    """
    if not sys.platform.startswith("linux") or not _is_glibc():
        return False
    if any(name in os.environ for name in _OWN_SETTINGS) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    set_option = ctypes.CDLL(None).mallopt
    set_option.argtypes, set_option.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    # Either switches off that glibc moves both by itself, so both are set.
    mapped = set_option(_M_MMAP_THRESHOLD, _MAPPED)
    return bool(set_option(_M_TRIM_THRESHOLD, _KEPT) and mapped)


def release_freed_memory() -> None:
    """Gives what is free back to the system, after work that took much more memory than what follows; of glibc only."""
    if sys.platform.startswith("linux") and _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # musl knows no such name
        return False
