"""One suite of sources, compiled by each compiler that can be had."""
