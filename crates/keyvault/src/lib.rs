//! A small key vault server: the customer's side.
