"""Metrics, correlations and index portfolios."""
