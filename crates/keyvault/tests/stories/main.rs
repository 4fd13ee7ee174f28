//! A vault as its callers see it: a real listener, real TLS, a clock moved by hand.

#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod issuers;
mod keys;
mod login;
mod persistence;
mod policies;
mod site;
