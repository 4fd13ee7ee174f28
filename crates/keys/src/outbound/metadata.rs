//! The one exception of the way out: a cloud's metadata service, which tells a machine its own tokens.
//!
//! It has a link-local address and speaks plain http, both of which are refused to everything that a customer can name. So it
//! is a client of its own: its address is fixed when it is made, from the operator's configuration alone, is no name but an
//! address of this machine or its host, and no path to it leads through a reference object or a key's address.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rustls::RootCertStore;
use url::{Host, Url};

use super::{AddressClass, OutboundConfigError, OutboundError, Reply, read, tls_config};

/// Bytes of an answer at most.
const ANSWER_MAX: usize = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(3);

/// A client of the metadata service of the machine we run on.
pub struct Metadata {
    base: Url,
    client: reqwest::Client,
}

impl Metadata {
    /// A client of the service at `base`: `http://169.254.169.254` in most clouds.
    ///
    /// # Errors
    /// [`OutboundConfigError::Metadata`] for anything but http to a link-local, metadata or loopback address.
    pub fn open(base: &str) -> Result<Self, OutboundConfigError> {
        let base = Url::parse(base).map_err(|_| OutboundConfigError::Metadata)?;
        let address = match base.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Err(OutboundConfigError::Metadata),
        };
        let near = matches!(AddressClass::of(address), Some(AddressClass::LinkLocal | AddressClass::Metadata | AddressClass::Loopback));
        let plain = base.scheme() == "http" && base.username().is_empty() && base.password().is_none();
        if !near || !plain || base.path() != "/" || base.query().is_some() || base.fragment().is_some() {
            return Err(OutboundConfigError::Metadata);
        }
        let client = reqwest::Client::builder()
            // Never used: the address is plain http, and nothing redirects.
            .use_preconfigured_tls(tls_config(RootCertStore::empty())?)
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .timeout(TIMEOUT)
            .build()
            .map_err(|_| OutboundConfigError::Metadata)?;
        Ok(Self { base, client })
    }

    /// Reads a path with these query parameters.
    ///
    /// # Errors
    /// [`OutboundError`]: nothing usable came back. Any status is an answer.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Reply, OutboundError> {
        let mut url = self.base.clone();
        url.set_path(path);
        url.query_pairs_mut().extend_pairs(query);
        let answer = read(self.client.get(url).header("Metadata", "true"), ANSWER_MAX);
        tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| OutboundError::Timeout)?
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_this_machine_or_its_host_will_do() {
        for base in ["http://169.254.169.254", "http://169.254.169.254/", "http://127.0.0.1:40342", "http://[fd00:ec2::254]"] {
            assert!(Metadata::open(base).is_ok(), "{base}");
        }
        for base in [
            "https://169.254.169.254",
            "http://10.0.0.1",
            "http://8.8.8.8",
            "http://metadata.internal",
            "http://localhost:1",
            "http://169.254.169.254/x",
            "http://169.254.169.254?x=1",
            "http://u@169.254.169.254",
            "",
        ] {
            assert!(matches!(Metadata::open(base), Err(OutboundConfigError::Metadata)), "{base}");
        }
    }
}
