"""Pictures, clips and views of 3D objects as values: what models make and judges look at."""

from anyscene.media.media import MAX_PIXELS, MEDIA_SUFFIXES, Media, read_media

__all__ = ["MAX_PIXELS", "MEDIA_SUFFIXES", "Media", "read_media"]
