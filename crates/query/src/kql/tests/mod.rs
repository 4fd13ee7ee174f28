//! KQL over tables in memory: answers worked out by hand, one test a trap.

mod cases;
mod errors;
mod evaluate;
mod expand;
mod fixture;
mod fuzz;
mod operators;
mod parse;
mod picks;
mod plans;
mod reference;
mod rows;
mod rules;
mod scan;
mod search;
mod series;
mod values;

use fixture::{check, explain, problem};
