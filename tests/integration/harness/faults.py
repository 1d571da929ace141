"""A kernel that does less than it could, logs that take nothing, memory that runs out, a wall clock
that jumps: tests/faults, preloaded."""
import mmap
import os
import struct

# As in struct faults.
KINDS = ("short", "interrupted", "not ready", "gone", "log broken", "log full", "stderr broken",
         "own memory", "library memory")
_CLOCK, _ONE_IN, _UNTIL, _DONE = 0, *(8 + 4 * len(KINDS) * n for n in range(3))
_SIZE = _DONE + 4 * len(KINDS)


class Faults:
    """One proxy's.  Quiet until told: faults.one_in("short", 3)."""

    def __init__(self, binary, directory):
        self.library = binary.parent / "tests/faults/libfaults.so"
        assert self.library.exists(), f"{self.library} is not built"
        self.path = directory / "faults"
        self.path.write_bytes(bytes(_SIZE))
        with open(self.path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), _SIZE)

    @property
    def environment(self):
        """Sanitizers want to be the first to be loaded, and need not be."""
        options = os.environ.get("ASAN_OPTIONS", "")
        return {"LD_PRELOAD": str(self.library), "FAULTS": str(self.path),
                "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0"}

    def one_in(self, kind, calls):
        """So many calls for each that is hit; 0: none is."""
        struct.pack_into("=I", self.memory, _ONE_IN + 4 * KINDS.index(kind), calls)

    def nth(self, kind, n):
        """That one from now is hit, once; 0: none is."""
        struct.pack_into("=i", self.memory, _UNTIL + 4 * KINDS.index(kind), n)

    def n_until(self, kind):
        """How many more calls until one is hit."""
        return struct.unpack_from("=i", self.memory, _UNTIL + 4 * KINDS.index(kind))[0]

    def done(self, kind):
        return struct.unpack_from("=I", self.memory, _DONE + 4 * KINDS.index(kind))[0]

    def heal(self):
        for kind in KINDS:
            self.one_in(kind, 0)
            self.nth(kind, 0)
        self.set_clock(0)

    def set_clock(self, seconds):
        """How far the proxy's wall clock is ahead."""
        struct.pack_into("=q", self.memory, _CLOCK, seconds)
