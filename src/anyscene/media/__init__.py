"""Pictures, clips and views of 3D objects as values: what models make and judges look at."""

from anyscene.media.manifest import MediaEntry, MediaFolder, media_schema
from anyscene.media.media import MAX_PIXELS, MEDIA_SUFFIXES, Media, read_media

__all__ = ["MAX_PIXELS", "MEDIA_SUFFIXES", "Media", "MediaEntry", "MediaFolder", "media_schema", "read_media"]
