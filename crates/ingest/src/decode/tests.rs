//! Typing rules, one by one.
