//! Rows as a Parquet file, and what its catalog row says about them.
