"""What keeps columns that learn at different speeds in balance, one file each.

Importing this package imports every file in it, which registers what it defines.
"""

import importlib
import pkgutil

from polysense.training.balance.base import Balance, BalanceConfig, build_balance

__all__ = ["Balance", "BalanceConfig", "build_balance"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
