"""The ways to attach, as data."""

from tests.attach.cases import network, tracing, userspace

CASES = (*tracing.CASES, *userspace.CASES, *network.CASES)
