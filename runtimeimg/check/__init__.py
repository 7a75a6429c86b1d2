"""Will an image start? Found from its files alone; nothing is run."""
