"""Replaying: running a loader in the kernel, a trace's calls one by one, or in a simulator."""
