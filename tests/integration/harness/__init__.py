"""What the integration tests stand on: the proxy as a process, and its real peers."""
