"""What the instructions do; `machine` runs programs of them."""
