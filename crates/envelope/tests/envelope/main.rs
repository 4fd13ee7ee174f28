//! What the envelope promises, tried from outside.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod cache;
mod cells;
mod fuzz;
mod golden;
mod guard;
mod kit;
mod objects;
mod opener;
mod sealed;
mod spill;
mod wal;
mod wrapping;
