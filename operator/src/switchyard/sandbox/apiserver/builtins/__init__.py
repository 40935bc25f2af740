"""Built-in kinds: their table, schemas, defaults and validation."""
