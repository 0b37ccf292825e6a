"""What every layer stands on: settings, session, table contracts, job runner, command line."""
