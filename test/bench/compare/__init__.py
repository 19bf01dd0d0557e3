"""What test/bench/run measures with: the contenders, what plays their clients and servers, the rows of the table."""
