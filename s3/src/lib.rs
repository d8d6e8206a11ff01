//! Speaks S3 before a store.

pub mod auth;
pub mod checksum;
pub mod error;
pub mod time;
pub mod uri;
pub mod xml;
