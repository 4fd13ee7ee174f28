//! KQL over tables in memory: answers worked out by hand, one test a trap.

mod cases;
mod errors;
mod fixture;
mod operators;
mod plans;
mod rows;
mod search;
mod values;

use fixture::{check, explain, problem};
