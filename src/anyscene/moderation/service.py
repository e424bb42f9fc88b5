"""A detector behind HTTP: pictures in, what a scan says of them out.

    server = ScanServer(load_detector("detector"), ServerConfig(port=8766))
    server.run()                 # until Ctrl-C or SIGTERM; what is in flight is finished
    with server: ...             # or in a thread of this process, at server.url

A picture is the body of POST /scan, or one of several in JSON. Files of strangers are opened as `scan` opens them, so the results are the
same. A server that listens beyond this machine needs a token. See docs/moderation.md.
"""

from __future__ import annotations

from dataclasses import replace

from anyscene.errors import MissingExtraError, SpecError
from anyscene.moderation.findings import Finding
from anyscene.moderation.openers import Openers
from anyscene.moderation.opening import OpeningLimits
from anyscene.moderation.scan import Scorer, ScoresPictures, checked_threshold
from anyscene.rewards.batcher import Batcher
from anyscene.rewards.server import Server, ServerConfig
from anyscene.rewards.telemetry import Telemetry

__all__ = ["FILE_TIMEOUT_S", "ScanServer"]

FILE_TIMEOUT_S = 5.0
"""For one file. Shorter than a scan's: the pictures that share a batch with a hostile one wait for it."""


class ScanServer(Server):
    """Serves a detector.

    Args:
        detector: gives the scores. It is called from one thread at a time.
        config: of the server; of its limits of a request, those of bodies, images and values hold.
        threshold: above which a picture is called generated; by default the detector's own.
        limits: of one picture.
        workers: processes that open pictures; by default one for each core, and at most 8.

    Raises:
        MissingExtraError: FastAPI or uvicorn is not installed.
        SpecError: the token is missing or not safe, or an option is out of its range.
    """

    def __init__(
        self,
        detector: ScoresPictures,
        config: ServerConfig | None = None,
        *,
        threshold: float | None = None,
        limits: OpeningLimits | None = None,
        workers: int | None = None,
    ) -> None:
        own, telemetry = config or ServerConfig(), Telemetry("moderation")
        if own.pickles:
            raise SpecError("pickles are for rewards; a server that scans takes none")
        limits = limits or OpeningLimits(timeout_s=FILE_TIMEOUT_S)
        above = checked_threshold(detector, threshold)
        try:
            from anyscene.moderation.service_routes import FindingScores, ScanRoutes
            from anyscene.rewards.app import Settings, make_app
        except ImportError:
            raise MissingExtraError("Serving a detector", "moderation") from None
        settings = Settings.of(own)
        openers = Openers(workers, replace(limits, file_bytes=min(limits.file_bytes, own.limits.body_bytes)))
        batcher: Batcher[Finding] = Batcher(
            FindingScores(Scorer(detector, own.max_batch)),
            telemetry,
            max_batch=own.max_batch,
            max_wait_s=own.max_wait_s,
            max_queue=own.max_queue,
            decoders=openers.workers,
            results=Finding,
        )
        routes = ScanRoutes(batcher, settings, openers, above)
        super().__init__(own, telemetry, lambda watch: make_app(routes, own.stop_timeout_s, watch), "a detector")
