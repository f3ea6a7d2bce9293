"""What is to be certified: the support matrix and the pure logic over it."""
