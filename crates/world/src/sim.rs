//! A machine of cardboard: seeded randomness, a clock moved by hand, a disk that forgets what was not synced.
