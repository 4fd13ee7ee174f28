//! Stories of the read path.

mod ahead;
mod answers;
mod explained;
mod keys;
mod limits;
mod refusals;
