from __future__ import annotations

import pytest

from harness.testing.tenants import domain_of, in_tenant


def test_domains() -> None:
    assert domain_of("Shop") == "shop.test"
    assert domain_of("shop.example") == "shop.example"
    for wrong in ("", "a b", "-a", "a/b", "x" * 200):
        with pytest.raises(ValueError, match="--tenant"):
            domain_of(wrong)


def test_members() -> None:
    assert in_tenant(("alice@shop.test",), "shop")
    assert not in_tenant(("alice@myshop.test", "alice"), "shop")
    assert not in_tenant(("alice@shop.test",), "sh op")
