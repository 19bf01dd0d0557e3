"""What the integration tests stand on: a PostgreSQL, a pooler in front of it, and a raw protocol client."""
