//! Stories of the read path.

mod ahead;
mod answers;
mod counted;
mod explained;
mod functions;
mod groups;
mod keys;
mod kql_plans;
mod limits;
mod older;
mod refusals;
mod scale;
mod shaping;
mod terms;
mod warm;
