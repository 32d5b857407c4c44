//! Looking up hosts. What is an address already needs no name service; ureq's own resolver starts a thread for every
//! call even then, which costs more than a small call itself.

use std::net::{IpAddr, SocketAddr};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Takes addresses as they are, and leaves names to ureq's own resolver.
#[derive(Debug, Default)]
pub(crate) struct AddressesFirst(DefaultResolver);

impl Resolver for AddressesFirst {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        match address_of(uri) {
            Some(address) => {
                let mut found = self.empty();
                found.push(address);
                Ok(found)
            }
            None => self.0.resolve(uri, config, timeout),
        }
    }
}

/// The address that stands in the URL, with a port.
fn address_of(uri: &Uri) -> Option<SocketAddr> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().or(match uri.scheme_str()? {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    })?;
    Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_they_are_and_names_are_looked_up() {
        let of = |url: &str| address_of(&url.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("http://127.0.0.1:8083/api").as_deref(), Some("127.0.0.1:8083"));
        assert_eq!(of("http://[::1]:8083/api").as_deref(), Some("[::1]:8083"));
        assert_eq!(of("http://10.0.0.7/").as_deref(), Some("10.0.0.7:80"));
        assert_eq!(of("https://10.0.0.7/").as_deref(), Some("10.0.0.7:443"));
        assert_eq!((of("http://balance-daemon:8083/"), of("http://localhost:8083/")), (None, None));
    }
}
