"""What the input of strangers may cost, in one place; docs/security.md says what each number is there for.

A budget is a free part, which any input has however small it is, and a part that grows with the bytes that somebody
took the trouble to store: real layers stay far below both, a small blob cannot take much memory or time.
"""

from __future__ import annotations

# JSON documents: manifests, indexes, configs

MAX_DOCUMENT = 8 << 20
"""Bytes; larger documents are refused unread (registries commonly refuse beyond 4 MiB)."""
MAX_INDEX = 4 << 20
"""Bytes; what the commands that look at indexes alone read of one unless they are told otherwise."""
MAX_INDEX_ENTRIES = 32_768
"""Entries of an index."""
MAX_JSON_VALUES = 500_000
"""Braces, brackets and commas of a document: each may become a value of a hundred bytes."""

# Layers, by what their blobs unfold to

FREE_UNFOLDED = 1 << 30
"""Bytes that any blob may unfold to."""
FREE_CONTENTS = 256 << 20
"""Bytes of files, the holes of sparse ones among them, that may be copied out of any blob."""
HIGH_RATIO, HIGH_BYTES = 4096, 4 << 30
"""Up to so many bytes a blob may unfold to so many times its size (gzip reaches 1032)."""
RATIO = 200
"""How many times its size a blob may unfold to however large it is."""
FREE_WINDOW, WINDOW_RATIO = 8 << 20, 64
"""Window of a zstd frame: bytes that any blob may ask for, and how many times its size beyond that."""

# Layers, by what is in them

MAX_ENTRIES = 2_000_000
"""Entries of a layer."""
FREE_ENTRIES, BYTES_OF_ENTRY = 100_000, 4
"""Entries that any blob may hold, and the bytes of blob that each further one costs."""
MAX_ROWS = 4_000_000
"""Entries of all layers of an image together."""
MAX_NODES = 1_000_000
"""Files and folders that are wanted of an image; they are in memory, at about 0.2 KiB each."""
FREE_FOLDERS, FOLDERS_OF_ENTRY = 65_536, 4
"""Folders that no layer describes but paths go through, and how many more for each entry."""
MAX_PATH, MAX_COMPONENT, MAX_DEPTH = 4096, 255, 256
"""Bytes of a path and of a name as Linux has them (PATH_MAX, NAME_MAX), and names in a path."""
MAX_EXTENSION = 1 << 20
"""Bytes of the extended headers, long names and sparse map of one entry together."""
FREE_EXTENSIONS, EXTENSIONS_OF_BYTE = 4 << 20, 100
"""Bytes of all extended headers of a layer, and how many more for each byte of the blob."""
MAX_XATTR = 64 << 10
"""Bytes of the value of an extended attribute (XATTR_SIZE_MAX)."""
FREE_STEPS, STEPS_OF_BYTE = 300_000, 20
"""Names looked up to follow a layer's own symlinks, and how many more for each byte of the blob."""
MAX_LAYER_TABLE, FREE_LAYER_TABLE = 24 << 20, 1 << 20
"""Bytes of the table that a layer carries itself, and of one whatever the size of its blob, of which it may be half;
beyond that the layer is read as one without a table."""
MAX_TABLE = 512 << 20
"""Bytes of a layer's table of contents, not compressed."""

# A build

MAX_PLACED = 2_000_000
"""Files and folders that all copies of a build put into the image."""
MAX_ROUNDS = 12
"""How often a tree is made anew because a symlink or hard link leads out of what it covers; then it covers all."""

# A configuration graph

MAX_GRAPH, MAX_GRAPH_NODES = 2 << 30, 4_000_000
"""Bytes and nodes of a saved graph, which is read line by line."""
MAX_GRAPH_LINE = 64 << 20
"""Bytes of a line, which holds one node."""
MAX_GRAPH_WHOLE = 128 << 20
"""Bytes of a saved graph that some other program laid out, which is read at once."""


def allowance(free: int, raw: int) -> int:
    """Return how many bytes may come out of a blob of which `raw` bytes were read, `free` of them whatever it is."""
    return max(free, min(HIGH_BYTES, HIGH_RATIO * raw), RATIO * raw)
