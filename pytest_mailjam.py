"""The pytest plugin of mailjam. It imports nothing of mailjam's until a fixture is used."""
