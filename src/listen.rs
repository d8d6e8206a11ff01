//! Binds the addresses of the S3 server and of the page, on IPv6 and IPv4 alike where every address is meant.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// Another program listens there.
    #[error("port {} is in use by another program: choose another with {}", .0.port(), .1.options())]
    InUse(SocketAddr, Whose),
    /// Another program has the port on which other members would connect.
    #[error("port {} is in use by another program: choose another with --mesh or `mesh.address`", .0.port())]
    MeshInUse(SocketAddr),
    /// The system refuses.
    #[error("listen on {address} ({})", .whose.options())]
    Refused {
        /// Where.
        address: SocketAddr,
        /// Who was to listen there.
        whose: Whose,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The S3 server.
    S3,
    /// The page.
    Page,
}

impl Whose {
    /// How a person chooses another address.
    const fn options(self) -> &'static str {
        match self {
            Self::S3 => "--s3 or `s3.address`",
            Self::Page => "--page or `page.address`",
        }
    }
}

/// Listens on `address`; on `[::]` also for IPv4, and on a box without IPv6 for IPv4 alone.
/// At least one listener; the first is the one to show.
pub(crate) async fn everywhere(address: SocketAddr, whose: Whose) -> Result<Vec<TcpListener>, ListenError> {
    if address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return Ok(vec![bind(address, whose).await?]);
    }
    match bind(address, whose).await {
        Ok(six) => {
            let port = six.local_addr().map_or(address.port(), |local| local.port());
            // Usually `[::]` takes IPv4 too and this is refused; where the system keeps the two
            // apart (net.ipv6.bindv6only) it adds the other half.
            let four = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.ok();
            Ok([Some(six), four].into_iter().flatten().collect())
        }
        Err(in_use @ (ListenError::InUse(..) | ListenError::MeshInUse(_))) => Err(in_use),
        Err(ListenError::Refused { .. }) => Ok(vec![
            bind(
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()),
                whose,
            )
            .await?,
        ]),
    }
}

async fn bind(address: SocketAddr, whose: Whose) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(address, whose),
            _ => ListenError::Refused {
                address,
                whose,
                source,
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_serves_ipv4_too() {
        let listeners = everywhere("[::]:0".parse().unwrap(), Whose::S3).await.unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_names_the_option() {
        let first = everywhere("127.0.0.1:0".parse().unwrap(), Whose::S3)
            .await
            .unwrap();
        for (whose, option) in [(Whose::S3, "--s3"), (Whose::Page, "--page")] {
            let error = everywhere(first[0].local_addr().unwrap(), whose)
                .await
                .unwrap_err();
            assert!(error.to_string().contains(option));
        }
    }
}
