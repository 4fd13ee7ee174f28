//! What a question may say: a closed world of SQL, checked twice.
//!
//! First by construction: SQL is planned against exactly the tables resolved for it and exactly the functions allowed, with no
//! catalog, file format, variable or setting in reach. Then by inspection: a visitor over the finished plan refuses every node
//! and function that is not on the list, whichever language it came from.

mod allow;
mod growth;
mod sql;

pub(crate) use allow::{Trust, check};
pub(crate) use sql::{OwnFunctions, Sql, parse};
