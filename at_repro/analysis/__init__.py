"""From networks and records to tables of numbers: maps, concentration, localisation, distances, significance."""
