//! Reads what a request addresses: bucket, key and query, from the Host header and the request target.

mod address;
mod percent;
mod query;
mod site;

pub use address::{Address, RootDomains, host_of, parse_key};
pub use percent::{decode_path, encode_path_into, encode_query_into};
pub(crate) use percent::{hex_pair, is_unreserved, push_encoded};
pub use query::Query;
pub(crate) use site::site_of;
