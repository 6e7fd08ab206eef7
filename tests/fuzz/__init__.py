"""Property tests on damaged inputs."""
