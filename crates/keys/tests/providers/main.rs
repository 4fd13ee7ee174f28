//! Every kind of vault under one suite, each on a real server of its kind where there is one: the embedded vault, OpenBao, moto,
//! SoftHSM2, a Managed HSM of cardboard that wraps with real RSA, and the vault in memory.
//!
//! A test that lacks its server fails and says how to get it.

#![allow(clippy::unwrap_used, reason = "tests, and what they are built on")]

#[allow(unreachable_pub, dead_code, reason = "it is a module of the stories, too")]
mod bao;
mod conformance;
mod embedded;
mod hsm;
mod memory;
mod moto;
mod openbao;
mod softhsm;
#[path = "../../src/testing.rs"]
#[allow(dead_code, reason = "the crate's own tests use the rest")]
mod testing;
