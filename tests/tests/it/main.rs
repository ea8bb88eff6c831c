//! End-to-end tests: a real server over a socket, on every backend that matters.
