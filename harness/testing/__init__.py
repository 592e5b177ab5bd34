"""What stands behind the pytest plugin and the HTTP API: messages as tests want them, waiting, transcripts, tenants."""
