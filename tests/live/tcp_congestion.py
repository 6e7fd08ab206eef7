"""To be removed, with its users changed to tests.replay.tcp_congestion."""

from tests.replay.tcp_congestion import SIZE, connection, exercise

__all__ = ["SIZE", "connection", "exercise"]
