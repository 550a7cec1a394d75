"""NequIP and SevenNet cannot be installed beside MACE: their tests belong to the environment that has them."""

from __future__ import annotations

from importlib.util import find_spec

PACKAGES = {
    "mace": "test_mace.py",
    "metatomic": "test_metatomic.py",
    "nequip": "test_nequip.py",
    "sevenn": "test_sevennet.py",
}
collect_ignore = [file for package, file in PACKAGES.items() if find_spec(package) is None]
