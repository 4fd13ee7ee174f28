//! Whole-server stories: one binary, a module per theme.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod access;
mod audit;
mod azure_control;
mod azure_data;
mod azure_identity;
mod azure_vault;
mod bad_input;
mod canary;
mod compose;
mod demo;
mod docs;
mod durability;
mod functions;
mod identities;
mod key_changes;
mod lifecycle;
mod lock;
mod lock_crashes;
mod lock_load;
mod lockbox;
mod memory;
mod openbao;
mod outage;
mod quarantine;
mod rewriting;
mod shred;
mod tamper;
mod walk;
mod watchers;
