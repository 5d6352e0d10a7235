import builtins

import pytest


@pytest.fixture
def no_matplotlib(monkeypatch):
    """An environment without the extra `data`."""
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
