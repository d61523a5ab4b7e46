"""Software-defined assets. Each is a sentence: read, call one function, write, return metadata."""
