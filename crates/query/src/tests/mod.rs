//! Stories of the read path.

mod answers;
mod explained;
mod keys;
mod limits;
mod refusals;
