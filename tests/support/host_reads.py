"""Counts what would make the host wait for a GPU: reads of tensors' values."""

import sys
import threading
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# What turns a tensor into something of the host's. C++ that does it goes past these, but always
# through the operator that the mode below sees.
METHODS = ("numpy", "cpu", "tolist", "item", "__array__", "__float__", "__int__", "__bool__")


def _is_keras_sampler(frame):
    """Whether Keras lists the indices of a batch, which it has drawn on the host."""
    return frame.f_code.co_filename.endswith("array_data_adapter.py")


class _Scalars(TorchDispatchMode):
    def __init__(self, count):
        super().__init__()
        self.count = count

    @classmethod
    def ignore_compile_internals(cls):
        return True  # what it sees inside, it counts: compilation goes on

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            self.count()
        return func(*args, **(kwargs or {}))


class HostReads:
    """While it is entered, counts reads in the thread that entered it (`here`) and in others."""

    def __init__(self):
        self.here = self.elsewhere = 0

    def count(self):
        if threading.get_ident() == self._thread:
            self.here += 1
        else:
            self.elsewhere += 1

    def _counted(self, method):
        def counted(tensor, *args, **kwargs):
            if not _is_keras_sampler(sys._getframe(1)):
                self.count()
            return method(tensor, *args, **kwargs)

        return counted

    def __enter__(self):
        self._thread = threading.get_ident()
        self._patches = [
            mock.patch.object(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))
            for name in METHODS
        ]
        for patch in self._patches:
            patch.start()
        self._mode = _Scalars(self.count)
        self._mode.__enter__()
        return self

    def __exit__(self, *error):
        self._mode.__exit__(*error)
        for patch in self._patches:
            patch.stop()
