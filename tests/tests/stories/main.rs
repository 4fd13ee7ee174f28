//! Whole-server stories: one binary, a module per theme.

mod access;
mod bad_input;
mod canary;
mod docs;
mod durability;
mod lifecycle;
mod tamper;
mod walk;
