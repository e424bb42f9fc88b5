"""What a back-end with weights of its own needs, under the name that models know it by (see `anyscene.weights`)."""

from anyscene.weights import (
    empty_cache,
    folder_digest,
    is_out_of_memory,
    library_versions,
    load_errors,
    one_line,
    pick_device,
    pick_dtype,
    quiet_loading,
)

__all__ = [
    "empty_cache",
    "folder_digest",
    "is_out_of_memory",
    "library_versions",
    "load_errors",
    "one_line",
    "pick_device",
    "pick_dtype",
    "quiet_loading",
]
