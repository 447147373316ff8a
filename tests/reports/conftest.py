from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from small_world import World

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation" / "helpers"))


@pytest.fixture
def world() -> World:
    from small_world import World

    return World()


@pytest.fixture
def make_world() -> Callable[..., World]:
    from small_world import World

    return World
