//! Speaks S3 before a store.

pub mod access;
mod addresses;
pub mod auth;
mod body;
pub mod checksum;
mod connection;
pub mod error;
mod gateway;
mod headers;
mod ops;
mod pace;
mod response;
pub mod route;
mod server;
mod tags;
pub mod time;
pub mod uri;
pub mod xml;

pub use server::{Options, Server};
