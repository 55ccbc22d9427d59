"""The account of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.localcloud.cognito.pool_account import PoolAccount


@pytest.fixture
def account(tmp_path: Path) -> PoolAccount:
    return PoolAccount(tmp_path)
