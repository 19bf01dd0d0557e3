"""What test/bench/budget counts with: cases that are played the same way each time, and the tools that count them."""
