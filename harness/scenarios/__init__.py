"""The hangs of the Knowledge Base, a file each."""
