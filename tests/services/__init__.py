"""The servers that the suite owns: throwaway Redis and PostgreSQL, the simulated upstream, the app itself."""
