"""Aligned, cleaned, de-duplicated candles; quarantine, gaps and listings."""
