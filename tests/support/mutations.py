"""Seeded mutations of files: blind ones, and ones that keep the structure around the damage."""

import contextlib
import copy
import io
import json
import pickletools
import struct
import zipfile

NUMBERS = [
    *(0, 1, 2, 4, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1),
]
"""What breaks lengths, counts, offsets and tags."""
ODD = [
    *(None, True, False, 0, -1, 1, 3.5, 1e400, -(2**63), 2**64, 10**40, float("nan")),
    *("", "\0", "..", "../../x", "a" * 300, "\x1b]0;x\x07", "\udcff", [], {}, [[]], {"": 0}),
]
"""What stands in JSON where something else is expected."""
OPCODES = [op.code.encode("latin1") for op in pickletools.opcodes]
SIGNATURES = [
    *(b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"\x93NUMPY"),
    *(b"\x89HDF", b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"OCHK", b"FRHP", b"FADB", b"FAHD"),
]
"""At which zip, NumPy and HDF5 put their headers."""


def marks(content):
    """Where a file's parts begin: instructions of pickles, fields of headers, punctuation."""
    found = {0, len(content)}
    found.update(range(0, min(len(content), 96), 4))
    for signature in SIGNATURES:
        place = content.find(signature)
        while place >= 0:
            found.update(range(place, min(place + 56, len(content)), 2))
            place = content.find(signature, place + 1)
    place = content.find(b"\x80\x02")
    while place >= 0:
        with contextlib.suppress(Exception):  # of two bytes that begin no pickle
            found.update(op[2] + place for op in pickletools.genops(content[place:]))
        place = content.find(b"\x80\x02", place + 1)
    if b'":' in content:
        found.update(i for i, byte in enumerate(content) if byte in b'"{}[],:')
    if len(content) < 2000:
        found.update(range(0, len(content), 4))
    return sorted(found)


class Mutator:
    """Mutations of some files of one format.

    Args:
        seeds: the files.
    """

    def __init__(self, seeds):
        self.seeds = [(seed, marks(seed)) for seed in seeds]
        self._members: dict[bytes, list[int]] = {}  # of archives, which recur

    def __call__(self, chance):
        """One mutation: of a random seed, by a random way that suits it."""
        content, places = chance.choice(self.seeds)
        if chance.random() < 0.5:
            return self.blind(content, places, chance)
        if content.startswith(b"PK"):
            return self.repacked(content, chance)
        if content[8:9] == b"{":
            return self.header(content, chance)
        if content[:1] in b"{[":
            return self.document(content, chance)
        return self.blind(content, places, chance)

    def blind(self, content, places, chance):
        """One to four changes, half of them at the beginning of a part."""
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
            if not changed:
                break
            self._change(changed, places, chance)
        return bytes(changed)

    def _change(self, changed, places, chance):
        def somewhere():
            if chance.random() < 0.5:
                return min(chance.choice(places), len(changed))
            return chance.randrange(len(changed) + 1)

        place = somewhere()
        kind = chance.randrange(11)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[place : place + 1] = chance.randbytes(chance.randint(1, 8))
        elif kind == 2:
            form = chance.choice("BHIQ")
            size = struct.calcsize(form)
            number = chance.choice(NUMBERS) & (256**size - 1)
            changed[place : place + size] = struct.pack(f"<{form}", number)
        elif kind == 3:  # a number that is a little wrong
            size = chance.choice((1, 2, 4, 8))
            number = int.from_bytes(changed[place : place + size], "little")
            number = (number + chance.choice((-8, -4, -1, 1, 4, 8))) % 256**size
            changed[place : place + size] = number.to_bytes(size, "little")
        elif kind == 4:
            del changed[place : place + chance.randint(1, 64)]
        elif kind == 5:
            changed[place:place] = changed[place : place + chance.randint(1, 256)]
        elif kind == 6:  # a part is put in another place, or twice
            begin, end = sorted((somewhere(), somewhere()))
            part = changed[begin:end][:4096]
            if chance.random() < 0.5:
                del changed[begin:end]
            changed[place:place] = part
        elif kind == 7:
            other = somewhere()
            changed[place : place + 16] = changed[other : other + 16]
        elif kind == 8:  # the rest is another file's
            other, there = chance.choice(self.seeds)
            changed[place:] = other[min(chance.choice(there), len(other)) :]
        elif kind == 9:
            changed[place:place] = chance.choice(OPCODES)
        elif chance.random() < 0.3:
            del changed[place:]

    def repacked(self, content, chance):
        """An archive with right checksums, so that the damage gets further in."""
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(made, "w") as target:
            members = source.infolist()
            hit = chance.choice(members).filename
            names = [member.filename for member in members]
            for member in members:
                name, data = member.filename, source.read(member)
                if name == hit or chance.random() < 0.1:
                    data = self._member(data, chance)
                if chance.random() < 0.02:
                    continue
                if chance.random() < 0.03:
                    name = chance.choice([*names, "config.json", "x/data.pkl", "../y"])
                if name not in target.namelist():
                    method = chance.choices((0, 8, 12, 14), (80, 17, 2, 1))[0]
                    target.writestr(name, data, compress_type=method)
        return made.getvalue()

    def _member(self, data, chance):
        if data not in self._members:
            self._members[data] = marks(data)
        return self.blind(data, self._members[data], chance)

    def header(self, content, chance):
        """A file of safetensors with a header that is changed as JSON and has its right length."""
        size = int.from_bytes(content[:8], "little")
        text = self.document(content[8 : 8 + size], chance)
        return struct.pack("<Q", len(text)) + text + content[8 + size :]

    def document(self, content, chance):
        """JSON with other values, names or parts."""
        root = [json.loads(content)]
        for _ in range(chance.choice((1, 1, 2, 3))):
            holder, key = chance.choice(list(_nodes(root)))
            kind = chance.randrange(6)
            if kind == 0:
                holder[key] = copy.deepcopy(chance.choice(ODD))
            elif kind == 1 and isinstance(holder[key], int | float):
                holder[key] = holder[key] + chance.choice((-1, 1, 2**31, 2**63, 0.5))
            elif kind == 2 and isinstance(holder, dict):
                holder[str(chance.choice(ODD))] = holder.pop(key)
            elif kind == 3 and isinstance(holder, dict):
                del holder[key]
            elif kind == 4:
                other, place = chance.choice(list(_nodes(root)))
                holder[key] = json.loads(json.dumps(other[place]))
            else:
                holder[key] = [holder[key]]
        text = json.dumps(root[0]).encode()
        if chance.random() < 0.1:  # a name that stands twice, or very deep
            text = text.replace(b"}", b', "a": 1, "a": 2}', 1)
            deep = chance.choice((1, 10, 3000))
            text = text.replace(b'"a": 2', b'"a": ' + b"[" * deep + b"]" * deep)
        return text


def _nodes(root):
    """All places of a tree of JSON, as (container, key)."""
    for key, value in list(root.items()) if isinstance(root, dict) else list(enumerate(root)):
        yield root, key
        if isinstance(value, dict | list):
            yield from _nodes(value)
