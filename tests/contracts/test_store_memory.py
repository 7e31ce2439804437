"""The memory store keeps the contract."""

from __future__ import annotations

import pytest

from salvo_core.store.memory import MemoryStore
from salvo_core.store.protocol import Store
from tests.contracts.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()
