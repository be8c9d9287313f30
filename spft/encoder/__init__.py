"""Speech encoders, and the frozen one whose frames are cached."""
