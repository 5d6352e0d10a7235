"""Which format a weights file has, told by its content."""

from __future__ import annotations

import os
import struct
import zipfile
from typing import Literal

from keras_mg.weights._arrays import PathLike, WeightsError
from keras_mg.weights._keras_files import KERAS_MEMBER

Format = Literal["weights.h5", "keras", "mxnet", "npz", "torch", "safetensors"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MXNET_MAGIC = struct.pack("<QQ", 0x112, 0)
PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
TORCH_LEGACY_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
"""Little-endian bytes of the number that `torch.save` wrote first before its zip format."""


def detect(path: PathLike, file: str | None = None) -> Format:
    """The format of a weights file.

    Args:
        path: the file.
        file: its name for messages; `path` by default.

    Raises:
        WeightsError: not a file, empty, or none of the formats that can be read.
    """
    file = file or os.fspath(path)
    if not os.path.isfile(path):  # a pipe would be waited for
        raise WeightsError(f"{file}: {'is a folder' if os.path.isdir(path) else 'is no file'}.")
    try:
        with open(path, "rb") as stream:
            head = stream.read(64)
            size = os.fstat(stream.fileno()).st_size
            if not head:
                raise WeightsError(f"{file}: the file is empty.")
            if head.startswith(HDF5_SIGNATURE):
                return "weights.h5"
            if head.startswith(b"PK\x03\x04"):
                return _detect_zip(path, file)
            if head.startswith(MXNET_MAGIC):
                return "mxnet"
            if TORCH_LEGACY_MAGIC in head[:32] or head.startswith(PICKLE_PROTOCOLS):
                return "torch"
            if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < size:
                return "safetensors"
            if head.startswith(MXNET_MAGIC[:8]):
                raise WeightsError(f"{file}: offset 8: MXNet's reserved field is not 0.")
    except (OSError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{file}: cannot be read ({reason}).") from error
    raise WeightsError(
        f"{file}: not a weights file that can be read (Keras .weights.h5 or .keras, .safetensors, "
        f"MXNet .params, PyTorch .pth); its first bytes are {head[:16]!r}."
    )


def _detect_zip(path: PathLike, file: str) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:
        raise WeightsError(f"{file}: damaged zip archive ({error}).") from error
    if KERAS_MEMBER in names or "config.json" in names:
        return "keras"
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise WeightsError(
        f"{file}: a zip archive that is neither a .keras file (no {KERAS_MEMBER!r}), a PyTorch "
        f"one (no 'data.pkl') nor an .npz of arrays; its first members are {names[:4]}."
    )
