"""Talking to model servers over HTTP: one client that retries, waits and gives up in the same way for models and judges."""

from anyscene.http.client import ApiClient, Charge, HttpFailure, Malformed
from anyscene.http.several import Servers
from anyscene.http.together import run_together

__all__ = ["ApiClient", "Charge", "HttpFailure", "Malformed", "Servers", "run_together"]
