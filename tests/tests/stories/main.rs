//! Whole-server stories: one binary, a module per theme.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod access;
mod audit;
mod azure_alerts;
mod azure_cli;
mod azure_control;
mod azure_data;
mod azure_identity;
mod azure_openapi;
mod azure_powershell;
mod azure_storage;
mod azure_vault;
mod azure_walk;
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
mod promises;
mod quarantine;
mod rewriting;
mod shred;
mod tamper;
mod walk;
mod watchers;
