"""To be removed: tests/replay/tcp_congestion.py is where this is now."""
