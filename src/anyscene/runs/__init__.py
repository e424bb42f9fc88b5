"""A run is a folder: a manifest, files written in one step each, and a journal while it is unfinished."""

from anyscene.runs.files import (
    AtomicFile,
    Sink,
    file_error,
    is_temporary,
    lock_folder,
    open_folder,
    remove_temporaries,
    sha256_of,
    write_atomic,
)
from anyscene.runs.journal import JOURNAL_NAME, append_journal, read_journal, start_journal
from anyscene.runs.manifest import MANIFEST_NAME, differences, manifest_bytes, normalized, parse_manifest, read_manifest, write_manifest
from anyscene.runs.progress import progress, say

__all__ = [
    "JOURNAL_NAME",
    "MANIFEST_NAME",
    "AtomicFile",
    "Sink",
    "append_journal",
    "differences",
    "file_error",
    "is_temporary",
    "lock_folder",
    "manifest_bytes",
    "normalized",
    "open_folder",
    "parse_manifest",
    "progress",
    "read_journal",
    "read_manifest",
    "remove_temporaries",
    "say",
    "sha256_of",
    "start_journal",
    "write_atomic",
    "write_manifest",
]
