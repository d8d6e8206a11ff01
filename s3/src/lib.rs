//! Speaks S3 before a store.

pub mod access;
mod access_log;
mod account;
mod addresses;
pub mod auth;
mod body;
pub mod checksum;
mod connection;
mod cors;
pub mod error;
pub mod form;
mod gateway;
mod headers;
mod meter;
pub mod notify;
mod ops;
mod pace;
pub mod proxies;
mod response;
pub mod route;
mod server;
mod tags;
pub mod time;
mod transport;
pub mod uri;
mod website;
pub mod xml;

pub use headers::{BehindTheEnd, range_of};
pub use meter::{BOUNDS_MICROS, Counted, Meter};
pub use server::{Options, Server};
