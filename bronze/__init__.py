"""Raw archive objects into Delta, exactly as published, with their provenance."""
