"""The real servers that the tests run against, each started on free loopback ports."""
