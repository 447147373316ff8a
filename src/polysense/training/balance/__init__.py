"""Methods that keep columns which learn at different speeds in balance, one file each."""

from polysense.training.balance.base import Balance, BalanceConfig, build_balance

__all__ = ["Balance", "BalanceConfig", "build_balance"]
