//! Whole-server stories: one binary, a module per theme.

mod walk;
