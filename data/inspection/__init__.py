"""What is wrong with a catalogue of pictures, before anything is trained on it."""
